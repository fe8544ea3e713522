"""No child of a test lives on after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cache.made import Child
from tests.servers import Servers


@pytest.fixture(autouse=True)
def children() -> Iterator[None]:
    """Kill what a failed test left."""
    yield
    for child in list(Child.started):
        child.kill()


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    """What the module's tests share; stopped after the last of them."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()

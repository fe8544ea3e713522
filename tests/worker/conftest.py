"""One router for all tests of a module; each test takes a key of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Servers
from tests.worker.site import Site


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    """What the module's tests share; stopped after the last of them."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="module")
def site(started: Servers) -> Site:
    """A router with one worker and no options."""
    return Site(started)

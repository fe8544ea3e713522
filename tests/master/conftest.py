"""What the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Servers


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    """Stopped after the module's last test."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()

"""Fixtures for all tests; what they start is described in tests/servers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import order
from tests.servers import Servers


def pytest_configure() -> None:
    """Ctrl-C is heeded by what the tests start, even when a shell started the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; pytest-xdist hands the files out in this order."""
    items.sort(key=lambda item: order.rank(item.nodeid))


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Starts real servers and scripted peers; stops them all after the test, which fails if any is left."""
    started = Servers()
    try:
        yield started
    finally:
        started.close()


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout's top directory."""
    return Path(__file__).resolve().parents[1]

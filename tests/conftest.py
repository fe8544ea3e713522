"""Fixtures for all tests; what they start is described in tests/servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Servers


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

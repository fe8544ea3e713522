"""No child of a test lives on after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cache.made import Child


@pytest.fixture(autouse=True)
def children() -> Iterator[None]:
    """Kill what a failed test left."""
    yield
    for child in list(Child.started):
        child.kill()

"""Each test of scripts has an interpreter that is put back in order, a log, and a directory that it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripting.made import Interpreter, Lines


@pytest.fixture(autouse=True)
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules and paths that scripts bring do not stay."""
    monkeypatch.chdir(tmp_path)
    with Interpreter():
        yield


@pytest.fixture
def log() -> Lines:
    """A log whose lines can be read."""
    return Lines()

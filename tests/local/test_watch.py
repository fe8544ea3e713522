"""Requests that take too long, and modules that change."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.servers import wait_until
from uwsgirouter.local import watch
from uwsgirouter.local.watch import Harakiri, ModuleFiles


def request(uri: str) -> SimpleNamespace:
    return SimpleNamespace(method="GET", uri=uri)


def test_only_a_request_under_way_for_too_long_is_overdue() -> None:
    harakiri = Harakiri(10, lambda sentence: None)
    slow, quick = request("/slow"), request("/quick")
    harakiri.began(slow)
    harakiri.began(quick)
    now = time.monotonic()
    assert harakiri.overdue(now + 9) == ""
    harakiri.ended(quick)
    assert "'GET /slow' took more than 10 seconds, 1 cut" in harakiri.overdue(now + 11)
    harakiri.ended(slow)
    harakiri.ended(slow)
    assert harakiri.overdue(now + 99) == ""


def test_the_thread_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def die(sentence: str) -> None:
        said.append(sentence)
        raise SystemExit  # ends the thread, in silence

    harakiri = Harakiri(0.02, die)
    harakiri.began(request("/slow\n"))
    watch.start(harakiri.watch)
    wait_until(lambda: said, 5, "it was called")
    assert r"'GET /slow\n' took more" in said[0]


def test_a_changed_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "watched.py"
    path.write_text("")
    module = ModuleType("watched_module")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "watched_module", module)
    files = ModuleFiles()
    assert files.changed() is None
    assert files.changed() is None
    os.utime(path, (1, 1))
    assert files.changed() == (str(path), 1.0)
    assert files.changed() is None, "once"
    path.unlink()
    assert files.changed() is None
    path.write_text("")
    assert files.changed() == (str(path), path.stat().st_mtime)


def test_its_thread_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "watched.py"
    path.write_text("")
    module = ModuleType("watched_module")
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "watched_module", module)
    told = threading.Event()

    def tell(changed: str, moment: float) -> None:
        if changed == str(path):
            told.set()
            raise SystemExit

    files = ModuleFiles()
    watch.start(files.watch, 0.01, tell)
    wait_until(lambda: str(path) in files._seen, 5, "it looks")
    os.utime(path, (1, 1))
    assert told.wait(5)

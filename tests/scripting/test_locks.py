"""One lock for all scripts of a router."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cache.made import PROJECT
from uwsgirouter.scripting.locks import UserLock

HOLDER = """
import sys, time
from uwsgirouter.scripting.locks import UserLock
UserLock({path!r}).lock()
print("locked", flush=True)
time.sleep(100)
"""


def holder(path: str) -> subprocess.Popen[str]:
    """Another process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(path=path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def test_it_is_one_lock_for_all_processes_and_a_dead_holder_has_it_no_more(tmp_path: Path) -> None:
    path = str(tmp_path / "user")
    other = holder(path)
    lock = UserLock(path)
    assert lock.is_locked()
    threading.Timer(0.2, other.kill).start()
    began = time.monotonic()
    lock.lock()
    assert time.monotonic() - began > 0.1
    assert lock.is_locked() and UserLock(path).is_locked()
    lock.unlock()
    assert not lock.is_locked() and not UserLock(path).is_locked()
    other.communicate()


@pytest.mark.parametrize("shared", [True, False])
def test_threads_take_turns(tmp_path: Path, shared: bool) -> None:
    lock = UserLock(str(tmp_path / "user") if shared else "")
    inside: list[int] = []

    def work() -> None:
        for _ in range(20):
            lock.lock()
            inside.append(1)
            assert len(inside) == 1
            time.sleep(0)
            inside.pop()
            lock.unlock()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not lock.is_locked() and not any(thread.is_alive() for thread in threads)


def test_unlocking_what_is_not_locked_does_nothing(tmp_path: Path) -> None:
    lock = UserLock(str(tmp_path / "user"))
    lock.unlock()
    lock.lock()
    lock.unlock()
    lock.unlock()
    assert not lock.is_locked()


def test_there_is_no_other_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Invalid lock number"):
        UserLock("").lock(1)


def test_a_lock_that_cannot_be_had_leaves_nothing_locked(tmp_path: Path) -> None:
    lock = UserLock(str(tmp_path / "no" / "user"))
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            lock.lock()

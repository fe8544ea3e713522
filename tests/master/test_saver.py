"""The saver: a child writes soon after a change, and whatever happens to it the master goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until
from uwsgirouter.log import Log
from uwsgirouter.master import saver as module
from uwsgirouter.master import snapshot_file
from uwsgirouter.master.saver import CHILD_SECONDS, CLOCKS_INTERVAL, INTERVAL, RETRY_FIRST, SHARE, TELL_AGAIN, Saver
from uwsgirouter.model.snapshot import Snapshot

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""The child is forked; the tests' servers have threads."""


class Lines(Log):
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("uwsgirouter")
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text.partition("] ")[2])


class Desk:
    """A saver with all that it works with, and a clock that only the test moves."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "nodes"
        self.log = Lines()
        self.number = 0.0
        self.clocks = 0
        self.saver = Saver(self.log, lambda: Snapshot(self.number), lambda: self.clocks)
        self.now = 1000.0

    def change(self) -> None:
        self.number += 1
        self.saver.changed()

    def written(self) -> float:
        """Which change the file has; -1 when there is none."""
        snapshot = snapshot_file.load(str(self.path), self.log.say)
        return -1.0 if snapshot is None else snapshot.written

    def tick(self, seconds: float = 0.0) -> bool:
        """One tick so much later, and what it begins to its end; whether it began anything."""
        self.now += seconds
        self.saver.tick(self.now)
        if self.saver._child is None:
            return False

        def ended() -> bool:
            self.saver.tick(self.now)
            return self.saver._child is None

        wait_until(ended, 20, "the child ends")
        return True


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """One that writes ``nodes`` in a directory of its own, and has done so once."""
    made = Desk(tmp_path)
    made.saver.adopt(str(made.path), made.now)
    assert made.tick()
    yield made
    made.saver.finish(made.now)
    assert writers() == [], "no child is left"


def writers() -> list[psutil.Process]:
    """The children of this process that write."""
    return [child for child in psutil.Process().children() if "snapshot" in " ".join(child.cmdline())]


def test_a_change_is_written_and_nothing_else_is(desk: Desk) -> None:
    assert desk.written() == 0
    assert not desk.tick(INTERVAL * 100)
    desk.change()
    assert desk.tick()
    assert desk.written() == 1
    assert not desk.tick(INTERVAL * 100)


def test_changes_are_gathered_for_a_moment(desk: Desk) -> None:
    desk.change()
    assert not desk.tick(INTERVAL / 4)
    desk.change()
    assert desk.tick(INTERVAL)
    assert desk.written() == 2


def test_the_longer_it_takes_the_rarer_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    save = snapshot_file.save

    def slow(path: str, snapshot: Snapshot, aside: bool) -> None:
        time.sleep(0.5)
        save(path, snapshot, aside)

    monkeypatch.setattr(snapshot_file, "save", slow)
    desk.change()
    assert desk.tick(INTERVAL)
    desk.change()
    assert not desk.tick(SHARE * 0.5 - 0.1)
    assert desk.tick(60)


def test_clocks_alone_are_written_now_and_then(desk: Desk) -> None:
    desk.clocks = 5
    assert not desk.tick(CLOCKS_INTERVAL - 1)
    assert desk.tick(1.5)
    assert not desk.tick(CLOCKS_INTERVAL * 2)


def test_a_reload_has_what_changed_written_at_once(desk: Desk) -> None:
    desk.change()
    desk.saver.adopt(str(desk.path), desk.now)
    assert desk.tick()
    desk.saver.adopt(str(desk.path), desk.now)
    assert not desk.tick(), "nothing changed"


def test_another_file_and_none(desk: Desk) -> None:
    first, desk.path = desk.path, desk.path.with_name("other")
    desk.saver.adopt(str(desk.path), desk.now)
    assert desk.tick()
    assert desk.written() == 0
    assert first.exists(), "it stays"
    os.close(snapshot_file.lock(str(first)) or 0)
    desk.saver.adopt("", desk.now)
    desk.change()
    assert not desk.tick(100)
    desk.saver.finish(desk.now)
    assert desk.written() == 0


def test_the_end_waits_for_the_last_write(desk: Desk) -> None:
    desk.change()
    desk.saver.tick(desk.now + INTERVAL)
    desk.change()
    desk.saver.finish(desk.now + INTERVAL)
    assert desk.written() == 2
    assert desk.log.lines == []


def test_a_failure_is_told_once_and_tried_again(desk: Desk, tmp_path: Path) -> None:
    directory = tmp_path / "later"
    desk.path = directory / "nodes"
    desk.saver.adopt(str(desk.path), desk.now)
    line = f"subscription-snapshot = {desk.path}: not written: No such file or directory"
    assert desk.log.lines == [line], "at once"
    for _ in range(10):
        desk.tick(10)
    assert desk.log.lines == [line]
    desk.tick(TELL_AGAIN)
    assert desk.log.lines == [line] * 2
    directory.mkdir()
    assert desk.tick(60)
    assert desk.written() == 0
    assert desk.log.lines[2:] == [f"subscription-snapshot = {desk.path}: written again"]


def test_a_full_disk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    desk.change()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert desk.tick(INTERVAL)
    assert desk.log.lines == [f"subscription-snapshot = {desk.path}: not written: No space left on device"]
    assert desk.written() == 0, "the old one is whole"
    assert not desk.tick(RETRY_FIRST - 1)
    assert desk.tick(1)
    assert desk.written() == 1


def test_no_process_to_be_had(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))
    desk.change()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", none)
        assert not desk.tick(INTERVAL)
    assert "cannot start a process: Resource temporarily unavailable" in desk.log.lines[0]
    assert len(os.listdir("/proc/self/fd")) == before
    assert desk.tick(RETRY_FIRST)


def test_a_bug_is_a_line_and_no_second_master(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("what is this")

    monkeypatch.setattr(snapshot_file, "save", broken)
    desk.change()
    assert desk.tick(INTERVAL)
    assert "not written: ZeroDivisionError: what is this" in desk.log.lines[0]


def test_a_child_that_is_killed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "save", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    desk.change()
    assert desk.tick(INTERVAL)
    assert "the process that writes it did not end well" in desk.log.lines[0]


def test_a_disk_that_hangs_holds_up_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the master, nor its sockets, nor its end."""
    fork, pids = os.fork, []

    def noted() -> int:
        pids.append(fork())
        return pids[-1]

    monkeypatch.setattr(os, "fork", noted)
    monkeypatch.setattr(module, "LAST_SECONDS", 0.2)
    monkeypatch.setattr(snapshot_file, "save", lambda *_: time.sleep(300))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        desk.change()
        desk.now += INTERVAL
        desk.saver.tick(desk.now)
        child = desk.saver._child
        assert child is not None
        wait_until(lambda: len(os.listdir(f"/proc/{child.pid}/fd")) <= 4, 10, "it has the standard ones and its pipe")
        assert writers() == [psutil.Process(child.pid)]
        address = listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
    desk.saver.tick(desk.now + CHILD_SECONDS - 1)
    assert desk.log.lines == []
    assert psutil.pid_exists(child.pid)
    desk.saver.tick(desk.now + CHILD_SECONDS)
    assert f"did not end well in {CHILD_SECONDS:.0f} s" in desk.log.lines[0]
    began = time.monotonic()
    desk.saver.finish(desk.now + CHILD_SECONDS)
    assert time.monotonic() - began < 10
    assert len(pids) == 2
    for pid in pids:  # the master reaps whom it killed, or is at its end
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def test_a_stop_of_all_processes_does_not_cut_the_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    save = snapshot_file.save

    def signalled(path: str, snapshot: Snapshot, aside: bool) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        save(path, snapshot, aside)

    monkeypatch.setattr(snapshot_file, "save", signalled)
    desk.change()
    assert desk.tick(INTERVAL)
    assert desk.written() == 1


def test_what_was_read_need_not_be_written(desk: Desk) -> None:
    again = Desk(desk.path.parent)
    desk.saver.adopt("", desk.now)
    assert again.saver.load(str(again.path)) == Snapshot(0.0)
    again.saver.adopt(str(again.path), again.now)
    assert not again.tick()
    again.change()
    assert again.tick()


def test_what_could_not_be_read_is_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.path.write_bytes(b"precious\n")
    assert desk.saver.load(str(desk.path)) is None
    assert "starting without nodes: it is not made of lines of JSON" in desk.log.lines[0]
    desk.saver.adopt(str(desk.path), desk.now)
    assert not desk.tick()
    assert desk.path.read_bytes() == b"precious\n", "there is nothing better yet"
    desk.change()
    assert desk.tick()
    assert desk.written() == 1
    bad = tmp_path / "nodes.bad"
    assert bad.read_bytes() == b"precious\n"
    desk.change()
    assert desk.tick(INTERVAL)
    assert bad.read_bytes() == b"precious\n", "once only"
    desk.saver.finish(desk.now)


MASTER = """
import os, sys, time
from uwsgirouter.log import Log
from uwsgirouter.master import snapshot_file
from uwsgirouter.master.saver import Saver
from uwsgirouter.model.snapshot import Snapshot

snapshot_file.save = lambda *_: time.sleep(300)
saver = Saver(Log(), lambda: Snapshot(0.0), lambda: 0)
saver.adopt(sys.argv[1], time.monotonic())
saver.changed()
saver.tick(time.monotonic())
print("writes", flush=True)
time.sleep(300)
"""


def test_the_child_of_a_master_that_is_killed_writes_no_more(tmp_path: Path) -> None:
    """The lock is gone, and the next router writes a file of the same name."""
    with subprocess.Popen([sys.executable, "-c", MASTER, tmp_path / "nodes"], stdout=subprocess.PIPE) as master:
        try:
            assert master.stdout is not None
            assert master.stdout.readline() == b"writes\n"
            (child,) = psutil.Process(master.pid).children()
            wait_until(lambda: "snapshot" in "".join(child.cmdline()), 15.0, "it has asked the kernel by then")
        finally:
            master.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 15.0, "it is gone")

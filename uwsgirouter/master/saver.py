"""The saver: has the snapshot written, soon after something changed, and waits for no disk.

One idea: a child of the master writes. The fork is its copy of the registry, so the master goes on at once however
many nodes there are and however slow the disk is; a thread would share the interpreter with the loop for seconds. There
is one child at a time, and the more time one took the longer the next one is put off. What goes wrong is a log line now
and then. It must not know what is saved: ``collect`` is called in the child. Invariant: a file is written only while
its lock is held; so a child ends with its master, who has the lock.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from setproctitle import setproctitle

from uwsgirouter.log import Log
from uwsgirouter.master import process, snapshot_file
from uwsgirouter.master.handover import Keep, Rows
from uwsgirouter.model.snapshot import Snapshot

INTERVAL = 2.0
"""Seconds between two writes, at least; and at least :data:`SHARE` times what the one before took."""
SHARE = 10
CLOCKS_INTERVAL = 15.0
"""Seconds between two writes when nothing but clocks of nodes changed."""
RETRY_FIRST, RETRY_MOST = 5.0, 60.0
"""Seconds until a write that failed is tried again: doubled each time, up to the latter."""
TELL_AGAIN = 300.0
"""Seconds after which the same failure is told once more."""
CHILD_SECONDS = 120.0
"""Seconds after which a child that writes is given up: its disk does not answer."""
LAST_SECONDS = 5.0
"""The same at the router's end, where others wait."""
_DONE = b"done in "
"""What a child tells when it has written, with the seconds that it took; else it tells why not."""


@dataclass
class Child:
    """The process that writes, and the pipe through which it tells what came of it."""

    pid: int
    path: str
    pipe: int
    since: float
    told: bytes = b""


class Saver:
    """``collect`` makes the snapshot; ``clocks()`` grows when something changed that matters little."""

    def __init__(self, log: Log, collect: Callable[[], Snapshot], clocks: Callable[[], int]) -> None:
        self.path = ""
        self._log = log
        self._collect = collect
        self._clocks = clocks
        self._clocks_saved = 0
        self._changed = False
        self._lock: int | None = None
        self._locked = False
        self._aside = False
        self._is_read = False
        """Whether what the file to be adopted has is what is known."""
        self._child: Child | None = None
        self._not_before = 0.0
        self._written = 0.0
        self._delay = 0.0
        self._told = ("", 0.0)

    def load(self, path: str) -> Snapshot | None:
        """What the file has, at the router's start. One that cannot be used is kept when the first is written."""
        notices: list[str] = []
        snapshot = snapshot_file.load(path, notices.append)
        self._aside = bool(notices)
        self._is_read = True
        for notice in notices:
            self._log.say(notice)
        return snapshot

    def adopt(self, path: str, now: float) -> None:
        """Write ``path`` from now on (empty: nothing). That it cannot be written is told at once."""
        if path == self.path:
            self._not_before = min(self._not_before, now)
            return
        self._unlock()
        if self.path:  # what was wrong with the other file does not matter any more
            self._aside = False
        self.path = path
        self._changed = not self._is_read
        self._is_read = False
        self._delay = 0.0
        self._not_before = now
        self._told = ("", 0.0)
        if path:
            self._take_lock(now)

    def changed(self) -> None:
        """Something is not as it was written."""
        self._changed = True

    def tick(self, now: float) -> None:
        """Once a second."""
        if self._child is not None:
            self._look_after(self._child, now)
        if self._child is None and self.path and self._is_due(now):
            self._begin(now, hurry=False)

    def finish(self, now: float) -> None:
        """The router stops: write what there is, and wait for it for a few seconds."""
        if self._child is not None:
            self._wait(self._child, now)
        if self.path:
            self._begin(now, hurry=True)
            if self._child is not None:
                self._wait(self._child, now)
        self._unlock()

    def interrupt(self) -> None:
        """Nobody writes from here on, until the next tick: the file is the old one, or the new one."""
        if self._child is not None:
            _kill(self._child.pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._child.pid, 0)
            os.close(self._child.pipe)
            self._child = None
            self._changed = True

    def handed(self, keep: Keep) -> Rows:
        """For the master that takes the place of this one: the file, and its lock."""
        lock = -1 if self._lock is None else keep(self._lock)
        return {"path": self.path, "lock": lock, "locked": self._locked, "aside": self._aside}

    def inherit(self, rows: Rows) -> None:
        """Go on with the file that was handed over; what is known now is written soon."""
        self.path, self._locked, self._aside = str(rows["path"]), bool(rows["locked"]), bool(rows["aside"])
        if rows["lock"] >= 0:
            self._lock = int(rows["lock"])
            os.set_inheritable(self._lock, False)
        self._changed = True

    def let_go(self) -> None:
        """In a child: none of this is its own."""
        if self._lock is not None:
            os.close(self._lock)
        if self._child is not None:
            os.close(self._child.pipe)

    # -- the parts --------------------------------------------------------------------------------------------------

    def _is_due(self, now: float) -> bool:
        if now < self._not_before:
            return False
        return self._changed or (self._clocks() != self._clocks_saved and now >= self._written + CLOCKS_INTERVAL)

    def _begin(self, now: float, hurry: bool) -> None:
        """Start a child."""
        if not self._take_lock(now):
            return
        try:
            reader, writer = os.pipe()
        except OSError as error:
            self._failed(f"cannot start a process: {error.strerror}", now)
            return
        master = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            self._failed(f"cannot start a process: {error.strerror}", now)
            return
        if pid == 0:
            _become(master, writer, lambda: snapshot_file.save(self.path, self._collect(), self._aside), hurry)
        os.close(writer)
        os.set_blocking(reader, False)
        self._child = Child(pid, self.path, reader, now)
        self._changed = False
        self._clocks_saved = self._clocks()

    def _take_lock(self, now: float) -> bool:
        """Whether the file is ours to write."""
        if not self._locked:
            try:
                self._lock, self._locked = snapshot_file.lock(self.path), True
            except OSError as error:
                self._failed(error.strerror or str(error), now)
        return self._locked

    def _look_after(self, child: Child, now: float) -> None:
        """Whether the child is done; one that never will be is ended."""
        if not _has_ended(child):
            if now - child.since < CHILD_SECONDS:
                return
            _kill(child.pid)
        self._end(child, now)

    def _wait(self, child: Child, now: float) -> None:
        began = time.monotonic()
        poll = select.poll()
        poll.register(child.pipe, select.POLLIN)
        while not _has_ended(child):
            if not poll.poll(LAST_SECONDS * 1000):
                _kill(child.pid)
                break
        self._end(child, now + time.monotonic() - began)

    def _end(self, child: Child, now: float) -> None:
        """``child`` is over. (Whoever reaps the master's children may have taken it.)"""
        os.close(child.pipe)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child.pid, 0 if child.told else os.WNOHANG)
        self._child = None
        if child.path != self.path:
            return
        if not child.told.startswith(_DONE):
            reason = child.told.decode("utf-8", "replace")
            self._failed(reason or f"the process that writes it did not end well in {now - child.since:.0f} s", now)
            return
        if self._told[0]:
            self._log.say(f"subscription-snapshot = {self.path}: written again")
        self._aside = False
        self._told = ("", 0.0)
        self._delay = 0.0
        self._written = now
        self._not_before = child.since + max(INTERVAL, SHARE * float(child.told[len(_DONE) :]))

    def _failed(self, reason: str, now: float) -> None:
        """Nothing was written: the next try is later, and the log hears of it now and then."""
        self._changed = True
        self._delay = min(RETRY_MOST, self._delay * 2) or RETRY_FIRST
        self._not_before = now + self._delay
        before, when = self._told
        if reason != before or now - when >= TELL_AGAIN:
            self._told = (reason, now)
            self._log.say(f"subscription-snapshot = {self.path}: not written: {reason}")

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock, self._locked = None, False


def _become(master: int, writer: int, write: Callable[[], None], hurry: bool) -> NoReturn:
    """The child's life."""
    told = b""
    try:
        began = time.monotonic()
        gc.disable()  # it would touch, and so copy, every page
        process.reset_signals()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)  # it has a file to finish, and takes no time
        _let_go_of_all_but(writer)
        # Else the next router, which has the lock then, and this one would write into one file.
        process.follow_parent(signal.SIGKILL)
        if os.getppid() != master:
            os._exit(1)
        setproctitle("uwsgirouter: snapshot")
        if not hurry:
            os.nice(5)
        write()
        told = b"%b%.3f" % (_DONE, time.monotonic() - began)
    except OSError as error:
        told = (error.strerror or str(error)).encode()
    except BaseException as error:  # noqa: BLE001 - a child must never return into the master's code
        told = f"{type(error).__name__}: {error}".encode("utf-8", "replace")
    finally:
        with contextlib.suppress(OSError):
            os.write(writer, told[:1000])
        os._exit(0)


def _let_go_of_all_but(writer: int) -> None:
    """A disk that hangs must not keep a socket open, or a worker's channel."""
    for text in os.listdir("/proc/self/fd"):
        if int(text) > 2 and int(text) != writer:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(text))


def _has_ended(child: Child) -> bool:
    """Take what ``child`` tells; whether it told all."""
    try:
        while data := os.read(child.pipe, 4096):
            child.told += data
    except BlockingIOError:
        return False
    return True


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

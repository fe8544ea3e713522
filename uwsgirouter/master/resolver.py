"""The resolver: an attendant that looks names up again when their time to live is over.

One idea: the master never waits for a name server, so somebody else does. The resolver asks for each name when it is
due, in a thread of its own (the system's look-up cannot be cut short), and tells the master only what changed. A
look-up that fails changes nothing: it is logged once and tried again soon. It must not know what the names are for.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from uwsgirouter.errors import RouterError
from uwsgirouter.log import Log
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.names import Hosts, Names
from uwsgirouter.protocol.messages import Message

if TYPE_CHECKING:
    from uwsgirouter.master.line import Line
    from uwsgirouter.master.lookup import Found

RETRY_FIRST, RETRY_MOST = 5.0, 60.0
"""Seconds until a look-up that failed is tried again: doubled each time, up to the latter."""
THREADS = 16
"""Names that are asked for at once."""

Result = tuple[str, "Found | str"]


class Schedule:
    """When each name is due. Pure; ``now`` is monotonic seconds."""

    def __init__(self, names: Iterable[str], now: float) -> None:
        self._due = dict.fromkeys(names, now)
        self._delays: dict[str, float] = {}

    def take(self, now: float) -> list[str]:
        """The names that are due; they are under way then, until :meth:`answered` or :meth:`failed`."""
        due = [name for name, moment in self._due.items() if moment <= now]
        for name in due:
            del self._due[name]
        return due

    def patience(self, now: float) -> float | None:
        """Seconds until the next name is due; None when all are under way."""
        return max(0.0, min(self._due.values()) - now) if self._due else None

    def answered(self, name: str, ttl: float, now: float) -> bool:
        """``name`` is good for ``ttl`` seconds; whether its last look-up had failed."""
        self._due[name] = now + ttl
        return self._delays.pop(name, None) is not None

    def failed(self, name: str, now: float) -> bool:
        """``name`` could not be looked up; whether that is the first time in a row."""
        first = name not in self._delays
        delay = self._delays[name] = RETRY_FIRST if first else min(RETRY_MOST, self._delays[name] * 2)
        self._due[name] = now + delay
        return first


class Resolver:
    """The child's life: :meth:`run` returns when the master is gone. ``ask`` is a look-up and may block."""

    def __init__(self, line: Line, hosts: dict[str, Hosts], ask: Callable[[str], Found], log: Log) -> None:
        self._line = line
        self._hosts = hosts
        self._ask = ask
        self._log = log
        self._schedule = Schedule(hosts, time.monotonic())
        self._results: deque[Result] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def run(self) -> int:
        """Look up, tell, wait; the exit status."""
        pool = ThreadPoolExecutor(THREADS)
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        self._line.ready()
        while True:
            for name in self._schedule.take(time.monotonic()):
                pool.submit(self._work, name)
            patience = self._schedule.patience(time.monotonic())
            poll.poll(None if patience is None else patience * 1000 + 1)
            if self._line.hear(0) is None:
                return 0
            self._take_results()

    def _work(self, name: str) -> None:
        """In a thread: what comes of it, whatever that is, is a result."""
        try:
            self._results.append((name, self._ask(name)))
        except RouterError as error:
            self._results.append((name, str(error)))
        except Exception as error:  # noqa: BLE001 - a thread that dies silently would never ask for this name again
            self._results.append((name, f"{type(error).__name__}: {error}"))
        os.eventfd_write(self._bell, 1)

    def _take_results(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return
        while self._results:
            name, found = self._results.popleft()
            if isinstance(found, str):
                self._failed(name, found)
            else:
                self._answered(name, found)

    def _failed(self, name: str, reason: str) -> None:
        if self._schedule.failed(name, time.monotonic()):
            self._log.say(f"cannot resolve {name}: {reason}; it stays {', '.join(self._hosts[name])}")

    def _answered(self, name: str, found: Found) -> None:
        if self._schedule.answered(name, found.ttl, time.monotonic()):
            self._log.say(f"{name} can be resolved again")
        if found.hosts != self._hosts[name]:
            self._hosts[name] = found.hosts
            with contextlib.suppress(ConnectionError):  # no master: the next look at the line tells
                self._line.tell("hosts", name, list(found.hosts))


def resolver_duty(names: Names, changed: Callable[[str], None], user: int | None, group: int | None) -> Duty | None:
    """The duty of looking ``names`` up again, None when there are none. ``changed(name)`` tells the master's side."""

    def body(line: Line) -> int:
        from uwsgirouter.master.lookup import look_up  # the master loaded it, if it looked a name up

        server = names.server
        return Resolver(line, dict(names.hosts), lambda name: look_up(name, server), Log("uwsgirouter resolver")).run()

    def hear(message: Message) -> None:
        if len(message) == 3 and message[0] == "hosts" and names.learn(message[1], message[2]):
            changed(str(message[1]))

    return Duty("resolver", body, hear, user=user, group=group) if names.hosts else None

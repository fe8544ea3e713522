"""The resolver: an attendant that looks names up again when their time to live is over.

One idea: the master never waits for a name server, so somebody else does. The resolver asks for each name when it is
due, in a thread of its own (the system's look-up cannot be cut short), and tells the master only what changed. A
look-up that fails changes nothing: it is logged once and tried again soon. It must not know what the names are for,
but that some are the configuration's, known from the start and for good, and others come and go with announcements,
whoever sends those: they have threads of their own, and the log says little of them.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from uwsgirouter.errors import RouterError
from uwsgirouter.log import Log, Throttle
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.names import Hosts, Names
from uwsgirouter.protocol.messages import Message

if TYPE_CHECKING:
    from uwsgirouter.master.line import Line
    from uwsgirouter.master.lookup import Found

RETRY_FIRST, RETRY_MOST = 5.0, 60.0
"""Seconds until a look-up that failed is tried again: doubled each time, up to the latter."""
THREADS = 16
"""Names of the configuration that are asked for at once, and announced ones."""
LINES = 5
"""Lines a second about announced names."""

Result = tuple[str, "Found | str"]


class Schedule:
    """When each name is due. Pure; ``now`` is monotonic seconds."""

    def __init__(self, names: Iterable[str], now: float) -> None:
        self._due = dict.fromkeys(names, now)
        self._delays: dict[str, float] = {}

    def add(self, name: str, now: float) -> None:
        """``name`` is due at once."""
        self._due[name] = now

    def drop(self, name: str) -> None:
        """``name`` is not asked for any more."""
        self._due.pop(name, None)
        self._delays.pop(name, None)

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
    """The child's life: :meth:`run` returns when the master is gone. ``ask`` is a look-up and may block.

    ``hosts`` are all names with what they mean, ``announced`` those of them that are not the configuration's.
    """

    def __init__(
        self,
        line: Line,
        hosts: dict[str, Hosts],
        ask: Callable[[str], Found],
        log: Log,
        announced: Iterable[str] = (),
    ) -> None:
        self._line = line
        self._hosts = hosts
        self._announced = set(announced)
        self._ask = ask
        self._log = log
        self._say = Throttle(log.say, LINES)
        self._schedule = Schedule(hosts, time.monotonic())
        self._results: deque[Result] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def run(self) -> int:
        """Look up, tell, wait; the exit status."""
        pools = {False: ThreadPoolExecutor(THREADS), True: ThreadPoolExecutor(THREADS)}
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        self._line.ready()
        while True:
            for name in self._schedule.take(time.monotonic()):
                pools[name in self._announced].submit(self._work, name)
            patience = self._schedule.patience(time.monotonic())
            poll.poll(None if patience is None else patience * 1000 + 1)
            orders = self._line.hear(0)
            if orders is None:
                return 0
            for order in orders:
                self._obey(order)
            self._take_results()

    def _obey(self, order: Message) -> None:
        """The master says of a name that it is announced, or that it is not any more."""
        name = str(order[1])
        if order[0] == "ask":
            if name not in self._hosts:
                self._hosts[name] = ()
                self._announced.add(name)
                self._schedule.add(name, time.monotonic())
            elif self._hosts[name]:
                self._tell("hosts", name, list(self._hosts[name]))
        elif order[0] == "forget" and name in self._announced:
            self._announced.discard(name)
            del self._hosts[name]
            self._schedule.drop(name)

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
            if name not in self._hosts:  # forgotten meanwhile
                continue
            if isinstance(found, str):
                self._failed(name, found)
            else:
                self._answered(name, found)

    def _failed(self, name: str, reason: str) -> None:
        first = self._schedule.failed(name, time.monotonic())
        if not self._hosts[name]:
            self._tell("unresolved", name, reason)  # which the master logs with whoever announces it
        elif first:
            self._report(name, f"cannot resolve {name}: {reason}; it stays {', '.join(self._hosts[name])}")

    def _answered(self, name: str, found: Found) -> None:
        known = bool(self._hosts[name])
        if self._schedule.answered(name, found.ttl, time.monotonic()) and known:
            self._report(name, f"{name} can be resolved again")
        if found.hosts != self._hosts[name]:
            self._hosts[name] = found.hosts
            self._tell("hosts", name, list(found.hosts))

    def _report(self, name: str, text: str) -> None:
        if name in self._announced:
            self._say(text, time.monotonic())
        else:
            self._log.say(text)

    def _tell(self, *items: object) -> None:
        with contextlib.suppress(ConnectionError):  # no master: the next look at the line tells
            self._line.tell(*items)


def load_lookup() -> None:
    """What a resolver needs, while the rights to load it are there. It costs 4 MB and 50 ms."""
    from uwsgirouter.master import lookup  # noqa: F401


def resolver_duty(
    names: Names,
    announced: Callable[[], Mapping[str, Hosts]],
    hear: Callable[[Message], None],
    user: int | None,
    group: int | None,
) -> Duty:
    """The duty of looking up the names of a configuration, and those that are ``announced`` when it is taken up.

    ``hear`` gets what it tells: ``hosts`` (name, addresses), ``unresolved`` (announced name, why). It is told to
    ``ask`` for further names, and to ``forget`` them. Without names in the configuration nobody has to wait for it.
    """

    def body(line: Line) -> int:
        from uwsgirouter.master.lookup import look_up

        server = names.server
        beside = {name: hosts for name, hosts in announced().items() if name not in names.hosts}
        hosts = {**names.hosts, **beside}
        return Resolver(line, hosts, lambda name: look_up(name, server), Log("uwsgirouter resolver"), beside).run()

    return Duty("resolver", body, hear, user=user, group=group, prepare=load_lookup, optional=not names.hosts)

"""The other servers that rules ask: who gets a line, who waits, and when a server is let alone.

One idea: a rule's greenlet waits for a thread of the service's own (worker/service_line.py), for a bounded time, in a
bounded crowd; a service that hangs holds its own threads and nobody else's. After some failures in a row it is down:
whoever asks hears so at once, and one call every second tries it. All that is decided here happens in the worker's own
thread, so there are no locks. It must not know any protocol. Invariants: a service has at most ``Timing.most`` threads
and connections; a connection is used by one call at a time; nothing waits for a thread when the worker leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import gevent
from gevent.event import Event

from uwsgirouter.errors import RouterError
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.service import Service, ServiceDown, Timing
from uwsgirouter.worker.service_line import Order, Orders, Work

C = TypeVar("C")
T = TypeVar("T")

SLACK = 0.5
"""Seconds beyond its own timeouts that a call gets before it is given up."""
TROUBLES = 3
"""Failures in a row after which a service is down."""
REST = 1.0
"""Seconds that a service which is down is let alone before one call tries it."""
IDLE = 60
"""Seconds: lines that nobody needed for so long leave."""
WAITING = 100
"""Calls that may wait for each connection; more fail at once."""
BACKLOG = 4
"""The same for calls that nobody waits for: each may hold a whole body."""
SERVICES_MOST = 64
"""Services that a worker has connections to: rules may make addresses of what a request says."""


class Services:
    """All services of one worker. ``say``: a line of the log when one goes down or comes back."""

    def __init__(self, timing: Timing, say: Callable[[str], None]) -> None:
        self._timing = timing
        self._say = say
        self._pools: dict[Service[Any], _Pool] = {}
        """The one that was asked last is the last."""

    def ask(self, service: Service[C], call: Callable[[C], T], once: bool = False) -> T:
        """``call(connection)``, in a greenlet. Raises :class:`ServiceDown`."""
        outcome: T = self._pool(service).ask(call, once)
        return outcome

    def hand(self, service: Service[C], call: Callable[[C], object], complain: Callable[[str], None]) -> None:
        """The same without waiting for it; ``complain`` hears why it was not done, at once or later."""
        try:
            self._pool(service).hand(call, complain)
        except ServiceDown as error:
            complain(str(error))

    def tick(self) -> None:
        """Called every second."""
        for pool in self._pools.values():
            pool.tick()

    def close(self) -> None:
        """The worker leaves: free lines say goodbye, nobody waits for the others."""
        for pool in self._pools.values():
            pool.dismiss(pool.free)

    def _pool(self, service: Service[Any]) -> _Pool:
        pool = self._pools.pop(service, None)
        if pool is None:
            if len(self._pools) >= SERVICES_MOST:
                self._drop_one()
            pool = _Pool(service, self._timing, self._say)
        self._pools[service] = pool
        return pool

    def _drop_one(self) -> None:
        """Forget the service that was not asked for the longest time."""
        for service, pool in self._pools.items():
            if not pool.busy:
                pool.dismiss(pool.free)
                del self._pools[service]
                return
        raise ServiceDown(f"all {SERVICES_MOST} services are busy", Cause.SERVICE_BUSY)


class _Health(Enum):
    UP = "up"
    DOWN = "let alone until a moment"
    TRIED = "down, and one call tries it, until a moment at most"


class _Call:
    """One call on its way: it waits, is begun, is over."""

    __slots__ = ("begun", "error", "is_given_up", "news", "once", "outcome", "over", "then", "work")

    def __init__(self, work: Work, once: bool, then: Callable[[], None] | None = None) -> None:
        self.work = work
        self.once = once
        self.then = then
        """Called when it is over."""
        self.news = Event()
        """Set when it is begun, and when it is over."""
        self.begun = False
        self.over = False
        self.is_given_up = False
        """It took too long, and was counted as a failure."""
        self.outcome: Any = None
        self.error: BaseException | None = None

    def end(self, outcome: Any, error: BaseException | None) -> None:
        """It is over."""
        self.outcome, self.error, self.over = outcome, error, True
        self.news.set()
        if self.then is not None:
            self.then()


class _Pool:
    """The lines of one service, and those who wait for one."""

    def __init__(self, service: Service[Any], timing: Timing, say: Callable[[str], None]) -> None:
        self._service = service
        self._timing = timing
        self._say = say
        self._orders = Orders(service, timing, gevent.get_hub().loop)
        self.busy = 0
        """Calls that are begun and not over."""
        self._lines = 0
        """Threads that were started and not told to leave."""
        self._unneeded = 0
        """Lines that were free all the time since the last look."""
        self._age = 0
        self._waiting: deque[_Call] = deque()
        self._handed = 0
        self._health = _Health.UP
        self._troubles = 0
        self._until = 0.0

    @property
    def free(self) -> int:
        """Lines that have nothing to do."""
        return max(0, self._lines - self.busy)

    # -- calls -------------------------------------------------------------------------------------------------------

    def ask(self, work: Work, once: bool) -> Any:
        """Raises :class:`ServiceDown`, or what ``work`` raises."""
        call = _Call(work, once)
        self._enter(call, self._timing.most * WAITING)
        try:
            self._see_it_through(call)
        finally:  # whoever waits may be killed
            if not call.begun and call in self._waiting:
                self._waiting.remove(call)
        if call.error is None:
            return call.outcome
        if isinstance(call.error, Exception):
            raise call.error
        raise RuntimeError(f"{self._service.name}: {call.error!r}") from call.error

    def hand(self, work: Work, complain: Callable[[str], None]) -> None:
        """Raises :class:`ServiceDown` when it cannot be taken."""
        if self._handed >= self._timing.most * BACKLOG:
            raise ServiceDown(f"{self._service.name}: {self._handed} calls are under way", Cause.SERVICE_BUSY)

        def then() -> None:
            self._handed -= 1
            if isinstance(call.error, RouterError):
                complain(str(call.error))
            elif call.error is not None:
                raise call.error  # in the hub, which logs it

        call = _Call(work, False, then)
        self._enter(call, self._timing.most * (WAITING + BACKLOG))
        self._handed += 1

    def _see_it_through(self, call: _Call) -> None:
        timing = self._timing
        if not call.begun and not call.over:
            call.news.wait(timing.answer)
            if not call.begun and not call.over:
                raise self._busy()
        if not call.over:
            call.news.clear()
            call.news.wait(timing.connect + timing.answer + SLACK)
        if not call.over:
            call.is_given_up = True
            self._trouble("no answer in time")
            raise ServiceDown(f"{self._service.name}: no answer in time")

    def _enter(self, call: _Call, most: int) -> None:
        """Begin it, or let it wait. Raises :class:`ServiceDown` where there is nothing to wait for."""
        tries = self._admit()
        if self.busy < self._timing.most:
            self._begin(call)
        elif tries:
            self._trouble(f"no answer to any of {self.busy} calls")
            raise ServiceDown(f"{self._service.name} is down")
        elif len(self._waiting) >= most:
            raise self._busy()
        else:
            self._waiting.append(call)

    def _busy(self) -> ServiceDown:
        return ServiceDown(f"{self._service.name}: all {self._timing.most} connections are busy", Cause.SERVICE_BUSY)

    # -- lines -------------------------------------------------------------------------------------------------------

    def _begin(self, call: _Call) -> None:
        self.busy += 1
        call.begun = True
        call.news.set()
        if self._lines < self.busy and not self._add_line() and not self._lines:
            self.busy -= 1
            call.end(None, ServiceDown(f"{self._service.name}: no thread can be started"))
            self._go_down("no thread can be started")
            return
        self._unneeded = min(self._unneeded, self.free)
        self._orders.put(Order(call.work, call.once, partial(self._heard, call)))

    def _add_line(self) -> bool:
        try:
            self._orders.start_line()
        except RuntimeError:
            return False
        self._lines += 1
        return True

    def _heard(self, call: _Call, outcome: Any, error: BaseException | None) -> None:
        """A call is over."""
        self.busy -= 1
        if error is None or isinstance(error, RouterError):
            if not call.is_given_up and not isinstance(error, ServiceDown):
                self._fine()  # what an action says of an answer is no failure of the service
        elif isinstance(error, self._service.failures):
            reason = str(error) or type(error).__name__
            if not call.is_given_up:
                self._trouble(reason)
            error = ServiceDown(f"{self._service.name}: {reason}")
        while self._waiting and self.busy < self._timing.most:
            self._begin(self._waiting.popleft())
        call.end(outcome, error)

    def dismiss(self, count: int) -> None:
        """So many of the free lines leave."""
        for _ in range(count):
            self._orders.dismiss()
        self._lines -= count

    def tick(self) -> None:
        """Every second: lines that nobody needs leave."""
        self._age += 1
        if self._age >= IDLE:
            self._age = 0
            self.dismiss(self._unneeded)
            self._unneeded = self.free

    # -- health ------------------------------------------------------------------------------------------------------

    def _admit(self) -> bool:
        """Whether this call is the one that tries a service which is down. Raises :class:`ServiceDown` for others."""
        if self._health is _Health.UP:
            return False
        now = monotonic()
        if now < self._until:
            raise ServiceDown(f"{self._service.name} is down")
        self._health = _Health.TRIED
        # Whoever tries it may leave: then another one does, later.
        self._until = now + self._timing.connect + self._timing.answer + SLACK + REST
        return True

    def _trouble(self, reason: str) -> None:
        """A call failed."""
        self._troubles += 1
        if self._troubles >= TROUBLES or self._health is not _Health.UP:
            self._go_down(reason)

    def _go_down(self, reason: str) -> None:
        """Nobody asks for a while, and nobody waits any more."""
        if self._health is _Health.UP:
            self._say(f"{self._service.name} is down: {reason}; it is tried every {REST:g} s")
        self._health, self._until = _Health.DOWN, monotonic() + REST
        while self._waiting:
            self._waiting.popleft().end(None, ServiceDown(f"{self._service.name} is down"))

    def _fine(self) -> None:
        """It answered."""
        self._troubles = 0
        if self._health is not _Health.UP:
            self._health = _Health.UP
            self._say(f"{self._service.name} answers again")

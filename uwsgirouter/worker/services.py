"""The other servers that rules ask: connections of this worker, each in a thread, and never a wait without an end.

One idea: a client library may block as it likes, because it does so in a thread of the service's own pool; the rule's
greenlet waits for it, for a bounded time. A service that hangs holds its own threads and nobody else's. It must not
know any protocol. Invariants: a service has at most ``Timing.most`` threads and connections; a connection is used by
one call at a time; one whose call failed or was given up is closed, never used again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.service import Service, ServiceDown, Timing

C = TypeVar("C")
T = TypeVar("T")

SLACK = 0.5
"""Seconds beyond its own timeouts that a call gets before it is given up."""
TROUBLES = 3
"""Failures in a row after which a service is let alone for a moment."""
REST = 1.0
"""Seconds that it is let alone: then one call tries it, and the others go on failing at once until that has worked."""


class Services:
    """All services of one worker; a pool is made when its service is first asked."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._pools: dict[Service[Any], _Pool] = {}

    def ask(self, service: Service[C], call: Callable[[C], T]) -> T:
        """``call(connection)``, in a greenlet. Raises :class:`ServiceDown`."""
        pool = self._pools.get(service)
        if pool is None:
            pool = self._pools[service] = _Pool(service, self._timing)
        outcome: T = pool.ask(call)
        return outcome


class _Call:
    """One call, and whether anybody still waits for it."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work
        self.is_given_up = False


class _Pool:
    """The threads and idle connections of one service."""

    def __init__(self, service: Service[Any], timing: Timing) -> None:
        self._service = service
        self._timing = timing
        self._threads = ThreadPool(timing.most)
        self._turns = BoundedSemaphore(timing.most)
        self._idle: list[Any] = []
        self._troubles = 0
        self._rests_until = 0.0

    def ask(self, work: Callable[[Any], Any]) -> Any:
        timing = self._timing
        self._spare_it()
        if not self._turns.acquire(timeout=timing.answer):
            raise ServiceDown(f"{self._service.name}: all {timing.most} connections are busy", Cause.SERVICE_BUSY)
        call = _Call(work)
        result = self._threads.spawn(self._run_quietly, call)
        # Not when the greenlet is done with it: a thread that hangs keeps its turn.
        result.rawlink(lambda _: self._turns.release())
        try:
            outcome, error = result.get(timeout=timing.connect + timing.answer + SLACK)
        except gevent.Timeout:
            self._troubles += 1
            raise ServiceDown(f"{self._service.name} did not answer in time") from None
        finally:
            call.is_given_up = True
        if isinstance(error, self._service.failures):
            self._troubles += 1
            raise ServiceDown(f"{self._service.name}: {error}") from None
        self._troubles = 0
        self._rests_until = 0.0
        if error is not None:
            raise error
        return outcome

    def _spare_it(self) -> None:
        """Raises :class:`ServiceDown` while it is let alone; then this call tries it for all others."""
        now = time.monotonic()
        if now < self._rests_until:
            raise ServiceDown(f"{self._service.name} is down")
        if self._troubles >= TROUBLES:
            self._rests_until = now + REST

    def _run_quietly(self, call: _Call) -> tuple[Any, Exception | None]:
        """(What a thread raises goes to the log as a bug of ours.)"""
        try:
            return self._run(call), None
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs, in the greenlet
            return None, error

    def _run(self, call: _Call) -> Any:
        """In a thread: the call, with a connection of its own for that time."""
        connection = self._idle.pop() if self._idle else self._service.connect(self._timing)
        good = False
        try:
            outcome = call.work(connection)
            good = True
            return outcome
        except self._service.failures:
            raise
        except Exception:
            good = True  # the action's own: the connection has nothing to do with it
            raise
        finally:
            if good and not call.is_given_up:
                self._idle.append(connection)
            else:
                self._service.close(connection)

"""What a worker gives its rules: the log, its number, the caches, and whatever lies outside a request.

One idea: rules know the world only as :class:`~uwsgirouter.rules.host.Host`; this is that world. What costs much to
have is made when it is first asked for. Invariant: nothing here blocks the loop; what waits does so in the rule's own
greenlet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import gevent

from uwsgirouter.log import Log, Throttle
from uwsgirouter.rules.host import Waiting
from uwsgirouter.rules.service import Service, Timing
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.alarms import Alarms
from uwsgirouter.worker.lines import Lines
from uwsgirouter.worker.observer import Ids, acceptable
from uwsgirouter.worker.router import CONNECT_TIMEOUT, LINES_PER_SECOND
from uwsgirouter.worker.rpc_call import CallFailed, call_at
from uwsgirouter.worker.services import Services

if TYPE_CHECKING:
    from uwsgirouter.cache.caches import Caches
    from uwsgirouter.model.buckets import Buckets
    from uwsgirouter.model.holds import Holds
    from uwsgirouter.model.metrics import Metrics
    from uwsgirouter.rules.program import Program
    from uwsgirouter.worker.post import Post
    from uwsgirouter.worker.programs import Programs
    from uwsgirouter.worker.scripts import Scripts

C = TypeVar("C")
T = TypeVar("T")


class RuleHost:
    """The host of one worker's rules."""

    def __init__(self, post: Post, log: Log, scripts: Scripts, ids: Ids, calls_scripts: bool = False) -> None:
        """``calls_scripts``: rules do. Raises BootError when a script fails."""
        self.worker = post.number
        self.pid = os.getpid()
        self.pages = post.settings.flag("fastrouter-error-pages")
        self.names_requests = post.settings.flag("request-id") or post.access is not None
        self._settings: Settings = post.settings
        self._log = log
        self._ids = ids
        self._own = scripts
        self.metrics: Metrics | None = post.metrics
        self.buckets: Buckets | None = None if post.limits is None else post.limits.buckets
        self.holds: Holds | None = None if post.limits is None else post.limits.holds(post.row)
        self._lines = None if self.holds is None else Lines(self.holds)
        self._evicted = 0 if self.buckets is None else self.buckets.evicted
        self.shown = ""
        """What rules want ``ps`` to say of this process; empty: nothing of their own."""
        self._say = Throttle(log.say, 1)
        self._complain = Throttle(log.line, LINES_PER_SECOND)
        timeout = self._settings.number("fastrouter-timeout")
        self._timeout = self._settings.optional_number("fastrouter-first-byte-timeout") or timeout
        self._connect_timeout = self._settings.optional_number("fastrouter-connect-timeout") or min(
            timeout, CONNECT_TIMEOUT
        )
        self._scripts: Any = scripts.module_for_rules() if calls_scripts else None
        self._programs: Programs | None = None
        self._alarms = Alarms(post.settings, log, self.signal)
        seconds = self._settings.seconds
        self._services = Services(
            Timing(
                seconds("service-connect-timeout"),
                seconds("service-timeout"),
                self._settings.number("service-connections"),
            ),
            log.say,
        )

    @property
    def caches(self) -> Caches | None:
        """This process's own."""
        return self._own.caches

    def stand(self, waiting: Waiting, key: bytes) -> int:
        """Wait in the line of ``key``; see worker/lines.py."""
        assert self._lines is not None, "a table that counts has memory for it"
        return self._lines.stand(waiting, key)

    def log(self, text: bytes) -> None:
        """A line of the log, as it is."""
        self._log.line(text.decode("utf-8", "backslashreplace"))

    def complain(self, text: bytes) -> None:
        """The same, no more than some each second."""
        self._complain(text.decode("utf-8", "backslashreplace"), time.monotonic())

    def identify(self, brought: bytes) -> bytes:
        """The id of a request that came with ``brought``: that, if it may be one, else a new one."""
        return acceptable(brought) or self._ids.new()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def aside(self, call: Callable[[], T]) -> T:
        """Run ``call`` in a thread and wait for it, in a greenlet."""
        result: T = gevent.get_hub().threadpool.apply(call)
        return result

    def ask(self, service: Service[C], call: Callable[[C], T], once: bool = False) -> T:
        """Have another server answer; see worker/services.py."""
        return self._services.ask(service, call, once)

    def hand(self, service: Service[C], call: Callable[[C], object], what: str) -> None:
        """The same, without waiting for it."""
        self._services.hand(service, call, lambda why: self._complain(f"{what}: {why}", time.monotonic()))

    def rpc(self, name: bytes, arguments: Sequence[bytes]) -> bytes | None:
        """What a function of the scripts returns; None when there is none, or it fails."""
        result: bytes | None = self._scripts.call(name, *arguments)
        return result

    def signal(self, number: int) -> None:
        """Have the scripts' function for this signal run. Does not wait."""
        self._scripts.signal(number)

    def alarm(self, name: str, text: bytes) -> None:
        """Raise a configured alarm. Does not wait."""
        self._alarms.tell(name, text)

    def program(self, program: Program) -> tuple[str, bytes]:
        """Where it is run, and what is to be sent there first; see worker/programs.py. Raises OSError."""
        if self._programs is None:
            from uwsgirouter.worker.programs import Programs

            self._programs = Programs(self._settings, self._log)
        return self._programs.take(program)

    def rpc_at(self, address: str, name: bytes, arguments: Sequence[bytes], raw: bool = False) -> bytes | None:
        """The same of another server; why there is none goes to the log."""
        try:
            return call_at(address, name, arguments, raw, self._connect_timeout, self._timeout)
        except CallFailed as error:
            shown = name.decode("latin-1").encode("unicode_escape").decode("ascii")
            self._say(f"rpc {shown}@{address} failed: {error}", time.monotonic())
            return None

    def title(self, text: bytes) -> None:
        """What ``ps`` says of this process from the next second on."""
        self.shown = text.decode("utf-8", "replace")

    def tick(self) -> None:
        """Called every second."""
        self._alarms.tick()
        self._services.tick()
        self._look_at_limits()

    def _look_at_limits(self) -> None:
        """Tell when clients were forgotten that had not all of their requests left. (One worker does.)"""
        if self.buckets is None or self.worker != 1:
            return
        evicted = self.buckets.evicted
        if evicted > self._evicted:
            more = evicted - self._evicted
            self._say(
                f"limits: {more} keys were forgotten to make room for others; limit-keys is too small", time.monotonic()
            )
        self._evicted = evicted

    def close(self) -> None:
        """The worker leaves."""
        self._alarms.close()
        self._services.close()
        if self._programs is not None:
            self._programs.close()

"""Reload: read, check and bind everything new, start its workers, and swap only when all of them are ready.

One idea: until the swap the old generation is untouched, so any failure on the way (a typo, an address in use, a worker
that cannot start) costs a log line and nothing else. It knows generations, sockets and the registrar; processes are
the supervisor's. Invariants: ``current`` always has its sockets open; there is at most one ``incoming``.
"""

from __future__ import annotations

import selectors
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uwsgirouter.cache.place import Place
from uwsgirouter.errors import BootError, ConfigError
from uwsgirouter.log import Log
from uwsgirouter.master.duties import duties_of, prepare_place, settle_place
from uwsgirouter.master.fleet import Fleet, Member
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.handover import Keep, Rows
from uwsgirouter.master.logger import LogChannel, log_channel, logger_duty
from uwsgirouter.master.names import Names, resolve
from uwsgirouter.master.registrar import Registrar
from uwsgirouter.master.sockets import Endpoints, Sockets
from uwsgirouter.master.standing import Standing
from uwsgirouter.rules.loading import load_rules
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.model.metrics import Metrics
    from uwsgirouter.rules.limit_memory import LimitMemory
    from uwsgirouter.rules.metric_memory import MetricMemory
    from uwsgirouter.rules.table import Table


@dataclass(frozen=True)
class Setback:
    """Something that was asked for and failed; ``at`` is the wall clock's."""

    at: float
    reason: str


@dataclass
class Legacy:
    """What another version of this program left of the generation in force."""

    index: int
    target: int
    endpoints: Endpoints
    hosts: dict[str, list[str]]
    metrics: Rows | None
    limits: Rows | None
    access: Rows | None = None


class Reload:
    """``current`` is what runs, ``incoming`` what is being started, if anything is."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        sockets: Sockets,
        registrar: Registrar,
        selector: selectors.BaseSelector,
        place: Place,
        log: Log,
        legacy: Legacy | None = None,
    ) -> None:
        self.wish = ""
        """Why somebody but the operator wants a reload; empty when nobody does."""
        self._source = source
        self._sockets = sockets
        self._registrar = registrar
        self._selector = selector
        self._place = place
        self._log = log
        self._standing = Standing(source.environment, source.cwd)
        self._metric_memory: MetricMemory | None = None
        self._limit_memory: LimitMemory | None = None
        self.current = self._generation(1, settings) if legacy is None else self._go_on(settings, legacy)
        self.incoming: Generation | None = None
        self._again = False
        self._started = 0.0
        self.failure: Setback | None = None
        """Why the last reload failed; None when the last one did not."""

    @property
    def generations(self) -> list[Generation]:
        """Those whose workers should run."""
        return [self.current] if self.incoming is None else [self.current, self.incoming]

    def boot(self, now: float) -> None:
        """Put the first generation into service. Raises BootError."""
        prepare_place(self.current.settings, self._place)
        settle_place(self.current.settings, self._place)
        self._adopt(self.current, now)

    def begin(self, now: float) -> bool:
        """Prepare the next generation; whether there is one now. One that is under way is followed by another."""
        self.wish = ""
        if self.incoming is not None:
            self._again = True
            return False
        try:
            settings = self._source.load()
            self._standing.change(self.current.settings, settings)
            incoming = self._generation(self.current.index + 1, settings, self.current.names)
            prepare_place(settings, self._place)
        except (ConfigError, BootError) as error:
            self._standing.undo()
            self._sockets.release(self.current.endpoints)
            settle_place(self.current.settings, self._place)
            self._keep_old(str(error))
            return False
        for name in self.current.settings.differences(settings):
            self._log.say(f"{name} changed: that needs a restart, the old value stays")
        for notice in settings.notices:
            self._log.say(notice)
        self._started = now
        self.incoming = incoming
        self._adopt(incoming, now)
        return True

    def complete(self, fleet: Fleet, now: float) -> list[Member] | None:
        """Swap if all of the incoming workers are ready: the old members, which are to drain. None: no swap."""
        incoming = self.incoming
        if incoming is None or not fleet.ready(incoming.index, incoming.target):
            return None
        old = fleet.of(self.current.index)
        self.current.end()
        self.current, self.incoming = incoming, None
        self._standing.keep()
        self.failure = None
        settle_place(incoming.settings, self._place)
        self._sockets.release(incoming.endpoints)
        self._log.say(f"reloaded in {now - self._started:.2f} seconds; {len(old)} old workers drain")
        return old

    def wanted_again(self) -> bool:
        """Whether another reload was asked for meanwhile; asking clears it."""
        again, self._again = self._again, False
        return again

    def abort(self, reason: str) -> None:
        """Forget the incoming generation; the old one stays as it is."""
        self._drop_incoming()
        self._standing.undo()
        self._again = False
        self._adopt(self.current, time.monotonic())
        self._sockets.release(self.current.endpoints)
        settle_place(self.current.settings, self._place)
        self._keep_old(reason)

    def cancel(self) -> None:
        """There is no next generation."""
        self._drop_incoming()
        self._standing.undo()
        self._again = False

    def end(self) -> None:
        """The router stops: nothing is started any more."""
        self.cancel()
        self.current.end()

    def _drop_incoming(self) -> None:
        if self.incoming is not None:
            self.incoming.end()
            self.incoming = None

    def _generation(self, index: int, settings: Settings, before: Names | None = None) -> Generation:
        """Raises BootError, ConfigError; sockets that were bound before are left open."""
        endpoints = self._sockets.bind(settings)
        names = resolve(settings, before)
        workers = settings.number("fastrouter-processes")
        rules = load_rules(settings, self._log.say)
        for line in rules.describe() if rules else ():
            self._log.line(line)
        limits, metrics = self._limits(settings, rules), self._metrics(settings)
        generation = Generation(index, settings, endpoints, names, workers, rules, limits, metrics)
        user, group = settings.optional_number("uid"), settings.optional_number("gid")
        generation.access = log_channel(settings, user, group)
        try:
            generation.duties = [
                *([] if generation.access is None else [logger_duty(settings, generation.access)]),
                *duties_of(settings, endpoints, self._place, index > 1, self._want),
                *self._registrar.duties(generation),
            ]
        except BootError:
            generation.end()
            raise
        return generation

    def _go_on(self, settings: Settings, legacy: Legacy) -> Generation:
        """The generation that another version started: what is missing for it is no reason not to go on with it."""
        names = Names(settings)
        names.hosts |= {name: tuple(hosts) for name, hosts in legacy.hosts.items() if name in names.hosts}
        generation = Generation(legacy.index, settings, legacy.endpoints, names, legacy.target)
        try:
            if legacy.metrics is not None:
                from uwsgirouter.rules.metric_memory import MetricMemory

                self._metric_memory = MetricMemory.inherited(legacy.metrics)
            if legacy.limits is not None:
                from uwsgirouter.rules.limit_memory import LimitMemory

                self._limit_memory = LimitMemory.inherited(legacy.limits)
            generation.rules = load_rules(settings, self._log.say)
            generation.limits = self._limits(settings, generation.rules)
            generation.metrics = self._metrics(settings)
            generation.duties = duties_of(settings, legacy.endpoints, self._place, True, self._want)
            if legacy.access is not None:
                generation.access = LogChannel.inherited(legacy.access)
                generation.duties.append(logger_duty(settings, generation.access))
        except (ConfigError, BootError, OSError) as error:
            generation.frozen = str(error)
            self._log.say(f"no more workers can be started by the configuration in force: {error}")
        return generation

    def handed_metrics(self, keep: Keep) -> Rows | None:
        """The memory of metrics, for the master that takes the place of this one."""
        return None if self._metric_memory is None else self._metric_memory.handed(keep)

    def handed_limits(self, keep: Keep) -> Rows | None:
        """The memory of limits, likewise."""
        return None if self._limit_memory is None else self._limit_memory.handed(keep)

    def _limits(self, settings: Settings, rules: Table | None) -> LimitMemory | None:
        """Raises BootError. What was counted before goes on to count."""
        if rules is None or not rules.limits:
            return None
        from uwsgirouter.rules.limit_memory import LimitMemory

        try:
            if self._limit_memory is None:
                self._limit_memory = LimitMemory(settings.number("limit-keys"))
        except OSError as error:
            raise BootError(f"no memory for limits: {error.strerror}") from error
        return self._limit_memory

    def _metrics(self, settings: Settings) -> Metrics | None:
        """Raises BootError. A metric that was there before goes on."""
        if not settings.is_set("metric"):
            return None
        from uwsgirouter.rules.metric_memory import MetricMemory
        from uwsgirouter.settings.metering import metrics

        try:
            if self._metric_memory is None:
                self._metric_memory = MetricMemory()
            return self._metric_memory.configure(metrics(settings))
        except (OSError, OverflowError) as error:
            raise BootError(f"metric: {error}") from error

    def release_row(self, row: int) -> None:
        """The worker of that row is dead: what it held for limits is free."""
        if self._limit_memory is not None:
            self._limit_memory.release_row(row)

    def _want(self, reason: str) -> None:
        self.wish = reason

    def _adopt(self, generation: Generation, now: float) -> None:
        self._registrar.adopt(generation, now)
        self._registrar.watch(self._selector)

    def _keep_old(self, reason: str) -> None:
        self.failure = Setback(time.time(), reason)
        for line in reason.splitlines():
            self._log.say(f"reload failed: {line}")
        self._log.say("reload failed: the old configuration stays in use")

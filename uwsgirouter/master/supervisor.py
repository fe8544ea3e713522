"""The master's loop: wait, note signals and deaths, ask the fleet what to do, do it.

One idea: everything that happens to the processes happens here, in one thread, one thing after the other; signal
handlers only enqueue, and what decides (the fleet, the registry, the generation to be) is pure or stands in a module
of its own. It never sees a client's byte and has no gevent hub. Invariants: the listeners of the current generation
are open as long as the master lives; a worker is started or ended at nobody else's word.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from enum import Enum
from functools import partial

from uwsgirouter import __version__
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.cache.place import Place
from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import process
from uwsgirouter.master.attendants import Attendants
from uwsgirouter.master.attention import Attention
from uwsgirouter.master.channels import Channels
from uwsgirouter.master.commands import Commands
from uwsgirouter.master.control_socket import ControlSocket
from uwsgirouter.master.crew import FAST_STOP, Crew
from uwsgirouter.master.fleet import Fleet, Life, Member
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.handover import Rows
from uwsgirouter.master.log_rotation import Rotation, reopen
from uwsgirouter.master.looking import Looking
from uwsgirouter.master.news import HeardLog, News
from uwsgirouter.master.notify import Notifier
from uwsgirouter.master.observed import Observed
from uwsgirouter.master.offspring import become_attendant, become_stats, become_worker
from uwsgirouter.master.presence import Presence, show
from uwsgirouter.master.registrar import Registrar
from uwsgirouter.master.reload import Reload
from uwsgirouter.master.signal_orders import SignalOrders
from uwsgirouter.master.signals import Signals
from uwsgirouter.master.sockets import Endpoints, Sockets
from uwsgirouter.master.standing import move_pid_file
from uwsgirouter.master.stats_server import StatsServer
from uwsgirouter.master.succession import Ledger, legacy_of, settle, settle_attendants
from uwsgirouter.master.upgrade import Upgrade
from uwsgirouter.model.counters import ROWS
from uwsgirouter.model.long_lived import LongLived
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.main import CANNOT_BOOT

WORKERS_MOST = ROWS // 4
"""Workers that TTIN can reach: two generations must fit in the shared memory, with room for those that drain."""


class Stage(Enum):
    """What the master is about."""

    RUNNING = "running"
    RESTING = "running without workers"
    STOPPING = "stopping"


class Supervisor:
    """The master. :meth:`boot` prepares everything that can fail, :meth:`run` returns the exit status."""

    def __init__(self, source: Source, settings: Settings, quiet: Log, left: Rows | None = None) -> None:
        """``quiet``: the log of what is no news of processes."""
        self.table = RouteTable(WeightedRoundRobin)
        self.news = News(self.table, attends=False)
        self.log = log = HeardLog(quiet, self.news)
        self.source = source
        self.stage = Stage.RUNNING
        self.status = 0
        self.pid = os.getpid()
        self.began = time.monotonic()
        self.ledger = Ledger() if left is None else Ledger.inherited(left["counters"])
        self.counters = self.ledger.counters
        self.sticky_secret = os.urandom(32) if left is None else bytes.fromhex(left["sticky"])
        self.notifier = Notifier(os.environ)
        self.presence = Presence(self)
        self.fleet = Fleet()
        self.attention = Attention(lambda: self.registrar.listen())
        self.channels = Channels(self.attention.others, self.fleet, self._hear)
        self.registrar = Registrar(self.table, self._inflight, quiet, self._node_changed)
        self.observed = Observed(self.registrar.registry, self.counters)
        self.registrar.gone = self.observed.gone
        if left is None:
            self.sockets, endpoints = Sockets(log), Endpoints()
        else:
            self.sockets, endpoints = Sockets.inherited(log, left["sockets"])
        self.signals = Signals(SignalOrders(self).by_number())
        show(settings)
        # Before anything is bound: whoever finds us listening may send a signal at once.
        self.signals.listen(self.attention.others)
        if left is not None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, left["held_back"])
        self.crew = Crew(
            self.fleet,
            self.channels,
            self.registrar,
            self.counters,
            self.table,
            log,
            partial(become_worker, self),
            lambda: self.settings.seconds("reload-mercy"),
            lambda row: self.reload.release_row(row),
        )
        self.attendants = Attendants(
            self.attention.others, log, lambda duty, upper, lower: become_attendant(self, duty, upper, lower)
        )
        self.place = Place(log.say)
        legacy = None
        if left is not None:
            self.place.inherit(left["place"])
            legacy = legacy_of(left, endpoints)
        self.reload = Reload(
            source, settings, self.sockets, self.registrar, self.attention.ears, self.place, log, legacy
        )
        self.upgrade = Upgrade(self, self.attention.others)
        self.looking = Looking(self)
        commands = Commands(
            self.registrar, self._inflight, self.channels.settled, log, self.looking, self.observed.counted
        )
        self.control = ControlSocket(self.attention.others, quiet, commands.answer)
        self._upgraded_from = ""
        self.stats = StatsServer(self.attention.others, log, partial(become_stats, self))
        self._rotation = Rotation(self)
        self._next_tick = 0.0
        self._long_lived = LongLived()
        self._touched = _mtimes(settings)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.reload.current.settings

    # -- life -------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Nodes, subscription servers, a place for caches (BootError); the first pass of :meth:`run` starts workers."""
        try:
            self.observed.prepare(self.settings)
            self.reload.boot(time.monotonic())
        except BootError:
            self.place.remove()
            raise
        for notice in self.settings.notices:
            self.log.say(notice)
        self.log.line(f"spawned uwsgirouter master process (pid: {os.getpid()})")
        for bound in self.reload.current.endpoints.listeners:
            self.log.line(f"uwsgirouter bound to {bound.name} fd {bound.sock.fileno()}")
        self._settled()

    def succeed(self, left: Rows) -> None:
        """Go on where another version was, and begin with a reload, as it was asked for. May raise BootError."""
        settle(self, left)
        self.observed.prepare(self.settings)
        if not self.reload.current.frozen:
            self.reload.current.duties += self.registrar.duties(self.reload.current)
        self.reload.boot(time.monotonic())
        settle_attendants(self, left)
        self._upgraded_from = str(left["program"])
        self._settled()
        self.notifier.go_on()
        self.begin_reload(time.monotonic())

    def _settled(self) -> None:
        self._watch_control()
        self.stats.watch(self.reload.current.endpoints)
        # What exists now lives on in every worker: a collection there would copy its pages for nothing.
        gc.collect()
        gc.freeze()

    def _watch_control(self) -> None:
        bound = self.reload.current.endpoints.control
        self.control.watch(bound)
        self.news.attend(bound is not None)

    def run(self) -> int:
        """The loop."""
        while True:
            now = time.monotonic()
            self._staff(now)
            if self.stage is Stage.STOPPING and not self.fleet.members:
                if not self.attendants.members:
                    return self._leave()
                self.attendants.hurry(now)
            calls = self.attention.wait(self._next_moment(now))
            # Orders first: a worker that was told to leave together with its master is answered as the master knows.
            self.signals.obey()
            for call in calls:
                call()
            self._reap()
            now = time.monotonic()
            if self.reload.wish:
                self.log.say(f"{self.reload.wish}: reloading")
                self.notifier.reloading()
                self.begin_reload(now)
            self.upgrade.look(now)
            self.presence.look(now)
            if now >= self._next_tick:
                self._next_tick = now + 1.0
                self._tick(now)
            self.news.look()
            self.control.pass_on(now)
            self.channels.write()

    def _next_moment(self, now: float) -> float:
        """When there is something to do, whatever happens until then."""
        if self.news.is_behind:
            return 0.0
        puts_off = (self.crew.respawns.not_before, self.attendants.not_before, self.notifier.next_beat() or 0.0)
        return min([self._next_tick, *(moment for moment in puts_off if moment > now)])

    def _tick(self, now: float) -> None:
        """Once a second: time passes for nodes and workers."""
        self.registrar.tick(now)
        self._long_lived.look(len(self.table.nodes))
        self.attendants.tick(now)
        self.control.tick(now)
        self.looking.tick(now)
        self.stats.tick(now)
        self.crew.tick(now, self.settings.seconds("fastrouter-harakiri"))
        self.upgrade.tick(now)
        self._rotation.tick()
        self.presence.tick()
        touched = _mtimes(self.settings)
        if touched != self._touched:
            self._touched = touched
            self.log.say("a touch-reload file changed: reloading")
            self.notifier.reloading()
            self.begin_reload(now)

    def _leave(self) -> int:
        self.attendants.close()
        self.registrar.close()
        self.control.close()
        self.stats.close()
        self.place.remove()
        self.sockets.close_all()
        if self.settings.flag("vacuum"):
            self.sockets.unlink()
            process.remove_pid_file(self.settings.text("pidfile"))
        self.log.line("goodbye to uwsgirouter.")
        return self.status

    # -- orders -----------------------------------------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """Whether the router ends with its last session."""
        return self.stage is Stage.STOPPING

    def stop(self, seconds: float, life: Life, *order: object) -> None:
        """Give everybody ``seconds`` to leave: workers get ``order``, which makes their life ``life``."""
        now = time.monotonic()
        deadline = now + seconds
        self.stage = Stage.STOPPING
        self.notifier.stopping(seconds)
        self.upgrade.cancel()
        self.registrar.take_leave()
        self.reload.end()
        self.attendants.stop(now, lambda attendant: True, seconds, hurry=life is Life.STOPPING)
        self.crew.stop(deadline, life, *order)

    def rest(self) -> None:
        """All workers drain and leave, the sockets stay; a reload or :meth:`resize` brings workers back."""
        if self.stage is Stage.RUNNING:
            self.stage = Stage.RESTING
            if self.reload.incoming is not None:
                self.attendants.discard(self.reload.incoming.index)
            self.reload.cancel()
            self.log.say("SIGWINCH: draining all workers; connections wait until SIGHUP")
            now = time.monotonic()
            self.attendants.stop(now, lambda attendant: attendant.duty.rests)
            for member in self.fleet.members.values():
                self.crew.drain(member, now)

    def resize(self, step: int) -> None:
        """Want so many more workers."""
        if self.stage is Stage.STOPPING:
            return
        self.stage = Stage.RUNNING
        current = self.reload.current
        current.target = min(WORKERS_MOST, max(1, current.target + step))
        self.log.say(f"{current.target} workers wanted")

    # -- workers ----------------------------------------------------------------------------------------------------

    def _staff(self, now: float) -> None:
        """Bring the fleet to its target."""
        if self.stage is not Stage.RUNNING:
            return
        for generation in self.reload.generations:
            if generation.frozen:
                continue
            self.attendants.staff(generation, now)
            if self.attendants.attended(generation):
                self.crew.staff(generation, now)

    def _hear(self, member: Member, message: list[object]) -> None:
        """What a worker says of itself."""
        what = message[0] if message else ""
        if what == "ready" and member.life is Life.STARTING:
            member.life = Life.SERVING
            self.looking.traces.joined(member)
            self._complete_reload(time.monotonic())
        elif what == "draining":
            now = time.monotonic()
            if member.life is Life.STARTING:
                # It gave up before it served: the next one may do the same, and must not come at once for ever.
                self.crew.plan_respawn(member, now)
            self.crew.drain(member, now)
        else:
            self.looking.hear(member, message)

    def _node_changed(self, id: int) -> None:
        self.channels.node_changed(id)
        self.news.node_changed(id)

    def _reap(self) -> None:
        while self.fleet.members or self.attendants.members or self.upgrade.trial is not None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            if self.upgrade.bury(pid, code):
                continue
            member = self.fleet.members.pop(pid, None)
            if member is not None:
                self._bury(member, code)
            elif pid in self.attendants.members:
                self._bury_attendant(pid, code)

    def _bury_attendant(self, pid: int, code: int) -> None:
        loss = self.attendants.bury(pid, code, time.monotonic())
        if loss is None or self.stage is Stage.STOPPING:
            return
        name = loss.attendant.duty.name
        incoming = self.reload.incoming
        needed = not loss.attendant.duty.optional
        if needed and incoming is not None and loss.attendant.generation == incoming.index:
            self._abort_reload(incoming, f"{name} {loss.how}")
        elif needed and not loss.was_ready and self.reload.current.index == 1:
            self._give_up(f"{name} cannot start")
        elif loss.delay:
            self.log.say(f"{name} dies again and again: backing off, respawned in {loss.delay:g} seconds")
        else:
            self.log.line(f"respawning uwsgirouter {name}")

    def _bury(self, member: Member, code: int) -> None:
        how = self.crew.bury(member, code)
        if not how:
            return
        now = time.monotonic()
        incoming = self.reload.incoming
        if incoming is not None and member.generation == incoming.index:
            self._abort_reload(incoming, f"worker {member.number} {how} before it was ready")
        elif code == CANNOT_BOOT and member.life is Life.STARTING and self.reload.current.index == 1:
            self._give_up("the workers cannot start")
        else:
            self.crew.plan_respawn(member, now)

    def _give_up(self, reason: str) -> None:
        self.log.say(f"{reason}: giving up")
        self.status = 1
        self.stop(FAST_STOP, Life.STOPPING, "stop")

    # -- reload -----------------------------------------------------------------------------------------------------

    def begin_reload(self, now: float) -> None:
        """Begin the next generation, if its configuration is good and nothing else is under way."""
        if self.stage is Stage.STOPPING or self.upgrade.takes_over_reload() or not self.reload.begin(now):
            return
        self.stage = Stage.RUNNING
        incoming = self.reload.incoming
        assert incoming is not None
        try:
            self.observed.prepare(incoming.settings)
        except BootError as error:
            self._abort_reload(incoming, str(error))

    def _complete_reload(self, now: float) -> None:
        before = self.reload.current
        previous = before.index
        old = self.reload.complete(self.fleet, now)
        if old is None:
            return
        self.attendants.stop(now, lambda attendant: attendant.generation == previous)
        self.attendants.forget(previous)
        self._watch_control()
        self.stats.watch(self.reload.current.endpoints)
        self._touched = _mtimes(self.settings)
        show(self.settings)
        self._move_files(before.settings)
        served = {id(bound) for bound in self.reload.current.endpoints.listeners}
        alone = [number for number, bound in enumerate(before.endpoints.listeners) if id(bound) not in served]
        for member in old:
            self.crew.drain(member, now, alone)
        if self._upgraded_from:
            self.log.say(f"upgraded from version {self._upgraded_from} to {__version__}")
            self._upgraded_from = ""
        if self.reload.wanted_again():
            self.begin_reload(now)

    def _move_files(self, before: Settings) -> None:
        """The log and the pid file are where the settings in force say."""
        path = process.log_path(self.settings)
        if path != process.log_path(before):
            reopen(self, "logto changed")
            if not path:
                self.log.say("logto was taken away: that needs a restart, the old log stays")
        try:
            move_pid_file(before, self.settings)
        except BootError as error:
            self.log.say(f"{error}; the old one stays")

    def _abort_reload(self, generation: Generation, reason: str) -> None:
        self.crew.abandon(generation)
        self.attendants.discard(generation.index)
        self.reload.abort(reason)

    def _inflight(self, node: int) -> int:
        return self.counters.inflight(node, self.fleet.rows())


def _mtimes(settings: Settings) -> tuple[float, ...]:
    """When each ``touch-reload`` file was changed; 0 for one that is not there."""
    found = []
    for path in settings.texts("touch-reload"):
        try:
            found.append(os.stat(path).st_mtime)
        except OSError:
            found.append(0.0)
    return tuple(found)

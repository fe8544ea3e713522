"""The worker process, from the fork to its exit.

One idea: a worker does what its sockets and its master tell it, in one gevent hub that exists only here, after the
fork. It accepts once it has the registry; it drains when told, when it gets TERM, or when its master is dead; it
beats once a second in its row of the shared memory. It must not open what the master owns or log where nobody looks.
"""

from __future__ import annotations

import faulthandler
import gc
import signal
import sys
import time
import traceback
from collections.abc import Collection
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from setproctitle import setproctitle

from uwsgirouter.errors import BootError
from uwsgirouter.log import Log, Throttle
from uwsgirouter.model.counters import Counter
from uwsgirouter.model.cut import whose
from uwsgirouter.model.in_flight import InFlight
from uwsgirouter.model.long_lived import LongLived
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.settings.mapping_checks import TABLED, way
from uwsgirouter.worker.bugs import session_in, session_of
from uwsgirouter.worker.listener import Listener
from uwsgirouter.worker.mapping import Mapping, direct_nodes
from uwsgirouter.worker.observer import Ids, Observer
from uwsgirouter.worker.observing import observer_of
from uwsgirouter.worker.post import Post
from uwsgirouter.worker.queue import Queue
from uwsgirouter.worker.router import Router
from uwsgirouter.worker.sharing import balancing_of, choice_of
from uwsgirouter.worker.uplink import Uplink

if TYPE_CHECKING:
    from uwsgirouter.worker.routed import Rules
    from uwsgirouter.worker.rule_host import RuleHost
    from uwsgirouter.worker.scripts import Scripts
    from uwsgirouter.worker.tracing import Tracing

STOPPED = 0
"""Exit status after a drain or a stop."""
CANNOT_BOOT = 3
"""Exit status of a worker that could not start: another one would not be able to, either."""

BEAT = 1.0
"""Seconds from one beat to the next."""
ANSWER_TIME = 1.0
"""Seconds that a worker told to leave waits for its master's word on how."""

_IGNORED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGWINCH,
    signal.SIGPIPE,
)


class Duty(Enum):
    """What the worker is about."""

    STARTING = "starting"
    SERVING = "serving"
    CHEAP = "cheap"
    DRAINING = "draining"


class Worker:
    """One worker. :meth:`run` returns the exit status."""

    def __init__(self, post: Post) -> None:
        self.post = post
        settings = post.settings
        self.log = Log(f"uwsgirouter worker {post.number}")
        hub: Any = gevent.get_hub()
        hub.handle_error = self.handle_error
        self.loop: Any = hub.loop
        self.duty = Duty.STARTING
        self._title = ""
        self._host: RuleHost | None = None
        self._tracing: Tracing | None = None
        self.done = Event()
        self._inflight = InFlight(post.counters, post.row)
        self._cells = post.counters.row(post.row)
        self.table = RouteTable(balancing_of(settings, self._inflight))
        self.uplink = Uplink(self.loop, post.channel, self.table, self)
        ids = self._ids = Ids()
        direct = direct_nodes(settings)
        mapping = Mapping(settings, self.table, direct, post.caches, self.log, post.number)
        mapper = mapping.choose(post.announced)
        self._scripts = mapping.scripts
        self.router = Router(
            settings,
            self.table,
            mapper,
            direct,
            self._cells,
            post.counters.inflight_row(post.row),
            self.loop,
            self.log,
            self.uplink,
            choice_of(settings, self._inflight, post.sticky_secret),
            self._inflight.waits_elsewhere,
            self._rules(post, mapping.scripts, ids),
            ids,
            observer_of(post, ids, self.loop, self.log),
        )
        say = Throttle(self.log.say, 1)
        burst = settings.number("fastrouter-events")
        self.listeners = [Listener(self.router, sock, burst, say) for sock in post.listeners]
        self._cheap = settings.flag("fastrouter-cheap") and way(settings) in TABLED
        self._clock = self.loop.timer(BEAT, BEAT)
        self._next_beat = 0.0
        self._term = self.loop.signal(signal.SIGTERM)
        self._unanswered = self.loop.timer(ANSWER_TIME, ANSWER_TIME)
        self._long_lived = LongLived()
        self._errors = Throttle(self.log.block, 1)
        self._lines_lost = Log.lost

    def _rules(self, post: Post, scripts: Scripts, ids: Ids) -> Rules | None:
        if post.rules is None:
            return None
        from uwsgirouter.worker.routed import Rules
        from uwsgirouter.worker.rule_host import RuleHost

        self._host = RuleHost(post, self.log, scripts, ids, post.rules.scripts)
        return Rules(post.rules, self._host, self.log)

    def run(self) -> int:
        """Serve until told to leave."""
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        # Written by C code, whatever the interpreter does: where a worker that does not move is (master/crew.py asks).
        faulthandler.register(signal.SIGUSR2, file=2, all_threads=False)
        self._term.start(self._on_term)
        self._clock.start(self._tick)
        self._beat()
        self.uplink.start()
        self.done.wait()
        if self.router.rules is not None:
            self.router.rules.end()
        if self._host is not None:
            self._host.close()
        self._scripts.close()
        if self.router.observer is not None:
            self.router.observer.close()
        return STOPPED

    # -- orders ---------------------------------------------------------------------------------------------------

    def begin(self, number: int) -> None:
        """The whole registry is here: accept, and tell the master."""
        # What exists now lives as long as the worker: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        if self.duty is Duty.STARTING:
            self._inflight.look()
            self._change_duty(self._wanted())
            self.uplink.send("ready", number)

    def nodes_changed(self) -> None:
        """Go cheap when nobody is left, come back when somebody is there."""
        if self.duty in (Duty.SERVING, Duty.CHEAP) and self._wanted() is not self.duty:
            self._change_duty(self._wanted())
        self.router.vassals.nodes_changed()

    def _wanted(self) -> Duty:
        return Duty.CHEAP if self._cheap and not self.table.available() else Duty.SERVING

    def _change_duty(self, wanted: Duty) -> None:
        before, self.duty = self.duty, wanted
        for listener in self.listeners:
            if wanted is Duty.SERVING:
                listener.start()
            else:
                listener.pause()
        if wanted is Duty.CHEAP:
            self.log.say(
                "going cheap: no node is there" if before is Duty.SERVING else "cheap mode: waiting for a node"
            )
        elif before is Duty.CHEAP:
            self.log.say("leaving cheap mode...")
        self._show()

    def drain(self, last: bool, alone: Collection[int] = ()) -> None:
        """Accept no more, leave when the sessions are done. The backlog is served first where nobody comes after us:
        everywhere (``last``), or at the listeners of these numbers (``alone``), which are not configured any more."""
        if self.duty is Duty.DRAINING:
            return
        serving = self.duty is Duty.SERVING
        self.duty = Duty.DRAINING
        try:
            for number, listener in enumerate(self.listeners):
                if serving and (last or number in alone):
                    listener.finish()
                else:
                    listener.close()
        finally:  # whatever fails, the worker must leave
            self.router.idle = self.done.set
            if not self.router.sessions:
                self.done.set()
            self._show()

    def stop(self) -> None:
        """Leave at once; what is under way is cut."""
        self.drain(last=False)
        sessions = list(self.router.sessions)
        if sessions:
            self.log.say(f"{len(sessions)} sessions are cut: {whose(session.key for session in sessions)}")
        for session in sessions:
            session.abandon(Cause.STOPPED)
        self.done.set()

    def orphaned(self) -> None:
        """Without a master nobody would take care of us: finish and leave."""
        self.log.say("the master is gone: draining")
        self.drain(last=False)
        mercy = self.post.settings.seconds("reload-mercy")
        self._mercy = self.loop.timer(mercy)
        self._mercy.start(self.stop)

    def _on_term(self) -> None:
        """Ask the master, who knows whether the whole router stops (then the backlog is ours to serve)."""
        if self.duty is not Duty.DRAINING:
            self.log.say("SIGTERM: draining")
            self.uplink.send("draining")
            self._unanswered.again(self._drain_unasked)

    def _drain_unasked(self) -> None:
        self._unanswered.stop()
        self.drain(last=False)

    def trace(self, token: int, key: bytes, count: int) -> None:
        """Tell the master what is decided for the next ``count`` requests of ``key``."""
        if self._tracing is None:
            from uwsgirouter.worker.tracing import Tracing

            self._tracing = Tracing(self.router, lambda: Observer(self._ids, False), self.uplink.tell)
        self._tracing.begin(token, key, count)

    def untrace(self, token: int) -> None:
        """No more of them."""
        if self._tracing is not None:
            self._tracing.end(token)

    # -- the clock ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._beat()
        self._cells[Counter.CHEAP] = self.duty is Duty.CHEAP
        self._cells[Counter.LINES_DROPPED] += Log.lost - self._lines_lost
        self._lines_lost = Log.lost
        self._inflight.look()
        self.table.balancing.grow()
        self.router.tick()
        self._long_lived.look(len(self.table.nodes))
        if self._tracing is not None:
            self._tracing.tick()
        if self._host is not None:
            self._host.tick()
        self._scripts.tick()
        self._show()

    def _beat(self) -> None:
        now = time.monotonic()
        self._cells[Counter.BEAT] = int(now * 1000)
        if self._next_beat:
            late = max(0, int((now - self._next_beat) * 1e6))
            self._cells[Counter.LAG] = late
            self._cells[Counter.LAG_TOTAL] += late
        self._next_beat = now + BEAT

    def _show(self) -> None:
        """What ``ps`` says of this process."""
        sessions = len(self.router.sessions)
        if self.duty is Duty.DRAINING:
            state = f"draining {sessions}"
        elif self.duty is Duty.CHEAP:
            state = "cheap" if not sessions else f"cheap {sessions} sessions"
        else:
            state = f"{' '.join(self.post.names)} {sessions} sessions"
        title = f"uwsgirouter: worker {self.post.number} {state}"
        if self._host is not None and self._host.shown:
            title = self._host.shown
        if title != self._title:
            self._title = title
            setproctitle(title)

    # -- bugs -----------------------------------------------------------------------------------------------------

    def handle_error(self, context: Any, type: type, value: BaseException, tb: TracebackType) -> None:
        """A handler raised what it should not (the hub calls this): log it, and end the session that it belongs to.

        gevent stops the watcher of a handler that raised. A listener is started again; without a watcher on the
        channel the registry would grow old, so another worker must take over.
        """
        if isinstance(value, (SystemExit, KeyboardInterrupt)):
            self.done.set()
            return
        self._errors("".join(traceback.format_exception(type, value, tb)), time.monotonic())
        owner = getattr(getattr(context, "callback", None), "__self__", None)
        session = session_of(owner) or session_in(tb)
        if session is not None:
            session.abandon(Cause.INTERNAL)
        if isinstance(owner, Listener) and self.duty is Duty.SERVING:
            owner.rest()
        elif isinstance(owner, Queue):
            owner.go_on()
        elif isinstance(owner, Uplink):
            self.log.say("the master is not heard any more: draining")
            self.uplink.send("draining")
            self.uplink.stop()
            self.drain(last=False)


def work(post: Post) -> int:
    """The whole life of a worker; the caller leaves the process with the status it returns."""
    setproctitle(f"uwsgirouter: worker {post.number} starting")
    try:
        worker = Worker(post)
    except BootError as error:  # told by whom it concerns, in words for whom it concerns
        log = Log(f"uwsgirouter worker {post.number}")
        log.block(getattr(error, "traceback", ""))
        log.say(str(error))
        return CANNOT_BOOT
    except Exception:  # noqa: BLE001 - whatever it is, the master must hear "cannot boot", not a crash loop
        Log(f"uwsgirouter worker {post.number}").block(traceback.format_exc())
        return CANNOT_BOOT
    try:
        return worker.run()
    finally:
        sys.stdout.flush()

"""gunicorn announces itself: ``from uwsgirouter.announce.gunicorn import *`` in gunicorn.conf.py.

One idea: the two hooks that are exported are a foot in the door. Each attaches an :class:`Attached` to the arbiter,
which puts itself around the arbiter's methods and to the hooks that the file defines itself, whichever they are; so a
file needs to call ours only if it defines both of these. It uses what gunicorn 20.1 to 27 have in common, and nothing
of gunicorn is imported. Settings: announce/environment.py.

- The node is announced when the first worker has loaded the application, not when the arbiter listens.
- ``Arbiter.stop`` is the one way to every end: before it stops workers the node leaves, and waits for what is under way
  to it. A quick stop (INT, QUIT) does not wait.
- A HUP changes nothing, for the socket stays; the environment is read again.
- At a USR2 two arbiters have one socket: whoever goes while the other is there leaves in silence.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import time
from typing import Any, NoReturn

from uwsgirouter.announce.announcer import Announcer, Presence
from uwsgirouter.announce.environment import PREFIX, Plan, read, unknown
from uwsgirouter.announce.gauge import Gauge
from uwsgirouter.announce.listening import address_of, are_waiting
from uwsgirouter.errors import ConfigError

__all__ = ["on_starting", "when_ready"]

LOOK = 0.05
"""Seconds between two looks while it drains."""
_QUICK = (signal.SIGINT, signal.SIGQUIT)
_ASYNC = frozenset(("AsyncWorker", "ASGIWorker", "TornadoWorker"))
"""Workers that serve ``worker_connections`` at once, by their classes."""

_attached: Attached | None = None


def on_starting(server: Any) -> None:
    """gunicorn's hook: the configuration has been read, nothing is bound."""
    _attach(server)


def when_ready(server: Any) -> None:
    """gunicorn's hook: it listens, workers are about to be forked."""
    _attach(server).begin()


def _attach(server: Any) -> Attached:
    global _attached
    if _attached is None or _attached.server is not server:
        _attached = Attached(server)
    return _attached


class Attached:
    """One arbiter and its announcer."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self._gauge = Gauge()
        self._announcer: Announcer | None = None
        self._identity: tuple[object, ...] = ()
        """Servers, keys and address: what names a node to a router."""
        self._has_begun = False
        self._has_ended = False
        try:
            self._plan = self._read()
        except ConfigError as error:
            self._refuse(error)
        self._follow()

    def _read(self) -> Plan | None:
        for name in unknown(os.environ):
            self._say(f"{name} is not a setting of the announcements, and nobody reads it")
        return read(os.environ)

    def _refuse(self, error: ConfigError) -> NoReturn:
        self.server.log.error("uwsgirouter: cannot announce this server: %s", error)
        sys.exit(1)

    def _say(self, text: str) -> None:
        self.server.log.warning("uwsgirouter: %s", text)

    # -- around the arbiter ------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        server = self.server
        set_up, stop = server.setup, server.stop

        def setup(app: Any) -> None:
            set_up(app)
            self._chain()

        def ending(graceful: bool = True) -> None:
            self.end(graceful)
            stop(graceful)

        server.setup, server.stop = setup, ending
        self._chain()

    def _chain(self) -> None:
        """Put ours to the hooks of a configuration that was just read."""
        cfg = self.server.cfg
        when_ready, on_reload, nworkers_changed = cfg.when_ready, cfg.on_reload, cfg.nworkers_changed
        post_worker_init, pre_request, post_request = cfg.post_worker_init, cfg.pre_request, cfg.post_request

        def ready(server: Any) -> None:
            when_ready(server)
            self.begin()

        def reloaded(server: Any) -> None:
            on_reload(server)
            self.renew()

        def changed(server: Any, new: int, old: int | None) -> None:
            nworkers_changed(server, new, old)
            self._wake()

        def serves(worker: Any) -> None:
            post_worker_init(worker)
            self._gauge.serve(worker.age)
            self._wake()

        def begins(worker: Any, request: Any) -> None:
            self._gauge.begin(worker.age)
            pre_request(worker, request)

        def ends(worker: Any, request: Any, environ: Any, response: Any) -> None:
            self._gauge.end(worker.age)
            post_request(worker, request, environ, response)

        cfg.set("when_ready", ready)
        cfg.set("on_reload", reloaded)
        cfg.set("nworkers_changed", changed)
        cfg.set("post_worker_init", serves)
        cfg.set("pre_request", begins)
        cfg.set("post_request", ends)

    def _wake(self) -> None:
        if self._announcer is not None:
            self._announcer.wake()

    # -- the announcer -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The arbiter listens."""
        if self._has_begun:
            return
        self._has_begun = True
        if self._plan is None:
            self.server.log.info("uwsgirouter: %sSERVER is not set: not announced", PREFIX)
            return
        try:
            self._describe(self._plan)
        except ConfigError as error:
            self._refuse(error)
        self._start()

    def renew(self) -> None:
        """The configuration was read again, and with it the environment. A bad one changes nothing."""
        old, before = self._announcer, self._identity
        try:
            plan = self._read()
            if plan is not None:
                self._describe(plan)
        except ConfigError as error:
            self.server.log.error("uwsgirouter: the node stays announced as it was: %s", error)
            return
        self._plan = plan
        if plan is None:
            self._announcer = None
        if old is not None:
            # What both announce must not be missing for a moment.
            old.stop(leave=plan is None or self._identity != before)
        if plan is not None:
            self._start()

    def _describe(self, plan: Plan) -> None:
        """Make the announcer of ``plan``, which is not started. Raises ConfigError, and the one before stays."""
        fields = {"cores": self._cores, **plan.fields, "address": self._address(plan)}
        announcer = Announcer(
            plan.servers, plan.keys, load=self._load, presence=self._presence, say=self._say, **fields
        )
        self._announcer = announcer
        self._identity = (plan.servers, plan.keys, fields["address"])

    def _start(self) -> None:
        if self._announcer is not None:
            self._announcer.start()
            when = "" if self._gauge.has_served else ", once a worker serves"
            self.server.log.info("uwsgirouter: announcing %s%s", self._announcer, when)

    def _address(self, plan: Plan) -> str:
        if "address" in plan.fields:
            return str(plan.fields["address"])
        listeners = self.server.LISTENERS
        # With reuse_port each worker binds for itself.
        return address_of(listeners[0].getsockname() if listeners else self.server.cfg.address[0])

    def _presence(self) -> Presence:
        if not self._gauge.has_served:
            return Presence.SILENT
        if self.server.num_workers > 0:
            return Presence.HERE
        return Presence.SILENT if self._is_shared() else Presence.GONE

    def _cores(self) -> int:
        cfg = self.server.cfg
        names = {base.__name__ for base in self.server.worker_class.__mro__}
        each = cfg.worker_connections if names & _ASYNC else cfg.threads
        return int(self.server.num_workers * each)

    def _load(self) -> int:
        return self._gauge.busy([worker.age for worker in list(self.server.WORKERS.values())])

    # -- the end -----------------------------------------------------------------------------------------------------

    def end(self, graceful: bool) -> None:
        """Workers are about to be stopped: take leave, and let come what is on its way."""
        announcer = self._announcer
        if self._has_ended or announcer is None or self._plan is None:
            return
        self._has_ended = True
        announcer.stop(leave=False)
        if not self._gauge.has_served:
            return
        if self._is_shared():
            self.server.log.info("uwsgirouter: another gunicorn serves at the address: no unsubscription")
            return
        # Not left to stop(): after a reload the announcer may be too young to have announced anything itself.
        announcer.leave()
        self.server.log.info("uwsgirouter: unsubscribed")
        if graceful:
            self._drain(self._plan.drain)

    def _is_shared(self) -> bool:
        """Whether an arbiter of before or after a USR2 has our sockets, too."""
        server = self.server
        if server.reexec_pid:
            try:
                # Looks without reaping it: None while it runs.
                return os.waitid(os.P_PID, server.reexec_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
            except ChildProcessError:
                return False
        return bool(server.master_pid) and server.master_pid == os.getppid()

    def _drain(self, seconds: float) -> None:
        """Wait for those who were told of us a moment ago, then until every connection is accepted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._is_hurried():
            time.sleep(min(LOOK, max(0.0, end - time.monotonic())))
        end = time.monotonic() + self.server.cfg.graceful_timeout
        while time.monotonic() < end and not self._is_hurried() and are_waiting(self.server.LISTENERS):
            time.sleep(LOOK)

    def _is_hurried(self) -> bool:
        """Whether a second signal asks for a quick end. (It stays in gunicorn's queue, which some versions look at.)"""
        signals = self.server.SIG_QUEUE
        if isinstance(signals, list):
            return any(number in _QUICK for number in signals)
        # Nothing else that came matters to an arbiter that stops.
        taken = list(_emptied(signals))
        for number in taken:
            if number in _QUICK:
                signals.put(number)
        return any(number in _QUICK for number in taken)


def _emptied(signals: Any) -> Any:
    while True:
        try:
            yield signals.get_nowait()
        except queue.Empty:
            return

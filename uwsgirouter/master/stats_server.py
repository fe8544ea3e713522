"""The stats server: whoever connects for statistics or metrics is served by a child that the master forks for it.

One idea: a fork is a consistent copy of all that the master knows, and takes some milliseconds however many nodes there
are; what is shown is made and sent in the child, so that neither the master nor a worker waits for a reader. The child
has the sockets for about a second and serves all who come; then the master listens again. It must not know what is
shown: ``serve`` is the child's life. Invariants: the master looks at the sockets only while no child accepts on them;
there is at most one fork a second, and :data:`CHILDREN_MOST` children at a time, each of which has an end.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from setproctitle import setproctitle

from uwsgirouter.log import Log, Throttle
from uwsgirouter.master import process
from uwsgirouter.master.sockets import Bound, Endpoints
from uwsgirouter.model.measures import KEY_ROWS, ROW_CELLS
from uwsgirouter.stats.picture import Naming

CHILDREN_MOST = 4
INTERVAL = 1.0
"""Seconds from one fork to the next, at least."""
CHILD_SECONDS = 30.0
"""Seconds after which a child is ended, whatever it does."""
TOLD_MOST = 1 << 21
"""Bytes that a child may tell."""
_CLOSED = b"closed\n"
"""What it tells when it accepts no more. Before that: who was given a name."""

Tell = Callable[[bytes], None]
Serve = Callable[[Endpoints, Naming, Tell], None]


@dataclass
class Child:
    """``pipe``: what it tells comes here, and its end says that the child is over."""

    pid: int
    pipe: int
    since: float
    told: bytes = b""
    is_open: bool = True
    """Whether it accepts."""


class StatsServer:
    """``serve(endpoints, naming, tell)`` is the life of a child: it accepts on the stats' and the metrics' sockets."""

    def __init__(self, selector: selectors.BaseSelector, log: Log, serve: Serve) -> None:
        self.naming = Naming()
        """Which keys have names of their own; each child is told, and tells."""
        self._selector = selector
        self._log = log
        self._serve = serve
        self._say = Throttle(log.say, 1)
        self._endpoints = Endpoints()
        self._watched: list[Bound] = []
        self._children: list[Child] = []
        self._not_before = 0.0
        self._master = os.getpid()

    def watch(self, endpoints: Endpoints) -> None:
        """Serve at the sockets of ``endpoints`` from now on, and at no others."""
        known = {bound.name for bound in self._sockets}
        self._unlisten()
        self._endpoints = endpoints
        for what, sockets in (("stats", endpoints.stats), ("metrics", endpoints.metrics)):
            for bound in sockets:
                if bound.name not in known:
                    self._log.line(f"uwsgirouter {what} server bound to {bound.name}")
        self._listen(time.monotonic())

    @property
    def _sockets(self) -> list[Bound]:
        return [*self._endpoints.stats, *self._endpoints.metrics]

    def tick(self, now: float) -> None:
        """Once a second: end children whose time is over, listen again."""
        for child in list(self._children):
            if now - child.since >= CHILD_SECONDS:
                self._say(f"a stats process took more than {CHILD_SECONDS:g} s: ended", now)
                self._end(child)
        self._listen(now)
        self._say.flush(now)

    def close(self) -> None:
        """The master leaves: nobody is served any more."""
        self._unlisten()
        self._endpoints = Endpoints()
        for child in list(self._children):
            self._end(child)

    def handed(self) -> str:
        """For another version that takes over."""
        return encode_naming(self.naming).decode()

    def inherit(self, told: str | None) -> None:
        """Take what another version left."""
        if told:
            self._adopt(told.encode())

    def let_go(self) -> None:
        """In a child of the master: what other children tell is not its own."""
        for child in self._children:
            os.close(child.pipe)

    # -- the sockets ------------------------------------------------------------------------------------------------

    def _listen(self, now: float) -> None:
        """Wait for connections, unless somebody else does or it is too early."""
        if self._watched or now < self._not_before or any(child.is_open for child in self._children):
            return
        if len(self._children) >= CHILDREN_MOST:
            return
        for bound in self._sockets:
            self._selector.register(bound.sock, selectors.EVENT_READ, self._wanted)
            self._watched.append(bound)

    def _unlisten(self) -> None:
        for bound in self._watched:
            self._selector.unregister(bound.sock)
        self._watched = []

    # -- children ---------------------------------------------------------------------------------------------------

    def _wanted(self) -> None:
        """A connection waits."""
        if not self._watched:
            return  # two waited, and the first one was enough
        now = time.monotonic()
        self._unlisten()
        self._not_before = now + INTERVAL
        try:
            reader, writer = os.pipe()
        except OSError as error:
            self._say(f"stats: cannot start a process: {error.strerror}", now)
            return
        try:
            pid = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            self._say(f"stats: cannot start a process: {error.strerror}", now)
            return
        if pid == 0:
            self._become(writer)
        os.close(writer)
        os.set_blocking(reader, False)
        child = Child(pid, reader, now)
        self._children.append(child)
        self._selector.register(reader, selectors.EVENT_READ, lambda: self._hear(child))

    def _hear(self, child: Child) -> None:
        """``child`` tells something, or is over."""
        if child not in self._children:
            return
        try:
            data = os.read(child.pipe, 1 << 16)
        except BlockingIOError:
            return
        child.told += data
        if not data or len(child.told) > TOLD_MOST:
            self._end(child)
        elif child.is_open and child.told.endswith(_CLOSED):
            child.is_open = False
            self._adopt(child.told[: -len(_CLOSED)])
            child.told = b""
        self._listen(time.monotonic())

    def _adopt(self, told: bytes) -> None:
        """Remember who has a name. A child may have fewer rights than we, so what it says is looked at."""
        if told.strip():
            with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                self.naming = decode_naming(told)

    def _end(self, child: Child) -> None:
        """It is over, or has to be. (Whoever reaps the master's children may take it, too.)"""
        self._children.remove(child)
        self._selector.unregister(child.pipe)
        if not _has_ended(child.pipe):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        os.close(child.pipe)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child.pid, os.WNOHANG)

    # -- in the child -----------------------------------------------------------------------------------------------

    def _become(self, writer: int) -> NoReturn:
        """The child's life."""
        try:
            gc.disable()  # it would touch, and so copy, every page
            process.reset_signals()
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)
            own = {writer, *(bound.sock.fileno() for bound in self._sockets)}
            _let_go_of_all_but(own)
            setproctitle("uwsgirouter: stats")
            os.nice(5)
            process.follow_parent(signal.SIGKILL)
            if os.getppid() == self._master:
                self._serve(self._endpoints, self.naming, lambda data: _write(writer, data))
        except BaseException as error:  # noqa: BLE001 - a child must never return into the master's code
            with contextlib.suppress(BaseException):
                Log("uwsgirouter stats").say(f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)


def closed(tell: Tell, naming: Naming) -> None:
    """The child accepts no more."""
    tell(encode_naming(naming) + _CLOSED)


def encode_naming(naming: Naming) -> bytes:
    """One line of JSON; keys are bytes, which latin-1 can write down."""
    keys = [key.decode("latin-1") for key in naming.keys]
    return json.dumps({"keys": keys, "correction": naming.correction, "full": naming.is_full}).encode() + b"\n"


def decode_naming(line: bytes) -> Naming:
    """The same back. Raises ValueError, TypeError or KeyError for what is none."""
    found = json.loads(line)
    keys = tuple(str(key).encode("latin-1") for key in found["keys"])
    correction = tuple(int(cell) for cell in found["correction"])
    if len(keys) > KEY_ROWS or len(correction) not in (0, ROW_CELLS) or any(len(key) > 255 for key in keys):
        raise ValueError("no naming")
    return Naming(keys, correction, bool(found["full"]))


def _has_ended(pipe: int) -> bool:
    """Whether whoever told something through it is no more: its pid may be another's then."""
    try:
        while os.read(pipe, 1 << 16):
            pass
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _let_go_of_all_but(own: Sequence[int] | set[int]) -> None:
    """Whoever reads slowly must not keep a socket open, or a worker's channel."""
    for text in os.listdir("/proc/self/fd"):
        if int(text) > 2 and int(text) not in own:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(text))

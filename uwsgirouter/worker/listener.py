"""A listening socket of one worker: accept what waits, a burst at a time.

One idea: the descriptor belongs to the master, which keeps it open over reloads; a worker only stops looking at it, so
a connection in the backlog is never lost, it is served by somebody else. It knows how to make a session, nothing of
what the session does. Out of descriptors: say so, leave the backlog alone for a moment, try again.
"""

from __future__ import annotations

import errno
import os
import time
from socket import socket as Socket
from typing import TYPE_CHECKING, Any

from uwsgirouter.log import Throttle
from uwsgirouter.model.counters import Counter
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.arrival import Arrival
from uwsgirouter.worker.pacing import unpaced
from uwsgirouter.worker.streams import accept

if TYPE_CHECKING:
    from uwsgirouter.worker.router import Router

PAUSE = 0.1
"""Seconds without accepting after the kernel refused a descriptor or memory."""

_CAPACITY = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Listener:
    """Accepts on ``sock`` for ``router``; at most ``burst`` connections a pass of the loop."""

    def __init__(self, router: Router, sock: Socket, burst: int, say: Throttle) -> None:
        self._router = router
        self._sock = sock
        unpaced(sock, sock.getsockname())  # what it accepts inherits that
        self._family = int(sock.family)
        self._most = burst
        self._burst = 1
        self._say = say
        self._watcher: Any = router.loop.io(sock.fileno(), 1)
        self._resume = router.loop.timer(PAUSE, PAUSE)

    def start(self) -> None:
        """Accept from now on."""
        self._watcher.start(self._on_ready)

    def pause(self) -> None:
        """Leave connections in the backlog (cheap mode)."""
        self._watcher.stop()
        self._resume.stop()

    def rest(self) -> None:
        """Leave connections in the backlog for a moment."""
        self._watcher.stop()
        self._resume.again(self._try_again)

    def close(self) -> None:
        """Accept no more; the master's descriptor stays open."""
        self.pause()
        self._sock.close()

    def finish(self) -> None:
        """Accept all that waits now, then close: the last service of a router that stops."""
        for _ in range(1 << 16):
            if not self._accept_one():
                break
        self.close()

    def _on_ready(self) -> None:
        # The number of tries follows what was found: a try too many costs a system call per request, one too few
        # a pass of the loop.
        for tries in range(self._burst):  # noqa: B007 (named for common.pxd)
            if not self._accept_one():
                self._burst = 1
                return
        if self._burst < self._most:
            self._burst += 1

    def _accept_one(self) -> bool:
        try:
            client = accept(self._sock, self._family)
        except OSError as error:
            self._refused(error)
            return False
        if client is None:
            return False
        router = self._router
        session = Arrival.__new__(Arrival)
        session.begin(router, client)
        router.sessions.add(session)
        try:
            session.start()
        except Exception:
            session.abandon(Cause.INTERNAL)
            raise
        return True

    def _refused(self, error: OSError) -> None:
        """accept(2) hands over errors of the new connection too: those are its own affair, the next may be well."""
        self._router.cells[Counter.ACCEPT_ERRORS] += 1
        if error.errno in _CAPACITY:
            self.rest()
        self._say(f"accept() failed: {os.strerror(error.errno or 0)}", time.monotonic())

    def _try_again(self) -> None:
        self._resume.stop()
        self.start()

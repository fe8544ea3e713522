"""The control socket: where operators speak to the master.

One idea: who speaks is asked of the kernel, and nobody who may speak can harm the master either: there is a bounded
number of connections, each with one request and one piece of an answer in memory, a step of each is about a
millisecond's work, and whoever is idle, slow or talks nonsense is shown out. It owns the connections and their places
in the master's loop; what is said is :mod:`~uwsgirouter.master.conversation`'s, what it means
:mod:`~uwsgirouter.master.commands`'. Invariant: no call blocks, and no exception of a request leaves this module.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from uwsgirouter.log import Log, Throttle
from uwsgirouter.master.conversation import Conversation, Lines
from uwsgirouter.master.sockets import Bound
from uwsgirouter.protocol.control import Trouble, complaint

CONNECTIONS_MOST = 16
ACCEPTS_MOST = 8
"""Connections taken in one pass of the loop."""
READ_SIZE = 4096
REST_SECONDS = 1.0
"""How long nobody is accepted when the process is out of descriptors."""

_UCRED = struct.Struct("3i")


class Peer(NamedTuple):
    """Who is at the other end, by the kernel's word."""

    pid: int
    uid: int
    gid: int


Answer = Callable[[bytes, Peer], Lines]


class ControlSocket:
    """Serves one listening socket at a time; ``answer`` gives the lines for the line of a request."""

    def __init__(self, selector: selectors.BaseSelector, log: Log, answer: Answer) -> None:
        self._selector = selector
        self._log = log
        self._answer = answer
        self._say = Throttle(log.say, 1)
        self._say_refused = Throttle(log.say, 1)
        self._bound: Bound | None = None
        self._rests_until: float | None = None
        self._connections: set[_Connection] = set()

    def watch(self, bound: Bound | None) -> None:
        """Accept at ``bound`` from now on, and nowhere else; who is connected stays so."""
        if bound is self._bound:
            return
        self._unwatch()
        self._bound = bound
        if bound is not None:
            self._selector.register(bound.sock, selectors.EVENT_READ, self._accept)
            self._log.line(f"uwsgirouter control socket bound to {bound.name}")

    def pass_on(self, now: float) -> None:
        """Called in each pass of the loop: those who follow get what is new."""
        for connection in list(self._connections):
            if connection.talk.follows and connection.talk.look(now):
                self._step(connection)

    def tick(self, now: float) -> None:
        """Once a second: show out whose time is over."""
        for connection in list(self._connections):
            talk = connection.talk
            if now >= talk.deadline:
                self._say(f"control socket: {connection.who} {talk.phase.value} in time: disconnected", now)
                self._close(connection)
        if self._rests_until is not None and now >= self._rests_until and self._bound is not None:
            self._rests_until = None
            self._selector.register(self._bound.sock, selectors.EVENT_READ, self._accept)
        self._say.flush(now)
        self._say_refused.flush(now)

    @property
    def is_answering(self) -> bool:
        """Whether somebody is in the middle of an answer."""
        return any(not connection.talk.wants_input for connection in self._connections)

    def close(self) -> None:
        """The master leaves: everybody is disconnected."""
        self._unwatch()
        self._bound = None
        for connection in list(self._connections):
            self._close(connection)

    def let_go(self) -> None:
        """In a child of the master: the connections are not its own."""
        for connection in self._connections:
            connection.sock.close()

    def _unwatch(self) -> None:
        if self._bound is not None and self._rests_until is None:
            self._selector.unregister(self._bound.sock)
        self._rests_until = None

    # -- connections ------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        now = time.monotonic()
        for _ in range(ACCEPTS_MOST):
            if self._bound is None or self._bound.sock.fileno() < 0:
                return
            try:
                sock, _address = self._bound.sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors: it would be ready again at once, for ever.
                self._say(f"control socket: cannot accept: {error.strerror}", now)
                self._selector.unregister(self._bound.sock)
                self._rests_until = now + REST_SECONDS
                return
            self._welcome(sock, now)

    def _welcome(self, sock: socket.socket, now: float) -> None:
        sock.setblocking(False)
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        connection = _Connection(sock, Peer(*_UCRED.unpack(credentials)), self._answer, now)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._step(connection))
        own = os.geteuid()
        if connection.peer.uid not in (0, own):
            self._say_refused(f"control socket: refused {connection.who}", now)
            text = f"uid {connection.peer.uid} may not give orders here, only root and uid {own} (the router's) may"
            connection.refuse(Trouble.DENIED, text, now)
            self._step(connection)
        elif len(self._connections) > CONNECTIONS_MOST:
            self._say(f"control socket: {CONNECTIONS_MOST} connections are open, refused {connection.who}", now)
            connection.refuse(Trouble.BUSY, f"{CONNECTIONS_MOST} connections are open already", now)
            self._step(connection)

    def _step(self, connection: _Connection) -> None:
        """Something can be read from or written to a connection: do a little of it."""
        if connection.sock.fileno() < 0:
            return
        try:
            open_still = connection.step(time.monotonic())
        except OSError:
            open_still = False
        except Exception:  # noqa: BLE001 - a request must not be the end of the router
            self._log.block(traceback.format_exc())
            open_still = False
        if not open_still:
            self._close(connection)
            return
        events = selectors.EVENT_READ if connection.talk.wants_input else selectors.EVENT_WRITE
        key = self._selector.get_key(connection.sock)
        if key.events != events:
            self._selector.modify(connection.sock, events, key.data)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection.sock)
        connection.sock.close()
        connection.talk.drop()


class _Connection:
    """One peer's connection."""

    def __init__(self, sock: socket.socket, peer: Peer, answer: Answer, now: float) -> None:
        self.sock = sock
        self.peer = peer
        self.trouble = Trouble.REQUEST
        self.talk = Conversation(
            lambda line: answer(line, peer), lambda reason: iter((complaint(self.trouble, reason),)), now
        )

    @property
    def who(self) -> str:
        """For log lines."""
        return f"uid {self.peer.uid} (pid {self.peer.pid})"

    def refuse(self, trouble: Trouble, reason: str, now: float) -> None:
        """Say no, and nothing else."""
        self.trouble = trouble
        self.talk.end(reason, now)

    def step(self, now: float) -> bool:
        """Read a little, or write a piece; whether the connection goes on. Raises OSError when the peer is gone."""
        talk = self.talk
        if talk.wants_input:
            try:
                talk.feed(self.sock.recv(READ_SIZE), now)
            except BlockingIOError:
                return True
        if not talk.wants_input:
            data = talk.compose()
            try:
                talk.sent(self.sock.send(data, socket.MSG_NOSIGNAL) if data else 0, now)
            except BlockingIOError:
                return True
        return not talk.over

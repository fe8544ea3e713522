"""Serving: a short-lived process shows a picture to everybody who comes within a second, and ends.

One idea: who shows things is nobody that anything waits for: not the master, not a worker. So a peer that reads slowly
or talks nonsense costs a place here for some seconds and nothing else. What is shown is made when somebody wants it,
and again when ten times the seconds that took are over. It must not know what it shows: ``make`` gives the pieces.
Invariants: no more than :data:`PEERS_MOST` are served at once; everybody is shown out at a deadline.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from uwsgirouter.stats.request import HEAD_MOST, Request, answer, parse

WINDOW = 1.0
"""Seconds for which connections are accepted."""
PEERS_MOST = 64
ASK_SECONDS = 3.0
"""Seconds that a peer has to say what it wants."""
READ_SECONDS = 20.0
"""Seconds that it has to read it."""
LINGER_SECONDS = 2.0
"""Seconds that it has to close when it was sent everything."""
FRESH = 10
"""A text is made anew when so many times the seconds that making it took are over."""
_READ_SIZE = 65536

Pieces = Sequence[bytes]
Make = Callable[[str], tuple[str, Pieces]]
"""From what a client accepts to the type and the pieces of what it gets."""


class Phase(Enum):
    """What a peer is about."""

    ASKING = "asking"
    READING = "reading"
    LEAVING = "leaving"


class Shown:
    """What ``make`` made, as long as it is fresh."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._made: dict[str, tuple[float, str, Pieces]] = {}

    def get(self, accept: str) -> tuple[str, Pieces]:
        """The type and the pieces."""
        began = time.monotonic()
        until, kind, pieces = self._made.get(accept, (0.0, "", ()))
        if began < until:
            return kind, pieces
        kind, pieces = self._make(accept)
        now = time.monotonic()
        if len(self._made) >= PEERS_MOST:
            self._made.clear()
        self._made[accept] = (now + FRESH * (now - began), kind, pieces)
        return kind, pieces


class Peer:
    """One connection."""

    def __init__(self, sock: socket.socket, shown: Shown, asks: bool, now: float) -> None:
        self.sock = sock
        self.phase = Phase.ASKING
        self.deadline = now + ASK_SECONDS
        self._shown = shown
        self._asked = b""
        self._pieces: list[bytes] = []
        self._next = 0
        self._at = 0
        if not asks:
            self._tell(list(shown.get("")[1]), now)

    @property
    def events(self) -> int:
        """What it waits for."""
        return selectors.EVENT_WRITE if self.phase is Phase.READING else selectors.EVENT_READ

    def step(self, now: float) -> bool:
        """Go on; whether it stays. Raises OSError when the peer is gone."""
        if self.phase is Phase.READING:
            self._write(now)
            return True
        data = self.sock.recv(_READ_SIZE)
        if not data:
            return False
        if self.phase is Phase.ASKING:
            self._asked += data
            request = parse(self._asked[: HEAD_MOST + 1])
            if request is not None:
                self._answer(request, now)
        return True

    def _answer(self, request: Request, now: float) -> None:
        if request.status != 200:
            self._tell([answer(request)], now)
            return
        kind, pieces = self._shown.get(request.accept)
        body = b"".join(pieces)
        self._tell([answer(request, kind, body)], now)

    def _tell(self, pieces: list[bytes], now: float) -> None:
        self._pieces = pieces
        self.phase = Phase.READING
        self.deadline = now + READ_SECONDS

    def _write(self, now: float) -> None:
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            self._at += self.sock.send(memoryview(piece)[self._at :], socket.MSG_NOSIGNAL)
            if self._at < len(piece):
                return
            self._next, self._at = self._next + 1, 0
        # Closing with something unread would reset the connection, and take away what is on its way.
        self.sock.shutdown(socket.SHUT_WR)
        self.phase = Phase.LEAVING
        self.deadline = now + LINGER_SECONDS


class Serving:
    """``listeners``: each socket with what it shows, and whether a client has to ask for it."""

    def __init__(self, listeners: Mapping[socket.socket, tuple[Make, bool]]) -> None:
        made: dict[Make, Shown] = {}
        self._listeners = {sock: (made.setdefault(make, Shown(make)), asks) for sock, (make, asks) in listeners.items()}
        self._selector = selectors.DefaultSelector()
        self._peers: set[Peer] = set()
        self._is_open = False

    def run(self, closed: Callable[[], None], window: float = WINDOW) -> None:
        """Accept for so many seconds, tell ``closed`` that it is over, and serve who is there."""
        end = time.monotonic() + window
        self._open()
        while (now := time.monotonic()) < end:
            self._turn(now, end)
        self._close()
        for sock in self._listeners:
            sock.close()
        closed()
        while self._peers:
            now = time.monotonic()
            self._turn(now, now + 1.0)

    def _turn(self, now: float, until: float) -> None:
        moments = [peer.deadline for peer in self._peers]
        for key, _ in self._selector.select(max(0.0, min([until, *moments]) - now)):
            if isinstance(key.data, Peer):
                self._step(key.data)
            else:
                self._accept(*key.data)
        now = time.monotonic()
        for peer in [peer for peer in self._peers if now >= peer.deadline]:
            self._drop(peer)

    def _accept(self, listener: socket.socket, shown: Shown, asks: bool) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            self._close()  # there is no room for it: the next second is another process's
            return
        sock.setblocking(False)
        peer = Peer(sock, shown, asks, time.monotonic())
        self._peers.add(peer)
        self._selector.register(sock, peer.events, peer)
        if len(self._peers) >= PEERS_MOST:
            self._close()

    def _step(self, peer: Peer) -> None:
        before = peer.events
        try:
            stays = peer.step(time.monotonic())
        except BlockingIOError:
            return
        except OSError:
            stays = False
        if not stays:
            self._drop(peer)
        elif peer.events != before:
            self._selector.modify(peer.sock, peer.events, peer)

    def _drop(self, peer: Peer) -> None:
        self._peers.discard(peer)
        with contextlib.suppress(OSError):
            self._selector.unregister(peer.sock)
            peer.sock.close()

    def _open(self) -> None:
        for sock, (shown, asks) in self._listeners.items():
            self._selector.register(sock, selectors.EVENT_READ, (sock, shown, asks))
        self._is_open = True

    def _close(self) -> None:
        if self._is_open:
            for sock in self._listeners:
                self._selector.unregister(sock)
        self._is_open = False

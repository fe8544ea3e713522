"""The worker's end of the way to the logger: lines go out when the kernel takes them, and never hold up a request.

One idea: what the logger (master/logger.py) does not take now waits here, up to HELD_MOST bytes; beyond that lines are
dropped and counted, so that a disk that hangs costs lines and nothing else. It knows lines only as bytes with an end.
Invariants: nothing here waits, except :meth:`close` for CLOSE_TIME; each line is sent as a whole, held, or counted.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable

# By name, and now: a worker with a Python mapper is patched by gevent, and a patched poll would yield.
from select import POLLOUT, poll
from typing import Any

from uwsgirouter.model.counters import Counter

DELAY = 0.25
"""Seconds that a line waits for others at most."""
HELD_MOST = 1 << 20
"""Bytes that wait for a logger that does not take them."""
CLOSE_TIME = 1.0
"""Seconds that a worker which leaves waits for the logger."""
SAY_EACH = 5.0
"""Seconds between two lines about what was dropped."""

_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


class LogPipe:
    """``sock`` keeps message boundaries and is written to by several processes. ``flush`` is set by who fills it."""

    def __init__(self, loop: Any, sock: socket.socket, cells: memoryview, say: Callable[[str], None]) -> None:
        self.flush: Callable[[], None] = lambda: None
        """Has the lines that are not given away yet come to :meth:`take`."""
        self.dropped = 0
        """Lines."""
        self._sock = sock
        self._cells = cells
        self._say = say
        self._timer = loop.timer(DELAY, DELAY)
        self._held: deque[bytes] = deque()
        self._size = 0
        self._told = 0
        self._tell_at = 0.0

    def begun(self) -> None:
        """There are lines: see to it that they go out soon."""
        self._timer.again(self._on_timer)

    def take(self, lines: memoryview) -> None:
        """Whole lines, in memory that is used again: send or copy them."""
        if self._held:
            self._drain()
        if self._held or not self._sends(lines):
            self._hold(bytes(lines))

    def _on_timer(self) -> None:
        self._timer.stop()
        self.flush()
        self._drain()
        self._tell(time.monotonic())
        if self._held or self._told < self.dropped:
            self.begun()

    def _sends(self, lines: bytes | memoryview) -> bool:
        """Whether they are gone. When nobody will ever read them, they count as dropped."""
        try:
            self._sock.send(lines, _FLAGS)
        except BlockingIOError:
            return False
        except OSError:
            self._drop(bytes(lines))
        return True

    def _drain(self) -> None:
        while self._held and self._sends(self._held[0]):
            self._size -= len(self._held.popleft())

    def _hold(self, lines: bytes) -> None:
        if self._size + len(lines) > HELD_MOST:
            self._drop(lines)
            return
        self._held.append(lines)
        self._size += len(lines)

    def _drop(self, lines: bytes) -> None:
        count = lines.count(b"\n")
        self.dropped += count
        self._cells[Counter.LOG_DROPPED] += count

    def _tell(self, now: float) -> None:
        if self._told < self.dropped and now >= self._tell_at:
            self._say(f"the access log lost {self.dropped - self._told} lines: the logger does not take them")
            self._told, self._tell_at = self.dropped, now + SAY_EACH

    def close(self) -> None:
        """The worker leaves: what is here goes out, unless the logger takes too long."""
        self._timer.stop()
        self.flush()
        deadline = time.monotonic() + CLOSE_TIME
        ask = poll()
        ask.register(self._sock, POLLOUT)
        self._drain()
        while self._held and (left := deadline - time.monotonic()) > 0:
            ask.poll(left * 1000)
            self._drain()
        for lines in self._held:
            self._drop(lines)
        self._held.clear()
        self._tell_at = 0.0
        self._tell(time.monotonic())
        self._sock.close()

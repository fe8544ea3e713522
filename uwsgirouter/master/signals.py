"""Signals as calls, at the loop's own time.

One idea: a handler only notes the number; the loop is woken by a byte and calls what belongs to it when nothing else is
going on. So no code of the master can be interrupted half way by an order.
"""

from __future__ import annotations

import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping
from types import FrameType


class Signals:
    """Calls ``orders[number]`` for each signal that came, when :meth:`obey` is called."""

    def __init__(self, orders: Mapping[int, Callable[[], None]]) -> None:
        self._orders = orders
        self._noted: deque[int] = deque()
        self._wake, self._waker = socket.socketpair()

    def listen(self, selector: selectors.BaseSelector) -> None:
        """Take the process's signals from now on; ``selector`` wakes at each of them (and at a child's death)."""
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        selector.register(self._wake, selectors.EVENT_READ, self._drain)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (*self._orders, signal.SIGCHLD):
            signal.signal(number, self._note)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    @property
    def numbers(self) -> set[int]:
        """The signals that are orders."""
        return set(self._orders)

    def obey(self) -> None:
        """Call what the noted signals ask for, in their order."""
        while self._noted:
            order = self._orders.get(self._noted.popleft())
            if order is not None:
                order()

    def close(self) -> None:
        """For a child: the master's signals are not its own."""
        self._wake.close()
        self._waker.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(number)

    def _drain(self) -> None:
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            pass

"""The queue of a datagram socket: where words wait until they are read, and where they are lost when it is full.

One idea: the kernel knows what was lost, and whoever judges nodes by their silence must ask. Over UDP a full queue
drops and counts (SO_MEMINFO has the count). A unix socket refuses the sender, who goes on without having been heard,
and nothing is counted: so a queue that was read as full may have refused somebody. It reads nothing itself.
Invariant: no call blocks or raises.
"""

from __future__ import annotations

import contextlib
import socket
from struct import Struct

SIZE = 4 << 20
"""Bytes asked of the kernel for datagrams that wait over UDP: some ten thousand."""
DATAGRAM_SIZE = 640
"""Bytes of these that an announcement takes: of 200 bytes, 1,280 with its overhead; and the kernel doubles ours."""
FLOOD = 100_000.0
"""Datagrams a second that must fit while nobody reads."""
UNIX_LENGTH = 10
"""Datagrams that wait at a unix socket unless the kernel says otherwise."""

_FORCE = 33
"""SO_RCVBUFFORCE: more than net.core.rmem_max, for those who may."""
_MEMINFO = 55
"""SO_MEMINFO: nine numbers, of which the last one is the count of dropped datagrams (Linux 4.12)."""
_NUMBERS = Struct("9I")
_COUNT = 1 << 32


class ReceiveQueue:
    """The queue of ``sock``, which is made as long as the kernel allows."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._is_unix = sock.family == socket.AF_UNIX
        self.length = _unix_length() if self._is_unix else 0
        """Datagrams that fit into it; 0 when that depends on their sizes."""
        self._refused = 0
        if not self._is_unix:
            _enlarge(sock)
        self.patience = (self.length or self.size // DATAGRAM_SIZE) / FLOOD
        """Seconds that it need not be read: so long that even a flood fits."""
        self._dropped = self._count()

    @property
    def size(self) -> int:
        """Bytes that the kernel gives, its own overhead not counted."""
        return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    @property
    def is_short(self) -> bool:
        """Whether the kernel gives less than was asked."""
        return not self._is_unix and self.size < SIZE

    def was_read(self, count: int) -> None:
        """So many datagrams were read at once, perhaps until nothing was left."""
        if self.length and count >= self.length:
            self._refused += 1

    def losses(self) -> int:
        """Datagrams lost since the last call: over UDP how many; at a unix socket how often some may have been."""
        count = self._count()
        dropped, self._dropped = (count - self._dropped) % _COUNT, count
        refused, self._refused = self._refused, 0
        return dropped + refused

    def _count(self) -> int:
        """The kernel's count, which goes round; 0 where it has none."""
        if self._is_unix:
            return 0
        try:
            numbers = self._sock.getsockopt(socket.SOL_SOCKET, _MEMINFO, _NUMBERS.size)
            return int(_NUMBERS.unpack(numbers)[-1])
        except (OSError, ValueError, ArithmeticError):
            return 0


def _enlarge(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _FORCE, SIZE)
    except OSError:  # needs CAP_NET_ADMIN
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIZE)


def _unix_length() -> int:
    try:
        with open("/proc/sys/net/unix/max_dgram_qlen", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return UNIX_LENGTH

"""Stream sockets as the data path sees them: accepted, dialled, read, written, closed.

One idea: the relay needs a dozen methods of a socket and nothing else; where the package was compiled these are the
system calls themselves (``kernel.pyx``), elsewhere the standard library's socket type has them all. Which one it is
must not matter to anybody. Invariant: a read or a write never waits, whatever the descriptor's own flags say.
"""

from __future__ import annotations

import socket
from struct import pack
from typing import TYPE_CHECKING

__all__ = ["Stream", "accept", "dial", "no_delay", "send_with"]

_STREAM = int(socket.SOCK_STREAM)
_NEW = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

if TYPE_CHECKING:
    from _socket import socket as Stream
else:
    try:
        from uwsgirouter.worker.kernel import Stream
    except ImportError:
        from _socket import socket as Stream


def _accept(listener: socket.socket, family: int) -> Stream | None:
    try:
        fd, _ = listener._accept()  # type: ignore[attr-defined]  # without the socket object and its name look-up
    except BlockingIOError:
        return None
    return Stream(family, _STREAM, 0, fd)


def _dial(family: int) -> Stream:
    return Stream(family, _NEW)


def _send_with(stream: Stream, data: bytes, descriptor: int, flags: int) -> int:
    return stream.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, pack("i", descriptor))], flags)


if TYPE_CHECKING or Stream.__module__ != "uwsgirouter.worker.kernel":
    accept = _accept
    """The next connection of a non-blocking listener of that family, None when none waits. Raises OSError."""
    dial = _dial
    """A new stream that is not connected. Raises OSError."""
    send_with = _send_with
    """Send on a unix stream, a descriptor along with the first byte; the bytes taken. Raises OSError."""
else:
    from uwsgirouter.worker.kernel import accept, dial, send_with


def no_delay(stream: Stream) -> None:
    """Have small pieces sent at once (a unix socket always does)."""
    try:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        pass

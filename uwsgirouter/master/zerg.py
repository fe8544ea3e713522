"""Listening sockets from a zerg server: uWSGI's way to share one socket among instances that come and go.

One idea: whoever connects to the server's unix socket is sent a message with the listening sockets as descriptors
(SCM_RIGHTS), and that is all. They are the server's: they are accepted on, never bound, resized or unlinked. The master
waits for the answer when it loads a configuration, for a bounded time.
"""

from __future__ import annotations

import os
import socket
from struct import Struct

GREETING = b"uwsgi-zerg"
"""What the message begins with; the number of sockets follows as the machine's int."""
SECONDS = 3.0
"""How long the server may take."""
SOCKETS_MOST = 253
"""SCM_MAX_FD: what one message can carry."""

_COUNT = Struct("=i")


def attach(path: str) -> list[socket.socket]:
    """The listening sockets that the zerg server at ``path`` gives. Waits :data:`SECONDS` at most; raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect(path)
            message, rights, flags, _ = connection.recvmsg(
                len(GREETING) + _COUNT.size, socket.CMSG_SPACE(4 * SOCKETS_MOST), socket.MSG_CMSG_CLOEXEC
            )
        except TimeoutError:
            raise OSError(f"no answer in {SECONDS:g} seconds") from None
    found = _sockets(rights)
    try:
        _check(message, found, bool(flags & socket.MSG_CTRUNC))
    except OSError:
        for sock in found:
            sock.close()
        raise
    return found


def _sockets(rights: list[tuple[int, int, bytes]]) -> list[socket.socket]:
    """The sockets among what was sent; a descriptor of another sort is closed at once."""
    found = []
    for level, kind, data in rights:
        if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            continue
        for descriptor in memoryview(data[: len(data) - len(data) % 4]).cast("i"):
            try:
                found.append(socket.socket(fileno=descriptor))
            except OSError:
                os.close(descriptor)
    return found


def _check(message: bytes, found: list[socket.socket], truncated: bool) -> None:
    if not message:
        raise OSError("it closed the connection without an answer")
    if not message.startswith(GREETING):
        raise OSError(f"it is no zerg server: it sent {message[:16]!r}")
    if truncated or not found:
        raise OSError("it sent no sockets" if not found else f"it sent more than {SOCKETS_MOST} sockets")
    for sock in found:
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.type != socket.SOCK_STREAM or not listens:
            raise OSError("it sent a socket that does not listen")

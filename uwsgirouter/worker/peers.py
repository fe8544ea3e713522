"""What the kernel tells of a peer without a byte being read: whether it is there, what it has got.

One idea: each question is asked of one connection, now, and never waits. Nothing here knows what a session does about
the answer. Asked only where something is rare or has gone wrong: each costs system calls.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from _socket import AF_UNIX, IPPROTO_TCP, SOCK_STREAM, TCP_INFO
from _socket import socket as RawSocket

# By name, and now: a worker with a Python mapper is patched by gevent, and patched calls would yield.
from select import POLLERR, POLLHUP, POLLRDHUP, poll

from uwsgirouter.worker.streams import Stream

_DATA_SEGMENTS_OUT = 156
_NOT_SENT = 144
"""Offsets in ``struct tcp_info`` (Linux 4.6)."""


def hung_up(stream: Stream) -> bool:
    """Whether the peer closed its connection, and did not only end its direction."""
    ask = poll()
    ask.register(stream.fileno(), 0)
    return any(events & (POLLHUP | POLLERR) for _, events in ask.poll(0))


def has_ended(stream: Stream) -> bool:
    """Whether the peer has ended its direction, whatever is still unread of it."""
    ask = poll()
    ask.register(stream.fileno(), POLLRDHUP)
    return bool(ask.poll(0))


def was_spoken_to(client: Stream) -> bool | None:
    """Whether anybody has sent the client something; None when the kernel does not tell (a unix socket)."""
    if client.family == AF_UNIX:
        return None
    sock = RawSocket(client.family, SOCK_STREAM, 0, client.fileno())
    try:
        info = sock.getsockopt(IPPROTO_TCP, TCP_INFO, 192)
    except OSError:
        return None
    finally:
        sock.detach()
    if len(info) < _DATA_SEGMENTS_OUT + 4:
        return None
    sent, unsent = (struct.unpack_from("I", info, offset)[0] for offset in (_DATA_SEGMENTS_OUT, _NOT_SENT))
    return bool(sent or unsent)


def unsent(sock: Stream) -> bool:
    """Whether the kernel still holds bytes that the peer has not acknowledged."""
    try:
        count = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return False
    return any(count)

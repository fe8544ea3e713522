"""Connections that stay on this machine are not paced.

One idea: BBR, where it is the system's congestion control, sends each packet when a timer says so, lest it should queue
in a router on the way. Over loopback there is no way, and the timers cost more than moving the bytes: of large bodies
half of a worker's time. So what is bound or connected to a loopback address asks for Reno, which every Linux has, which
everybody may use, and which never waits where nothing is lost. It must be asked for before the connection is made.
Invariant: nothing is changed where the system's choice does not pace, nor for any other address.
"""

from __future__ import annotations

import functools
import socket
from typing import Any

from uwsgirouter.worker.streams import Stream

LARGE = 1 << 18
"""Bytes of a body from which on it is worth asking. (The kernel paces after ten packets, which are 640 KB there.)"""

_RENO = b"reno"
_PACED = b"bbr"


@functools.cache
def paces() -> bool:
    """Whether new TCP sockets of this process are paced."""
    try:
        with socket.socket() as sock:
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(_PACED)
    except (OSError, AttributeError):
        return False


def is_near(address: Any) -> bool:
    """Whether an address, as sockets give it, is one of loopback."""
    return isinstance(address, tuple) and (address[0].startswith("127.") or address[0] == "::1")


def unpaced(sock: Stream | socket.socket, address: Any) -> None:
    """Have ``sock``, which is not connected, send to ``address`` (or what it accepts there) without timers."""
    if paces() and is_near(address):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _RENO)
        except OSError:
            pass  # not allowed here: it works as it is

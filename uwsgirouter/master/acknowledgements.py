"""Sends acknowledgements, and waits for nobody.

One idea: an acknowledgement is a courtesy. A receiver that is not there, or does not read, loses it, and is counted.
Its address comes from a datagram: so what is sent holds nothing but what the node said, is shorter than that, and is
sent for new nodes only, :data:`PER_SECOND` at most: whoever makes nodes come and go has others told no more than that.
Invariant: no call blocks or raises; at most one socket for each family is open.
"""

from __future__ import annotations

import contextlib
import socket
import time

from uwsgirouter.protocol.acknowledgement import encode_acknowledgement
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE

PER_SECOND = 1000
"""Acknowledgements in a second; further ones are lost."""


class Acknowledgements:
    """``sent`` and ``lost`` count them."""

    def __init__(self) -> None:
        self.sent = 0
        self.lost = 0
        self._sockets: dict[int, socket.socket] = {}
        self._second = 0
        self._in_second = 0

    def send(self, announce: Announce) -> None:
        """Tell the node, if it asked for it, that it was taken."""
        if announce.notify == NOWHERE:
            return
        if not self._may_send(int(time.monotonic())):
            self.lost += 1
            return
        try:
            self._socket(announce.notify.family).sendto(encode_acknowledgement(announce), announce.notify.sockaddr)
            self.sent += 1
        except OSError:
            self.lost += 1

    def _may_send(self, second: int) -> bool:
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second <= PER_SECOND

    def _socket(self, family: int) -> socket.socket:
        sock = self._sockets.get(family)
        if sock is None:
            sock = self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        return sock

    def close(self) -> None:
        """Close the sockets; a later :meth:`send` opens them anew."""
        for sock in self._sockets.values():
            with contextlib.suppress(OSError):
                sock.close()
        self._sockets.clear()

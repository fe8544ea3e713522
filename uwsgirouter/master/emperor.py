"""The Emperor: a uWSGI process that starts vassals when it is told to.

One idea: starting a vassal is one datagram to the Emperor's command socket (``emperor-command-socket`` of uWSGI 2.1): a
uwsgi packet with ``cmd`` = ``spawn`` and ``vassal`` = its name. There is no answer; that it worked is seen when the
vassal announces itself. So it is sent again while requests go on asking, but once in a while only. It must not block.
"""

from __future__ import annotations

import socket

from uwsgirouter.log import Log, Throttle, printable
from uwsgirouter.protocol.packet import encode_packet
from uwsgirouter.settings.address import Address

AGAIN = 2.0
"""Seconds between two commands for one vassal."""


class Emperor:
    """Sends commands to ``address``, the one in force (None: nobody can start vassals)."""

    def __init__(self, log: Log) -> None:
        self.address: Address | None = None
        self._say = Throttle(log.say, 5)
        self._asked: dict[bytes, float] = {}

    def spawn(self, vassal: bytes, key: bytes, now: float) -> bool:
        """Have ``vassal`` started, because ``key`` is asked for; whether a command was sent. Does not block."""
        if now - self._asked.get(vassal, float("-inf")) < AGAIN:
            return False
        self._asked[vassal] = now
        what = f"vassal {printable(vassal)} for {printable(key)}"
        address = self.address
        if address is None:
            self._say(f"cannot have {what} started: no fastrouter-emperor-socket is configured", now)
            return False
        try:
            _send(address, encode_packet([(b"cmd", b"spawn"), (b"vassal", vassal)], 0, 0))
        except OSError as error:
            reason = error.strerror or str(error)
            self._say(f"cannot have {what} started: the Emperor at {address.text}: {reason}", now)
            return False
        self._say(f"asked the Emperor at {address.text} to start {what}", now)
        return True

    def started(self, vassal: bytes) -> None:
        """``vassal`` runs: when it stops, it may be started again at once."""
        self._asked.pop(vassal, None)

    def tick(self, now: float) -> None:
        """Once a second: forget what was asked long ago."""
        self._say.flush(now)
        self._asked = {vassal: moment for vassal, moment in self._asked.items() if now - moment < AGAIN}


def _send(address: Address, command: bytes) -> None:
    """One datagram. A socket for each: the Emperor may have come back elsewhere, and commands are rare."""
    with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(address.sockaddr)
        sock.send(command)

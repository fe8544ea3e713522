"""Reading announcements that come again and again: the same bytes mean the same announcement.

One idea: a node sends the very same datagram every few seconds, so what it means is looked up and not worked out again.
Since a datagram means the same whoever sends it and whenever, nothing that is remembered can be wrong; whether it may
be acted upon is asked each time, elsewhere. Two tables: what was not heard of since the tables were turned twice is
forgotten, so no order need be kept. Pure; what is refused is not remembered.
Invariant: :meth:`Reader.read` gives and raises what :func:`decode_announce` does; at most twice :data:`MOST`
datagrams, each of at most :data:`SIZE_MOST` bytes, are remembered.
"""

from __future__ import annotations

from uwsgirouter.protocol.subscription import Announce, decode_announce

MOST = 65536
"""As many as there can be nodes."""
SIZE_MOST = 512
"""Bytes; uWSGI's announcements have some 150."""


class Reader:
    """Remembers what it has read."""

    def __init__(self) -> None:
        self._known: dict[bytes, Announce] = {}
        self._earlier: dict[bytes, Announce] = {}

    def __len__(self) -> int:
        return len(self._known.keys() | self._earlier.keys())

    def recall(self, datagram: bytes) -> Announce | None:
        """What ``datagram`` says, if it was read lately."""
        return self._known.get(datagram)

    def read(self, datagram: bytes) -> Announce:
        """What ``datagram`` says. Raises :class:`~uwsgirouter.errors.ProtocolError`."""
        announce = self._known.get(datagram)
        if announce is None:
            announce = self._earlier.pop(datagram, None) or decode_announce(datagram)
            # A date is signed: the next announcement has another one.
            if not announce.unix and len(datagram) <= SIZE_MOST:
                self._remember(datagram, announce)
        return announce

    def _remember(self, datagram: bytes, announce: Announce) -> None:
        if len(self._known) >= MOST:
            self.turn()
        self._known[datagram] = announce

    def turn(self) -> None:
        """To be called now and then: what was not heard of since the last call is forgotten."""
        self._earlier, self._known = self._known, {}

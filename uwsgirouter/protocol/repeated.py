"""Reading announcements that come again and again: the same bytes mean the same announcement.

One idea: a node sends the very same datagram every few seconds, so what it means is looked up and not worked out again.
Since a datagram means the same whoever sends it and whenever, nothing that is remembered can be wrong; whether it may
be acted upon is asked each time, elsewhere. What is remembered is small, for there are tens of thousands: a digest of
the datagram, key and address, and once for all nodes that say the same what they say. Two tables: what was not heard of
since the tables were turned twice is forgotten, so no order need be kept. Pure; what is refused is not remembered.
Invariant: :meth:`Reader.read` gives and raises what :func:`decode_announce` does; at most twice :data:`MOST` datagrams,
each of at most :data:`SIZE_MOST` bytes, are remembered.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from uwsgirouter.protocol.subscription import Announce, decode_announce
from uwsgirouter.settings.address import Address

MOST = 65536
"""As many as there can be nodes."""
SIZE_MOST = 512
"""Bytes; uWSGI's announcements have some 150."""
DIGEST_SIZE = 15
"""Bytes; with one more, Python would take sixteen more for each."""
SAYINGS_MOST = 1024
"""Different things that are said of nodes, and shared; beyond that they are collected anew."""

Said = tuple[Any, ...]
"""What an announcement says besides key and address."""
Known = tuple[bytes, Address, Said]


def digest_of(datagram: bytes) -> bytes:
    """What stands for ``datagram`` in memory; empty for one that is too long to be remembered."""
    return blake2b(datagram, digest_size=DIGEST_SIZE).digest() if len(datagram) <= SIZE_MOST else b""


class Reader:
    """Remembers what it has read."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._earlier: dict[bytes, Known] = {}
        self._sayings: dict[Said, Said] = {}

    def __len__(self) -> int:
        return len(self._known.keys() | self._earlier.keys())

    def recall(self, digest: bytes) -> Announce | None:
        """What the datagram of this digest says, if it was read lately."""
        known = self._known.get(digest)
        return None if known is None else _announce(known)

    def read(self, datagram: bytes) -> Announce:
        """What ``datagram`` says. Raises :class:`~uwsgirouter.errors.ProtocolError`."""
        digest = digest_of(datagram)
        if not digest:
            return decode_announce(datagram)
        known = self._known.get(digest) or self._remember(digest, self._earlier.pop(digest, None))
        if known is not None:
            return _announce(known)
        announce = decode_announce(datagram)
        if not announce.unix:  # a date is signed: the next announcement has another one
            self._remember(digest, (announce.key, announce.address, self._shared(announce[2:])))
        return announce

    def _remember(self, digest: bytes, known: Known | None) -> Known | None:
        if known is not None:
            if len(self._known) >= MOST:
                self.turn()
            self._known[digest] = known
        return known

    def _shared(self, said: Said) -> Said:
        if len(self._sayings) >= SAYINGS_MOST:
            self._sayings.clear()
        return self._sayings.setdefault(said, said)

    def forget(self, digest: bytes) -> None:
        """What the datagram of this digest says is remembered by somebody else."""
        self._known.pop(digest, None)

    def turn(self) -> None:
        """To be called now and then: what was not heard of since the last call is forgotten."""
        self._earlier, self._known = self._known, {}


def _announce(known: Known) -> Announce:
    key, address, said = known
    return Announce(key, address, *said)

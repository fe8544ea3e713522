"""Where a key's cell is, in memory that all workers share: a set of a few cells, and who of them may change it now.

One idea: a key becomes two numbers by a keyed hash; one of them names the set of cells in which it may be, the other
is its tag there. So nothing that clients send can make the memory grow, nor crowd a set that somebody chose, and a
look at a set is a look at sixteen numbers. Changes of one set are kept apart by a lock that is given from outside;
whether it was had in time is the caller's to heed. No I/O here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple, Protocol

WAYS = 16
"""Cells of one set."""
STRIPES = 64
"""Locks: sets share them evenly."""

_HALVES = Struct("<QQ")


class Stripes(Protocol):
    """Locks between processes, by number."""

    def enter(self, stripe: int) -> bool:
        """Take one; False when it could not be had within a moment: its holder is stopped."""

    def leave(self, stripe: int) -> None:
        """Let go of it."""


class Spot(NamedTuple):
    """Where a key belongs: in the set that ``number`` names, under ``tag`` (never 0)."""

    number: int
    tag: int


class Spots:
    """Finds the spots of keys. ``secret`` is what no client may know."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._begun: dict[bytes, Callable[[], hashlib.blake2b]] = {}

    def __call__(self, identity: bytes, key: bytes) -> Spot:
        """Where ``key`` of the limit ``identity`` belongs; the same key of another limit has another spot."""
        begin = self._begun.get(identity)
        if begin is None:
            # The limits of a configuration are few; their texts are not a client's to choose.
            begun = hashlib.blake2b(b"%d %b" % (len(identity), identity), digest_size=_HALVES.size, key=self._secret)
            begin = self._begun[identity] = begun.copy
        hashing = begin()
        hashing.update(key)
        number, tag = _HALVES.unpack(hashing.digest())
        return Spot(number, tag or 1)

"""What a cache on another server was last known to have, for the time that nobody answers there.

One idea: what was seen last is remembered for a bounded time in bounded memory, those seen longest ago go first. It
knows no server; ``now`` is passed in (seconds since 1970). Invariants: the bytes of all that is kept are ``most`` at
most; an item whose own life is over is not found.
"""

from __future__ import annotations

_BESIDE = 200
"""Bytes that an item takes beside its key and value, about."""

Seen = tuple[bytes, float]
"""A value, and the end of its life (seconds since 1970, 0: none)."""


class LastKnown:
    """``seconds``: for how long; 0 keeps nothing."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._bytes = 0
        self._items: dict[bytes, tuple[float, Seen]] = {}
        """In the order in which they were seen."""

    def see(self, key: bytes, seen: Seen | None, now: float) -> None:
        """The item is this, or not there."""
        self.drop(key)
        if seen is None or not self._seconds:
            return
        self._items[key] = (now, seen)
        self._bytes += len(key) + len(seen[0]) + _BESIDE
        while self._bytes > self._most:
            self.drop(next(iter(self._items)))

    def drop(self, key: bytes) -> None:
        """It is not known any more."""
        found = self._items.pop(key, None)
        if found is not None:
            self._bytes -= len(key) + len(found[1][0]) + _BESIDE

    def clear(self) -> None:
        """Nothing is."""
        self._items.clear()
        self._bytes = 0

    def get(self, key: bytes, now: float) -> Seen | None:
        """What it was when it was last seen, if that is not too long ago."""
        found = self._items.get(key)
        if found is None:
            return None
        moment, seen = found
        if now - moment > self._seconds or (seen[1] and seen[1] <= now):
            self.drop(key)
            return None
        return seen

"""What every named cache can do, wherever its items are.

One idea: whoever uses a cache (mappers, rules, scripts, uwsgirouterctl) knows it by this class alone; that items are
in an LMDB file of this machine (cache.py) or on a Redis server (remote.py) is settled when caches are opened. Keys and
values are bytes, durations seconds, 0 for as long as the cache says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from uwsgirouter.cache.specs import CacheSpec


class NamedCache(ABC):
    """``spec`` says what it takes."""

    spec: CacheSpec

    @property
    def is_away(self) -> bool:
        """Whether the last thing that was asked of it failed because nobody answers."""
        return False

    # -- looking ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""

    @abstractmethod
    def timed(self, key: bytes) -> tuple[bytes, float] | None:
        """As :meth:`get`, with the end of its life (seconds since 1970, 0: none)."""

    @abstractmethod
    def exists(self, key: bytes) -> bool:
        """Whether there is a value; it does not count as a use."""

    @abstractmethod
    def num(self, key: bytes) -> int:
        """The number that inc and its like count with; 0 for an item that is none, or is not there."""

    @abstractmethod
    def keys(self) -> list[bytes]:
        """Every key."""

    @abstractmethod
    def items(self) -> list[tuple[bytes, bytes, float]]:
        """Every key with its value and its end of life (seconds since 1970, 0: none)."""

    @abstractmethod
    def stats(self) -> dict[str, object]:
        """What uWSGI's stats say of a cache."""

    # -- changing ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def set(self, key: bytes, value: bytes, expires: int = 0) -> bool:
        """Add an item; False when it is there already, too large, or cannot be kept."""

    @abstractmethod
    def update(self, key: bytes, value: bytes, expires: int = 0) -> bool:
        """Add an item or replace it; False when it is too large or cannot be kept."""

    def keep(self, key: bytes, value: bytes, expires: int = 0) -> None:
        """As :meth:`update`, by somebody who does not wait for it, nor wants to know. Does not wait."""
        self.update(key, value, expires)

    @abstractmethod
    def delete(self, key: bytes) -> bool:
        """Whether there was such an item."""

    @abstractmethod
    def clear(self) -> bool:
        """Remove every item."""

    @abstractmethod
    def inc(self, key: bytes, by: int = 1, expires: int = 0) -> bool:
        """Add to a number; one that is not there begins at math_initial. False for an item that is no number."""

    @abstractmethod
    def dec(self, key: bytes, by: int = 1, expires: int = 0) -> bool:
        """Subtract, as :meth:`inc` adds."""

    @abstractmethod
    def mul(self, key: bytes, by: int = 2, expires: int = 0) -> bool:
        """Multiply, as :meth:`inc` adds."""

    @abstractmethod
    def div(self, key: bytes, by: int = 2, expires: int = 0) -> bool:
        """Divide (towards zero; by zero it gives 0), as :meth:`inc` adds."""

    @abstractmethod
    def load(self, items: Iterable[tuple[bytes, bytes]], expires: int = 0, replacing_all: bool = False) -> int:
        """Add or replace many in one step, or none; how many. ``replacing_all``: nothing else stays.

        Raises :class:`~uwsgirouter.cache.access.CacheTrouble`.
        """

    # -- the life of a process with it ------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises :class:`~uwsgirouter.cache.access.CacheTrouble` when nothing can be asked of it now."""
        return

    def sweep(self) -> int:
        """Remove items whose life is over, some in one step; how many."""
        return 0

    def sync(self) -> None:
        """Write a store to the disk. Waits for it."""
        return

    def check_readers(self) -> int:
        """Take back what look-ups of dead processes hold; how many."""
        return 0

    @abstractmethod
    def begin_loading(self, joining: bool) -> None:
        """From now on this thread runs scripts. Raises :class:`~uwsgirouter.cache.access.CacheTrouble`."""

    @abstractmethod
    def end_loading(self, done: bool) -> None:
        """They have run, or failed."""

    def settle(self) -> bool:
        """Whether what this process's scripts have set is settled, by now."""
        return True

    def recover(self) -> bool:
        """Undo what scripts have set whose process is gone (a reload that failed); whether there was something."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


def wrapped(number: int) -> int:
    """As a signed number of 64 bits, which goes round at its ends."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def quotient(number: int, by: int) -> int:
    """Towards zero; 0 for a division by 0."""
    if by == 0:
        return 0
    size = abs(number) // abs(by)
    return size if (number < 0) == (by < 0) else -size

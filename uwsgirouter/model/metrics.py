"""Metrics: numbers by name, in cells that all workers share.

One idea: a cell has many writers, so whoever changes it holds a lock, which is given from outside as the memory is;
who only reads does not. A name keeps its cell as long as the router's master lives, so a reload, or a worker that
dies, changes no number. No I/O here.
Invariant: numbers are signed and have 64 bits; they wrap around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

CELL_BYTES = 8


class Metrics:
    """``numbers``: name to the number of its cell."""

    def __init__(self, cells: memoryview, numbers: Mapping[bytes, int], lock: AbstractContextManager[object]) -> None:
        self._cells = cells
        self._numbers = dict(numbers)
        self._lock = lock

    def get(self, name: bytes) -> int:
        """A metric's value; 0 when there is none of that name."""
        number = self._numbers.get(name)
        return 0 if number is None else int(self._cells[number])

    def __contains__(self, name: bytes) -> bool:
        return name in self._numbers

    @property
    def names(self) -> Iterable[bytes]:
        """All of them."""
        return self._numbers.keys()

    def set(self, name: bytes, value: int) -> bool:
        """False when there is none of that name; so do the others say."""
        return self._change(name, lambda old: value)

    def inc(self, name: bytes, by: int = 1) -> bool:
        """Add."""
        return self._change(name, lambda old: old + by)

    def dec(self, name: bytes, by: int = 1) -> bool:
        """Subtract."""
        return self._change(name, lambda old: old - by)

    def mul(self, name: bytes, by: int = 1) -> bool:
        """Multiply."""
        return self._change(name, lambda old: old * by)

    def div(self, name: bytes, by: int = 1) -> bool:
        """Divide, towards zero. False for a division by 0, too."""
        return by != 0 and self._change(name, lambda old: (abs(old) // abs(by)) * (1 if (old < 0) == (by < 0) else -1))

    def reset_at(self, name: bytes, value: int, to: int) -> bool:
        """Set it if it is ``value`` or more; whether it was, which only one of several workers is told."""
        number = self._numbers.get(name)
        if number is None or self._cells[number] < value:
            return False
        with self._lock:
            if self._cells[number] < value:
                return False
            self._cells[number] = to
        return True

    def _change(self, name: bytes, step: Callable[[int], int]) -> bool:
        number = self._numbers.get(name)
        if number is None:
            return False
        with self._lock:
            self._cells[number] = wrapped(step(self._cells[number]))
        return True


def wrapped(value: int) -> int:
    """As a signed number of 64 bits."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)

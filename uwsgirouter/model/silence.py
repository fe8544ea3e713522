"""Silence: when each announced node was heard of last, and which of them have been silent for too long.

One idea: that a node is heard of happens thousands of times a second, and that it falls silent hardly ever. So hearing
is one number written into an array, and puts nothing into an order. Nodes lie in *heaps*, one for each second; a node
stays in the heap of the second in which it came until that second is so long ago that it might be silent, and is moved
then to the heap of the second in which it was heard of last. Pure: ``now`` is passed in.
Invariants: a node lies in one heap at most, and was not heard of before that heap's second unless it is not watched; a
node costs some twenty bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from uwsgirouter.model.hearing import Hearing

_NEVER = float("-inf")


class Silence:
    """Nodes by number; ``in`` and iteration are about those that are watched, the one heard of longest ago first."""

    def __init__(self) -> None:
        self._heard = array("d")
        self._watched = bytearray()
        self._lies = bytearray()
        """Whether it is in a heap."""
        self._heaps: dict[int, array[int]] = {}
        self.told: Callable[[int], None] | None = None
        """Told of each node that is heard of, if anybody wants to know."""

    def __contains__(self, id: int) -> bool:
        return id < len(self._watched) and bool(self._watched[id])

    def __iter__(self) -> Iterator[int]:
        return iter(sorted((id for id, watched in enumerate(self._watched) if watched), key=self._heard.__getitem__))

    def hear(self, id: int, now: float) -> None:
        """Node ``id`` is there: it is watched from now on. (Not earlier than the last time.)"""
        try:
            self._heard[id] = now
        except IndexError:
            self._grow(id)
            self._heard[id] = now
        if self.told is not None:
            self.told(id)
        if not self._watched[id]:
            self._watched[id] = 1
            if not self._lies[id]:
                self._lay(id, now)

    def heard(self, id: int) -> float | None:
        """When it was heard of last; None: never."""
        heard = self._heard[id] if id < len(self._heard) else _NEVER
        return heard if heard != _NEVER else None

    def unwatch(self, id: int) -> None:
        """Its silence does not matter any more; when it was heard of is remembered."""
        if id in self:
            self._watched[id] = 0

    def forget(self, id: int) -> None:
        """It is no more."""
        if id < len(self._heard):
            self._watched[id] = 0
            self._heard[id] = _NEVER

    def silent(self, hearing: Hearing, now: float, tolerance: float) -> list[int]:
        """The nodes that have been silent for more than ``tolerance`` seconds, the one heard of longest ago first."""
        if not self._heaps:
            return []
        # Whoever was heard of in this second or later is not silent.
        bound = min(self._heaps)
        while hearing.is_silent(bound, now, tolerance):
            bound += 1
        found = []
        watched, times = self._watched, self._heard
        for id in self._take_up(bound):
            if watched[id]:
                heard = times[id]
                self._lay(id, heard)
                if heard < bound and hearing.is_silent(heard, now, tolerance):
                    found.append(id)
        return sorted(found, key=times.__getitem__)

    def _take_up(self, bound: int) -> list[int]:
        """All nodes that lie in heaps of earlier seconds; they lie nowhere now."""
        taken: list[int] = []
        for second in [second for second in self._heaps if second < bound]:
            taken += self._heaps.pop(second)
        for id in taken:
            self._lies[id] = 0
        return taken

    def _lay(self, id: int, heard: float) -> None:
        self._lies[id] = 1
        second = int(heard // 1)
        heap = self._heaps.get(second)
        if heap is None:
            heap = self._heaps[second] = array("H")
        heap.append(id)

    def _grow(self, id: int) -> None:
        more = id + 1 - len(self._heard)
        self._heard.extend([_NEVER] * more)
        self._watched.extend(bytes(more))
        self._lies.extend(bytes(more))

"""Room for one more item in a full cache, by the policy that the cache was given.

One idea: a full cache is no error. What goes is decided here, inside the transaction of whoever sets an item: the least
recently used (purge_lru), what is over (sweep_on_full), everything (clear_on_full) or nothing, and then the set fails.
It knows times of use from :mod:`~uwsgirouter.cache.shared` and nothing of keys.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from uwsgirouter.cache.shared import Count, Shared
from uwsgirouter.cache.specs import CacheSpec
from uwsgirouter.cache.table import Table, Txn

CANDIDATES_LEAST = 64
CANDIDATES_SHARE = 16
"""One item in so many is looked out as a candidate at once, so that the search costs little for each that goes."""
_BATCH = 1000
_SHARE = 8
"""One item in so many goes at once when the file has no room."""


class Room:
    """``say`` is for the log lines of a full cache, which ``ignore_full`` turns off."""

    def __init__(self, spec: CacheSpec, table: Table, shared: Shared, say: Callable[[str], None]) -> None:
        self._spec = spec
        self._table = table
        self._shared = shared
        self._say = say
        self._candidates: deque[tuple[int, int]] = deque()
        """Time of use (when it was read) and slot, the oldest first."""

    def make(self, txn: Txn, items: int, blocks: int, now: int) -> bool:
        """Whether so many more fit; if they do not, the policy is followed first. ``now`` in ms."""
        table, spec = self._table, self._spec
        if table.fits(txn, items, blocks):
            return True
        self._shared.row[Count.FULL] += 1
        if not spec.ignore_full:
            self._say(
                f'the least recently used item is purged from cache "{spec.name}"'
                if spec.purge_lru
                else f'*** DANGER cache "{spec.name}" is FULL !!! ***'
            )
        removed = self.sweep(txn, now) if spec.sweep_on_full else 0
        if spec.purge_lru:
            while not table.fits(txn, items, blocks) and self.purge(txn):
                pass
        elif spec.clear_on_full and not removed:
            table.clear(txn)
        return table.fits(txn, items, blocks)

    def relieve(self, txn: Txn) -> bool:
        """The file has no room although the items are not too many: whether the policy made some."""
        if self._spec.purge_lru:
            for _ in range(1 + self._table.count(txn) // _SHARE):
                self.purge(txn)
        elif self._spec.clear_on_full:
            self._table.clear(txn)
        return self._spec.purge_lru or self._spec.clear_on_full

    def sweep(self, txn: Txn, now: int) -> int:
        """Remove some of those whose life is over; how many."""
        removed = 0
        for handle in self._table.ended(txn, now, _BATCH):
            item = self._table.find(txn, handle)
            if item is not None:
                self._table.remove(txn, handle, item)
                removed += 1
        return removed

    def purge(self, txn: Txn) -> bool:
        """Remove the least recently used item; whether there was one."""
        for fresh in (False, True):
            if fresh:
                self._look_out(txn)
            while self._candidates:
                used, slot = self._candidates.popleft()
                # A slot that was used since, or given to another item, is no candidate any more.
                if self._shared.uses[slot] == used and self._remove(txn, slot):
                    return True
        return False

    def _look_out(self, txn: Txn) -> None:
        count = max(CANDIDATES_LEAST, self._table.count(txn) // CANDIDATES_SHARE)
        uses = self._shared.uses
        found = heapq.nsmallest(count, ((uses[slot], slot) for slot in self._table.slots(txn)))
        self._candidates = deque(found)

    def _remove(self, txn: Txn, slot: int) -> bool:
        handle = self._table.at_slot(txn, slot)
        item = None if handle is None else self._table.find(txn, handle)
        if handle is None or item is None:
            return False
        self._table.remove(txn, handle, item)
        return True

"""Ejection: which nodes that accept connections and then fail are left alone, and for how long.

One idea: a fault is a request that a node accepted and did not answer: it reset, closed before the first byte, or let
the time pass. Three of them in ten seconds, and the node is out for a second; each time that it comes to this again
within a minute after it was back, for twice as long, up to half a minute. What counts as a slot, and which events that
makes, is the registry's; here are only numbers of nodes and times, which are passed in. Pure; never yields.
Invariant: whoever is out has an end; a node that nobody heard bad things of for a while costs no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FAULTS = 3
WINDOW = 10.0
"""So many faults within so many seconds."""
FIRST_TIME, LONGEST_TIME = 1.0, 30.0
"""Seconds that a node is out, the first time and at most."""
FORGIVEN = 60.0
"""Seconds without an ejection after which the next one is a first one."""


@dataclass
class Record:
    """What is remembered of one node. ``until``: when its ejection ends (or ended); ``out``: whether it lasts."""

    faults: deque[float] = field(default_factory=lambda: deque(maxlen=FAULTS))
    time: float = 0.0
    until: float = 0.0
    out: bool = False


def room(up: int, out: int) -> bool:
    """Whether one more of a slot's nodes may be put out: never more than half of those that would serve it.

    ``up``: nodes that are up; ``out``: those that are ejected. Others (down, draining) serve nobody in any case.
    """
    return 2 * (out + 1) <= up + out


def surplus(up: int, out: int) -> int:
    """How many of ``out`` must come back since others left or failed."""
    return max(0, out - (up + out) // 2)


class Ejections:
    """The records of all nodes, by number."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}
        self._out: dict[int, float] = {}
        self._tidy_at = 0.0

    def fault(self, id: int, now: float, count: int = 1) -> bool:
        """Node ``id`` failed ``count`` requests; whether that is too often."""
        record = self._records.setdefault(id, Record())
        record.faults.extend([now] * min(count, FAULTS))
        return not record.out and len(record.faults) == FAULTS and now - record.faults[0] <= WINDOW

    def eject(self, id: int, now: float) -> float:
        """It is out from now on; the seconds that this lasts."""
        record = self._records.setdefault(id, Record())
        again = record.time and now - record.until <= FORGIVEN
        record.time = min(LONGEST_TIME, 2 * record.time) if again else FIRST_TIME
        record.until = now + record.time
        record.out = True
        record.faults.clear()
        self._out[id] = record.until
        return record.time

    def end(self, id: int, now: float) -> None:
        """It is back (or it is down, or it drains): its faults start anew, its times are remembered."""
        if self._out.pop(id, None) is not None:
            record = self._records[id]
            record.out = False
            record.until = min(record.until, now)
            record.faults.clear()

    def forget(self, id: int) -> None:
        """The node is no more."""
        self._records.pop(id, None)
        self._out.pop(id, None)

    def due(self, now: float) -> list[int]:
        """The nodes whose time is over, the earliest first."""
        return [id for id in self.out() if self._out[id] <= now]

    def out(self) -> list[int]:
        """The nodes that are out, the one that is back first first."""
        return sorted(self._out, key=self._out.__getitem__)

    def tidy(self, now: float) -> None:
        """Forget what has no bearing any more; to be called at any time, it looks once in :data:`FORGIVEN` seconds."""
        if now < self._tidy_at:
            return
        self._tidy_at = now + FORGIVEN
        for id in [id for id, record in self._records.items() if self._is_stale(record, now)]:
            del self._records[id]

    def rows(self) -> list[list[object]]:
        """For a successor: the records."""
        return [[id, list(one.faults), one.time, one.until, one.out] for id, one in self._records.items()]

    def restore(self, rows: Iterable[list[Any]]) -> None:
        """Go on as whoever gave :meth:`rows`."""
        for id, faults, time, until, out in rows:
            self._records[int(id)] = Record(deque(map(float, faults), FAULTS), float(time), float(until), bool(out))
            if out:
                self._out[int(id)] = float(until)

    @staticmethod
    def _is_stale(record: Record, now: float) -> bool:
        quiet = not record.faults or now - record.faults[-1] > WINDOW
        return quiet and not record.out and now - record.until > FORGIVEN

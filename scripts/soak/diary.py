"""What was asked, what was broken on purpose, and which failure has such a cause.

One idea: a visit that did not go as it should is explained only by a fault of that very time, at that key, of a kind
that leads to just this failure. Everything else is a finding. It knows no sockets and no processes; times are those of
the monotonic clock.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

RESET = "reset"
CUT = "ended too early"
BROKEN_OFF = frozenset({RESET, CUT})
"""How a connection looks whose other end was killed."""
NODE_DIED = BROKEN_OFF | {"502 node-closed", "502 node-reset"}
"""How it looks when it was the node; 502 where the request cannot be repeated."""


@dataclass
class Visit:
    """One client: ``trouble`` is empty when all went as it should."""

    kind: str
    key: str
    begun: float
    ended: float = math.inf
    held_since: float = math.inf
    """From when on it is kept open until it ends, or something breaks it."""
    heard: float = -math.inf
    """When something last came over it."""
    trouble: str = ""

    def overlaps(self, begin: float, end: float) -> bool:
        """It was under way at some moment of this time."""
        return self.begun <= end and self.ended >= begin


@dataclass
class Fault:
    """Something that was broken on purpose. ``keys`` are those that it can hurt (none named: all)."""

    what: str
    begun: float
    keys: frozenset[str]
    leads_to: frozenset[str]
    ended: float = math.inf

    def hurts(self, visit: Visit) -> bool:
        """It can have consequences for visits of that key."""
        return not self.keys or visit.key in self.keys

    def explains(self, visit: Visit) -> bool:
        """It is why this visit failed."""
        return self.hurts(visit) and visit.trouble in self.leads_to and visit.overlaps(self.begun, self.ended)


@dataclass
class Diary:
    """Written by many threads."""

    visits: Counter[str] = field(default_factory=Counter)
    """How many of each kind have ended."""
    faults: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    """What has no cause, in words."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[Visit] = []
        self._past: list[Visit] = []
        self._failed: list[Visit] = []
        self._faults: list[Fault] = []
        self._start = time.monotonic()
        self._latest = "none"

    # -- written ------------------------------------------------------------------------------------------------------

    def begin(self, kind: str, key: str) -> Visit:
        """A visit begins."""
        visit = Visit(kind, key, time.monotonic())
        with self._lock:
            self._open.append(visit)
        return visit

    def end(self, visit: Visit, trouble: str = "") -> None:
        """It is over."""
        with self._lock:
            visit.ended, visit.trouble = time.monotonic(), trouble
            self._open.remove(visit)
            self._past.append(visit)
            self.visits[visit.kind] += 1
            if trouble:
                self._failed.append(visit)

    @contextmanager
    def fault(self, what: str, keys: frozenset[str], leads_to: frozenset[str]) -> Iterator[None]:
        """What happens inside may have these consequences."""
        fault = Fault(what, time.monotonic(), keys, leads_to)
        with self._lock:
            self._faults.append(fault)
            self._count(what)
        try:
            yield
        finally:
            fault.ended = time.monotonic()

    def did(self, what: str) -> None:
        """Something that must have no consequences."""
        with self._lock:
            self._count(what)

    def _count(self, what: str) -> None:
        self.faults[what] += 1
        self._latest = f"{what} at {self.clock().strip()}"

    def found(self, what: str) -> None:
        """An invariant is broken."""
        with self._lock:
            self.findings.append(f"{self.clock()}  {what} (the trouble before: {self._latest})")

    # -- read ---------------------------------------------------------------------------------------------------------

    def clock(self, moment: float | None = None) -> str:
        """Minutes and seconds since the start."""
        passed = (time.monotonic() if moment is None else moment) - self._start
        return f"{int(passed // 60):3d}:{passed % 60:05.2f}"

    def under_way(self) -> int:
        """Visits that have not ended."""
        with self._lock:
            return len(self._open)

    def bounds(self, begin: float, end: float) -> dict[str, tuple[int, int]]:
        """By key, how many sessions the router must have had at a moment between these: fewest and most.

        One that is kept open may be broken by a fault before its client looks.
        """
        with self._lock:
            visits, faults = [*self._open, *self._past], list(self._faults)
        found: dict[str, tuple[int, int]] = {}
        for visit in visits:
            low, high = found.get(visit.key, (0, 0))
            broken = any(fault.hurts(visit) and visit.heard <= fault.ended and fault.begun <= end for fault in faults)
            held = visit.held_since < begin and visit.ended > end and not broken
            found[visit.key] = low + held, high + visit.overlaps(begin, end)
        return found

    def settle(self, now: float) -> None:
        """Judge what failed, when the faults of that time are written down; forget what is long past."""
        with self._lock:
            ripe = [visit for visit in self._failed if visit.ended < now]
            self._failed = [visit for visit in self._failed if visit.ended >= now]
            self._past = [visit for visit in self._past if visit.ended > now - 60]
            self._faults = [fault for fault in self._faults if fault.ended > now - 300]
            for visit in ripe:
                self._judge(visit)

    def _judge(self, visit: Visit) -> None:
        fault = next((fault for fault in self._faults if fault.explains(visit)), None)
        if fault is not None:
            self.explained[f"{visit.trouble}, {fault.what}"] += 1
            return
        lasted = visit.ended - visit.begun
        self.findings.append(
            f"{self.clock(visit.ended)}  {visit.kind} at {visit.key}: {visit.trouble} after {lasted:.2f} s, no cause"
        )

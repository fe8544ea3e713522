"""A picture: all that the master knows at one moment, for whoever shows it.

One idea: a fork is a consistent copy, so the parts need not be copied: they are the master's own, in a child that
changes none of them. What workers count is in shared memory and goes on. Only values; it must not know how they are
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from uwsgirouter.model.counters import Counters
from uwsgirouter.model.measures import Measures
from uwsgirouter.model.metrics import Metrics
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.tallies import Tallies


@dataclass(frozen=True)
class WorkerFacts:
    """A worker that lives. ``state``: starting, serving, draining or stopping; ``row``: where it counts."""

    pid: int
    number: int
    generation: int
    row: int
    state: str


@dataclass(frozen=True)
class Datagrams:
    """Announcements: how many were read, how many of them were refused and why, how many the kernel dropped."""

    read: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0

    @property
    def accepted(self) -> int:
        """Those that were taken."""
        return self.read - sum(self.rejected.values())


@dataclass(frozen=True)
class Naming:
    """Which keys have metrics of their own, and what the others' must be corrected by (stats/naming.py)."""

    keys: tuple[bytes, ...] = ()
    correction: tuple[int, ...] = ()
    is_full: bool = False
    """Whether there were keys without a name."""


@dataclass(frozen=True)
class Picture:
    """The router. ``began``: monotonic seconds of its start; ``directory``: where it works."""

    version: str
    compiled: str
    pid: int
    uid: int
    gid: int
    directory: str
    began: float
    generation: int
    sockets: Sequence[str]
    """Where it listens, then its subscription servers."""
    has_subscriptions: bool
    has_static: bool
    registry: Registry
    counters: Counters
    tallies: Tallies
    measures: Measures
    past_hits: Mapping[bytes, int]
    """By key: what its nodes that are gone were given."""
    workers: Sequence[WorkerFacts]
    datagrams: Datagrams
    lines_dropped: int
    metrics: Metrics | None
    caches: Callable[[], list[dict[str, object]]]
    """What the caches say of themselves; asked once a document."""
    keys_most: int
    naming: Naming = Naming()

"""The fleet: which workers there are, which there should be, and when a dead one is replaced.

One idea: decisions are pure. Everything here takes ``now`` (monotonic seconds) and returns what to do; the supervisor
does it. Invariants: a generation has at most one serving member for each number; a member's row of the shared memory
is nobody else's while it lives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from uwsgirouter.master.downlink import Downlink
from uwsgirouter.model.counters import ROWS

BOOT_TIMEOUT = 30.0
"""Seconds that a worker has to say that it is ready."""
FLAPPING_DEATHS = 10
FLAPPING_WINDOW = 60.0
"""That many deaths in so many seconds and the next ones are replaced ever later."""
BACKOFF_FIRST = 0.5
BACKOFF_MOST = 30.0


class Life(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPING = "told to leave at once"


@dataclass
class Member:
    """One worker process."""

    pid: int
    number: int
    row: int
    generation: int
    downlink: Downlink
    since: float
    life: Life = Life.STARTING
    deadline: float | None = None
    """When one that drains is told to leave at once, and when one that was told so is killed."""
    was_asked: bool = False
    """It was silent for so long that it was asked to show where it is."""
    is_foreign: bool = False
    """It is of a version whose counters we cannot read (after an upgrade): nobody knows whether it beats."""

    @property
    def leaving(self) -> bool:
        """Whether it is on its way out."""
        return self.life in (Life.DRAINING, Life.STOPPING)


class Overdue(NamedTuple):
    """A worker whose time is over, and why."""

    member: Member
    reason: str


class Fleet:
    """The members by pid."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}

    def of(self, generation: int) -> list[Member]:
        """The members of one generation that are not on their way out, by number."""
        found = [m for m in self.members.values() if m.generation == generation and not m.leaving]
        return sorted(found, key=lambda member: member.number)

    def missing(self, generation: int, target: int) -> list[int]:
        """The numbers that nobody has, up to ``target``."""
        taken = {member.number for member in self.of(generation)}
        return [number for number in range(1, target + 1) if number not in taken]

    def surplus(self, generation: int, target: int) -> list[Member]:
        """Those with a number above ``target``."""
        return [member for member in self.of(generation) if member.number > target]

    def ready(self, generation: int, target: int) -> bool:
        """Whether all of a generation serve."""
        serving = [member for member in self.of(generation) if member.life is Life.SERVING]
        return len(serving) >= target and not self.missing(generation, target)

    def rows(self) -> list[int]:
        """Of all living workers."""
        return [member.row for member in self.members.values()]

    def free_row(self) -> int | None:
        """A row that no living worker has."""
        taken = set(self.rows())
        return next((row for row in range(ROWS) if row not in taken), None)

    def overdue(self, now: float, harakiri: float, beats: dict[int, float]) -> list[Overdue]:
        """Whose time is over: no beat for ``harakiri`` seconds, not ready, or still draining at its deadline.

        ``beats`` gives the monotonic second of each pid's last beat.
        """
        found = []
        for member in self.members.values():
            if member.deadline is not None and now >= member.deadline:
                found.append(Overdue(member, "did not finish in time"))
            elif member.life is Life.STARTING and now - member.since > BOOT_TIMEOUT:
                found.append(Overdue(member, f"was not ready after {BOOT_TIMEOUT:g} seconds"))
            elif not member.is_foreign and now - max(member.since, beats.get(member.pid, 0.0)) > harakiri:
                found.append(Overdue(member, f"gave no sign of life for {harakiri:g} seconds"))
        return found


def silent(members: Iterable[Member], now: float, longer: float, beats: dict[int, float]) -> list[Member]:
    """Those that serve, gave no sign of life for ``longer`` seconds and were not asked why; each is named once."""
    found = []
    for member in members:
        quiet = now - max(member.since, beats.get(member.pid, 0.0))
        if quiet < longer:
            member.was_asked = False
        elif not member.was_asked and not member.is_foreign and member.life is not Life.STARTING:
            member.was_asked = True
            found.append(member)
    return found


class Respawns:
    """When the next worker may be started after deaths: at once, unless they flap.

    Once they do, the wait only grows, until a whole window passes without a death: the longest wait is shorter than
    the window, so those that die at their start cannot outwait it.
    """

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()
        self._delay = 0.0
        self.not_before = 0.0

    def died(self, now: float) -> float:
        """Note a death; the seconds until its replacement (0: at once)."""
        if self._deaths and now - self._deaths[-1] > FLAPPING_WINDOW:
            self._delay = 0.0
        while self._deaths and now - self._deaths[0] > FLAPPING_WINDOW:
            self._deaths.popleft()
        self._deaths.append(now)
        if len(self._deaths) < FLAPPING_DEATHS and not self._delay:
            return 0.0
        self._delay = min(BACKOFF_MOST, self._delay * 2 if self._delay else BACKOFF_FIRST)
        self.not_before = now + self._delay
        return self._delay

    @property
    def deaths(self) -> int:
        """Deaths in the window."""
        return len(self._deaths)

    def deaths_since(self, now: float) -> int:
        """Those of the last window, however long ago the last one was."""
        return sum(now - moment <= FLAPPING_WINDOW for moment in self._deaths)

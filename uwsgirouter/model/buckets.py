"""Token buckets by key, in memory that all workers share: who may have another request now, and who not before when.

One idea: a bucket is one number, the moment at which it will be full again (nanoseconds of the monotonic clock, which
is one for all processes of a machine). A request moves it on by one interval; one that would move it further than
the whole bucket ahead of now is refused. So a bucket that is full is as good as none: its cell is free without
anybody clearing it, and time passes without anybody counting. No I/O; ``now`` is passed in.
Invariants: a number is written by one store of eight aligned bytes, and the order of stores is such that a process
killed between two of them leaves a full bucket or an old one, never a wrong one. When a set has no full bucket, that
which is nearest to it makes room: its key may have at most one bucket of requests more, which is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from uwsgirouter.model.shelf import STRIPES, WAYS, Spots, Stripes

CELL_BYTES = 16
HEAD_BYTES = STRIPES * 8


def memory_bytes(keys: int) -> int:
    """What the shared memory must have for so many keys, which is rounded up to whole sets."""
    return HEAD_BYTES + sets_of(keys) * WAYS * CELL_BYTES


def sets_of(keys: int) -> int:
    """Sets for so many keys."""
    return max(1, -(-keys // WAYS))


@dataclass(frozen=True)
class Rate:
    """A request each ``interval`` nanoseconds, and ``burst`` of them at once when the bucket is full."""

    interval: int
    burst: int

    @property
    def span(self) -> int:
        """Nanoseconds in which an empty bucket fills."""
        return self.interval * self.burst


class Buckets:
    """``memory`` has :func:`memory_bytes` zeroed bytes; ``secret`` is what no client may know."""

    def __init__(self, memory: memoryview, keys: int, secret: bytes, locks: Stripes) -> None:
        self._sets = sets_of(keys)
        cells = memory[: memory_bytes(keys)].cast("Q")
        head, count = HEAD_BYTES // 8, self._sets * WAYS
        self._evicted = cells[:head]
        self._tags = cells[head : head + count]
        self._times = cells[head + count : head + 2 * count]
        self._spots = Spots(secret)
        self._locks = locks

    @property
    def evicted(self) -> int:
        """Buckets that were not full and had to make room."""
        return sum(self._evicted)

    def take(self, limit: bytes, key: bytes, rate: Rate, now: int) -> int:
        """Take a token of that limit's key. Nanoseconds until there is one, when it is positive: then none was taken.

        Else one was, and ``-result // rate.interval`` are left.
        """
        spot = self._spots(limit, key)
        at = spot.number % self._sets
        start = at * WAYS
        line = self._tags[start : start + WAYS].tolist()
        if spot.tag in line:
            # Who is refused changes nothing, and waits for nobody: this is what a flood meets.
            cell = start + line.index(spot.tag)
            over = self._times[cell] + rate.interval - now - rate.span
            if over > 0 and self._tags[cell] == spot.tag:
                return over
        stripe = at % STRIPES
        is_alone = self._locks.enter(stripe)
        try:
            return self._take(spot.tag, start, rate, now, stripe, is_alone)
        finally:
            if is_alone:
                self._locks.leave(stripe)

    def _take(self, tag: int, start: int, rate: Rate, now: int, stripe: int, is_alone: bool) -> int:
        tags, times = self._tags, self._times
        line = tags[start : start + WAYS].tolist()
        if tag in line:
            cell = start + line.index(tag)
            full = max(times[cell], now)
        elif is_alone:
            ages = times[start : start + WAYS].tolist()
            oldest = min(ages)
            cell = start + ages.index(oldest)
            if oldest > now:
                self._evicted[stripe] += 1
            times[cell] = 0
            tags[cell] = tag
            full = now
        else:  # somebody who is stopped holds the lock: what is his to arrange stays as it is
            return rate.interval - rate.span
        over: int = full + rate.interval - now - rate.span
        if over <= 0:
            times[cell] = full + rate.interval
        return over

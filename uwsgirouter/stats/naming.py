"""Which keys have metrics of their own: those with the most requests, and no counter ever goes down.

One idea: a name that was shown stays, and gives way only to a key with more than twice its requests. Then its series
ends, that of the other one begins, and what both have counted until now is put right in a *correction* of what is
called ``other``, so that this one neither jumps nor falls. Pure: who was named before is passed in, who is named now
is given back, for whoever remembers it until the next time.
Invariant: ``other`` plus its correction never goes down as long as the rows do not.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from uwsgirouter.model.measures import ROW_CELLS, Row, requests_of, total
from uwsgirouter.stats.picture import Naming

GIVES_WAY = 2
"""A name gives way to a key that has more than so many times its requests."""


@dataclass(frozen=True)
class Named:
    """``rows``: the sums of the keys that have a name; ``other``: of all that have none, corrected."""

    rows: Mapping[bytes, Row]
    other: Row
    naming: Naming


def name(keys: Mapping[bytes, Row], nameless: Row, most: int, before: Naming) -> Named:
    """Name at most ``most`` of ``keys``. ``nameless``: what was counted of no key in particular."""
    requests = {key: requests_of(row) for key, row in keys.items()}

    def busiest(found: Iterable[bytes]) -> list[bytes]:
        return sorted(found, key=lambda key: (-requests[key], key))

    former = set(before.keys)
    kept = busiest(former & keys.keys())[:most]
    others = busiest(keys.keys() - former)
    kept += others[: most - len(kept)]
    others = others[len(kept) - len(former.intersection(kept)) :]
    kept = busiest(kept)
    while others and kept and requests[others[0]] > GIVES_WAY * requests[kept[-1]]:
        kept.pop()
        insort(kept, others.pop(0), key=lambda key: (-requests[key], key))
    named = set(kept)
    correction = list(before.correction) or [0] * ROW_CELLS
    if before.is_full:  # else whoever is new was no part of the others before
        correction = _sum(correction, [keys[key] for key in named - former], 1)
    correction = _sum(correction, [keys[key] for key in former & keys.keys() if key not in named], -1)
    other = total([nameless, correction, *(row for key, row in keys.items() if key not in named)])
    naming = Naming(tuple(kept), tuple(correction), is_full=len(keys) > len(named))
    return Named({key: keys[key] for key in kept}, other, naming)


def _sum(cells: list[int], rows: Sequence[Row], sign: int) -> list[int]:
    for row in rows:
        cells = [cell + sign * more for cell, more in zip(cells, row, strict=True)]
    return cells

"""What changed between two looks at a router's nodes, by key: requests a second, bytes, failures.

One idea: the router tells totals, and a rate is a difference between two of them over the time between; a node that was
not there at the first look counts from nothing, one that was replaced (its total fell) likewise. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
_TOTALS = ("requests", "rx", "tx", "failed_connects")


@dataclass
class Rate:
    """One key. Rates are per second; ``out`` counts nodes that are given no requests."""

    key: str
    nodes: int = 0
    out: int = 0
    in_flight: int = 0
    total: int = 0
    """Requests in all."""
    requests: float = 0.0
    rx: float = 0.0
    tx: float = 0.0
    failed_connects: float = 0.0
    states: set[str] = field(default_factory=set)


def rates(before: Iterable[Row], now: Iterable[Row], seconds: float) -> list[Rate]:
    """Between two looks that are ``seconds`` apart, a row for each key."""
    old = {(row["key"], row["node"]): row for row in before}
    found: dict[str, Rate] = {}
    for row in now:
        rate = found.setdefault(row["key"], Rate(row["key"]))
        rate.nodes += 1
        rate.states.add(row["state"])
        rate.out += row["state"] not in ("up", "unconfirmed")
        rate.in_flight += row.get("in_flight") or 0
        rate.total += row.get("requests") or 0
        was = old.get((row["key"], row["node"]), {})
        for name in _TOTALS:
            setattr(rate, name, getattr(rate, name) + _grown(was.get(name), row.get(name)) / seconds)
    return list(found.values())


def _grown(before: int | None, now: int | None) -> int:
    if now is None:
        return 0
    return now - before if before is not None and before <= now else now


def ranked(found: list[Rate], by: str) -> list[Rate]:
    """The busiest (``rate``), or the most troubled (``failures``) first; ties by name."""
    if by == "failures":
        return sorted(found, key=lambda rate: (-rate.failed_connects, -rate.out, -rate.requests, rate.key))
    if by == "sessions":
        return sorted(found, key=lambda rate: (-rate.in_flight, rate.key))
    return sorted(found, key=lambda rate: (-rate.requests, -rate.in_flight, rate.key))

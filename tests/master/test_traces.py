"""Traces as the master has them: whatever workers tell, and whatever whoever asked does."""

from __future__ import annotations

import json
import math
from typing import cast

import pytest

from uwsgirouter.master.fleet import Fleet, Member
from uwsgirouter.master.traces import HELD_MOST, TEXT_MOST, Traces
from uwsgirouter.model.table import STATIC_KEY


class Socket:
    def fileno(self) -> int:
        return 7


class Link:
    """A worker's channel that keeps its orders."""

    def __init__(self) -> None:
        self.sock = Socket()
        self.orders: list[tuple[object, ...]] = []

    def order(self, *items: object) -> None:
        self.orders.append(items)


class Crew:
    """Traces over two workers."""

    def __init__(self) -> None:
        self.links = [Link(), Link()]
        self.fleet = Fleet()
        for number, link in enumerate(self.links):
            self.fleet.members[number] = Member(number, number, number, 1, link, 0.0)  # type: ignore[arg-type]
        self.traces = Traces(self.fleet)

    def token(self) -> int:
        """Of the last trace."""
        found = [order[1] for order in self.links[0].orders if order[0] == "trace"][-1]
        assert isinstance(found, int)
        return found


ROW = {
    "id": "i",
    "key": "a",
    "request": "GET",
    "node": None,
    "cause": None,
    "phase": "closed",
    "tries": 1,
    "status": 200,
    "omitted": 0,
    "to_node": 3,
    "from_node": 4,
    "queue_ms": 0.5,
    "connect_ms": None,
    "ttfb_ms": None,
    "total_ms": 1,
    "steps": [[0.1, "dial"], [1, "end"]],
}


def said(lines: object) -> list[dict[str, object]]:
    """What comes until there is no more for now."""
    found = []
    for line in lines:  # type: ignore[attr-defined]
        if line is None:
            break
        found.append(json.loads(line, parse_constant=pytest.fail))
    return found


def test_a_trace_from_its_beginning_to_its_end() -> None:
    crew = Crew()
    lines = crew.traces.follow(b"a", 2)
    assert not crew.links[0].orders, "nothing before anybody reads"
    assert said(lines) == [{"tracing": "a", "workers": 2}]
    token = crew.token()
    assert [link.orders for link in crew.links] == [[("trace", token, "a", 2)]] * 2
    crew.traces.hear(1, token, ROW)
    crew.traces.hear(1, token - 1, ROW)
    assert said(lines) == [{"trace": {"worker": 1, **ROW}}]
    link = Link()
    late = Member(9, 9, 9, 1, link, 0.0)  # type: ignore[arg-type]
    crew.fleet.members[9] = late
    crew.traces.joined(late)
    assert link.orders == [("trace", token, "a", 1)], "as many as are left"
    crew.traces.hear(0, token, ROW)
    crew.traces.hear(0, token, ROW)
    assert said(lines) == [{"trace": {"worker": 0, **ROW}}, {"ok": True}], "no more than were asked for"
    assert link.orders[-1] == ("untrace", token)


def test_who_leaves_ends_it() -> None:
    crew = Crew()
    lines = crew.traces.follow(STATIC_KEY, 5)
    assert said(lines) == [{"tracing": "-", "workers": 2}]
    lines.close()  # type: ignore[attr-defined]
    assert [order[0] for order in crew.links[1].orders] == ["trace", "untrace"]
    crew.traces.hear(0, crew.token(), ROW)


def test_who_reads_slowly_costs_a_bounded_amount() -> None:
    crew = Crew()
    lines = crew.traces.follow(b"a", 1000)
    said(lines)
    big = ROW | {"steps": [[1.0, "x" * TEXT_MOST]] * 50}
    for _ in range(1000):
        crew.traces.hear(0, crew.token(), big)
    told = said(lines)
    held = sum(len(json.dumps(row)) for row in told)
    assert held < 1.2 * HELD_MOST
    assert told[-2:] == [{"missed": 1000 - (len(told) - 2)}, {"ok": True}]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("id", 7, None),
        ("key", ["a"], None),
        ("request", "x" * 100_000, "x" * TEXT_MOST),
        ("status", "200", None),
        ("status", True, None),
        ("total_ms", math.nan, None),
        ("total_ms", math.inf, None),
        ("tries", 10**400, None),
        ("steps", None, []),
        ("steps", {"a": 1}, []),
        ("steps", [7, [1], [1, 2], ["a", "b"], [1.0, "good", 3], [2.0, "good"]], [[2.0, "good"]]),
        ("steps", [[math.nan, "a"]], [[0, "a"]]),
        ("steps", [[1, "a"]] * 100_000, [[1, "a"]] * 300),
        ("more", "x", ...),
    ],
)
def test_what_a_worker_tells_is_looked_at(name: str, value: object, shown: object) -> None:
    crew = Crew()
    lines = crew.traces.follow(b"a", 1)
    said(lines)
    crew.traces.hear(0, crew.token(), ROW | {name: value})
    (row, _) = said(lines)
    trace = cast("dict[str, object]", row["trace"])
    assert trace.get(name, ...) == shown
    assert set(trace) == {"worker", *ROW}


def test_nothing_at_all() -> None:
    crew = Crew()
    lines = crew.traces.follow(b"a", 1)
    said(lines)
    crew.traces.hear(0, crew.token(), {})
    assert said(lines)[0]["trace"] == {"worker": 0, **dict.fromkeys(ROW), "steps": []}

"""What changed between two looks, by key."""

from __future__ import annotations

import pytest

from uwsgirouter.control.rates import Rate, ranked, rates

Row = dict[str, object]


def row(key: str = "a", node: str = "1", state: str = "up", requests: int | None = 0, **more: object) -> Row:
    return {"key": key, "node": node, "state": state, "in_flight": 1, "requests": requests, **more}


def test_a_rate_is_a_difference_over_time() -> None:
    (found,) = rates([row(requests=10, rx=100, tx=5)], [row(requests=30, rx=100, tx=25, failed_connects=4)], 2.0)
    assert (found.requests, found.rx, found.tx, found.failed_connects) == (10.0, 0.0, 10.0, 2.0)
    assert (found.total, found.in_flight, found.nodes, found.out) == (30, 1, 1, 0)


@pytest.mark.parametrize(
    ("before", "now", "grown"),
    [
        ([], 8, 8),
        ([row(node="2", requests=7)], 8, 8),
        ([row(requests=9)], 8, 8),
        ([row(requests=8)], 8, 0),
        ([], None, 0),
    ],
)
def test_what_was_not_there_or_was_replaced_counts_from_nothing(before: list[Row], now: int | None, grown: int) -> None:
    (found,) = rates(before, [row(requests=now)], 1.0)
    assert found.requests == grown


def test_keys_are_added_up_and_gone_ones_are_gone() -> None:
    before = [row(requests=1), row(key="gone", requests=9)]
    now = [row(requests=2), row(node="2", state="down", requests=3), row(key="b", state="unconfirmed", in_flight=None)]
    a, b = rates(before, now, 1.0)
    assert (a.key, a.nodes, a.out, a.requests, a.states) == ("a", 2, 1, 4.0, {"up", "down"})
    assert (b.key, b.out, b.in_flight) == ("b", 0, 0)


def test_orders() -> None:
    busy = Rate("busy", requests=9.0, in_flight=1)
    failing = Rate("failing", failed_connects=1.0)
    out, quiet = Rate("out", out=1), Rate("quiet", in_flight=5)
    found = [quiet, out, failing, busy]
    assert [rate.key for rate in ranked(found, "rate")] == ["busy", "quiet", "failing", "out"]
    assert [rate.key for rate in ranked(found, "failures")] == ["failing", "out", "busy", "quiet"]
    assert [rate.key for rate in ranked(found, "sessions")] == ["quiet", "busy", "failing", "out"]

"""Failures by cause: how many there were in the last minute, and the last one, whatever a worker says."""

from __future__ import annotations

import pytest

from uwsgirouter.master.troubles import MINUTE, PARTS, Troubles
from uwsgirouter.model.counters import MEMORY_BYTES, Counter, Counters
from uwsgirouter.protocol.answers import Cause

CAUSES = list(Cause)


@pytest.fixture
def counters() -> Counters:
    made = Counters(memoryview(bytearray(MEMORY_BYTES)))
    for row in (0, 3):
        made.row(row)[Counter.USED] = 1
    return made


def fail(counters: Counters, row: int, cause: Cause, times: int) -> None:
    counters.row(row)[Counter.FAILURES + CAUSES.index(cause)] += times


def test_the_last_minute(counters: Counters) -> None:
    requests = 0
    troubles = Troubles(counters, lambda: {"requests": requests})
    fail(counters, 0, Cause.NO_NODE, 7)
    assert [(row["cause"], row["last_minute"], row["total"]) for row in troubles.rows()] == [("no-node", 7, 7)]
    assert troubles.lately() == {"requests": 0}
    for second in range(2 * MINUTE):
        troubles.tick(100.0 + second)
    requests = 9
    fail(counters, 3, Cause.CONNECT_FAILED, 2)
    fail(counters, 0, Cause.CONNECT_FAILED, 1)
    rows = [(row["cause"], row["last_minute"], row["total"], row["status"]) for row in troubles.rows()]
    assert rows == [("connect-failed", 3, 3, 502), ("no-node", 0, 7, 503)], "the most frequent of the minute first"
    assert troubles.lately() == {"requests": 9}
    for second in range(MINUTE + MINUTE // PARTS + 1):
        troubles.tick(300.0 + second)
    assert [row["last_minute"] for row in troubles.rows()] == [0, 0]
    assert troubles.lately() == {"requests": 0}


def test_the_last_one(counters: Counters) -> None:
    troubles = Troubles(counters)
    fail(counters, 0, Cause.NO_NODE, 1)
    troubles.tell(2, ["no-node", "a.example", "", "why", "id1"])
    troubles.tell(4, ["no-node", "b.example" + "x" * 1000, "", "", "id2"])
    (row,) = troubles.rows()
    last = row["last"]
    assert isinstance(last, dict)
    assert (last["worker"], last["id"]) == (4, "id2")
    assert last["key"].startswith("b.example") and len(last["key"]) == 300


@pytest.mark.parametrize(
    "told",
    [
        [],
        ["no-node"],
        ["no-node", "a", "", "", 7],
        ["no-node", None, "", "", ""],
        ["no-such-cause", "a", "", "", ""],
        [["no-node"], "a", "", "", ""],
        ["no-node", "a", "", "", "", "more"],
    ],
)
def test_nonsense_is_dropped(counters: Counters, told: list[object]) -> None:
    troubles = Troubles(counters)
    fail(counters, 0, Cause.NO_NODE, 1)
    troubles.tell(1, told)
    assert "last" not in troubles.rows()[0]

"""Which failure has a cause, and how many sessions there must be."""

from __future__ import annotations

import math

import pytest

from scripts.soak import diary as module
from scripts.soak.diary import BROKEN_OFF, CUT, NODE_DIED, RESET, Diary, Visit


class Clock:
    """In the place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def diary(clock: Clock) -> Diary:
    return Diary()


def visit(diary: Diary, clock: Clock, begun: float, ended: float, trouble: str, key: str = "a") -> Visit:
    """One from second to second."""
    clock.now = begun
    made = diary.begin("download", key)
    clock.now = ended
    diary.end(made, trouble)
    return made


def fault(diary: Diary, clock: Clock, begun: float, ended: float, leads_to: frozenset[str], *keys: str) -> None:
    clock.now = begun
    with diary.fault("a node was killed", frozenset(keys), leads_to):
        clock.now = ended


@pytest.mark.parametrize(("begun", "ended"), [(1001.0, 1010.0), (1004.0, 1005.0), (1005.5, 1007.0), (1006.0, 1006.0)])
def test_a_failure_at_the_time_of_its_cause_is_explained(
    diary: Diary, clock: Clock, begun: float, ended: float
) -> None:
    fault(diary, clock, 1005.0, 1006.0, NODE_DIED, "a")
    visit(diary, clock, begun, ended, CUT)
    diary.settle(1100.0)
    assert diary.findings == []
    assert diary.explained == {f"{CUT}, a node was killed": 1}


@pytest.mark.parametrize(
    ("begun", "ended", "trouble", "key"),
    [
        (1001.0, 1004.9, CUT, "a"),
        (1006.1, 1008.0, CUT, "a"),
        (1005.0, 1006.0, "wrong bytes: 1 of 2", "a"),
        (1005.0, 1006.0, "504 connect-timeout", "a"),
        (1005.0, 1006.0, CUT, "b"),
    ],
)
def test_any_other_failure_is_a_finding(
    diary: Diary, clock: Clock, begun: float, ended: float, trouble: str, key: str
) -> None:
    fault(diary, clock, 1005.0, 1006.0, NODE_DIED, "a")
    visit(diary, clock, begun, ended, trouble, key)
    diary.settle(1100.0)
    (finding,) = diary.findings
    assert f"download at {key}: {trouble} after" in finding
    assert diary.explained == {}


def test_a_killed_worker_hurts_any_key_but_makes_no_answers(diary: Diary, clock: Clock) -> None:
    fault(diary, clock, 1005.0, 1006.0, BROKEN_OFF)
    for trouble in (RESET, CUT, "502 node-closed"):
        visit(diary, clock, 1005.0, 1006.0, trouble)
    diary.settle(1100.0)
    assert len(diary.findings) == 1 and "502 node-closed" in diary.findings[0]


def test_nothing_is_judged_before_its_time(diary: Diary, clock: Clock) -> None:
    """The cause of a failure may be written down after it."""
    visit(diary, clock, 1005.0, 1006.0, CUT)
    diary.settle(1005.9)
    assert diary.findings == []
    fault(diary, clock, 1005.5, 1006.5, NODE_DIED)
    diary.settle(1100.0)
    assert diary.findings == [] and diary.explained.total() == 1


def test_bounds_of_sessions(diary: Diary, clock: Clock) -> None:
    visit(diary, clock, 1000.0, 1003.0, "")
    held = diary.begin("stream", "s")
    held.held_since = 1004.0
    assert diary.bounds(1001.0, 1002.0) == {"a": (0, 1), "s": (0, 0)}
    assert diary.bounds(1003.5, 1004.5) == {"a": (0, 0), "s": (0, 1)}
    assert diary.bounds(1005.0, 1006.0) == {"a": (0, 0), "s": (1, 1)}
    held.held_since = math.inf
    assert diary.bounds(1005.0, 1007.0)["s"] == (0, 1)
    assert diary.under_way() == 1


def test_a_client_may_not_have_noticed_yet_that_it_is_cut(diary: Diary, clock: Clock) -> None:
    clock.now = 1000.0
    held = diary.begin("stream", "s")
    held.held_since = held.heard = 1001.0
    fault(diary, clock, 1005.0, 1005.1, NODE_DIED, "s")
    assert diary.bounds(1003.0, 1004.0) == {"s": (1, 1)}
    assert diary.bounds(1005.2, 1005.3) == {"s": (0, 1)}
    held.heard = 1005.2
    assert diary.bounds(1005.3, 1005.4) == {"s": (1, 1)}
    fault(diary, clock, 1007.0, 1007.1, NODE_DIED, "a")
    assert diary.bounds(1007.3, 1007.4) == {"s": (1, 1)}

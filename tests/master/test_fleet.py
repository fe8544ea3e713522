"""The fleet's decisions, with the time given by hand: who is missing, who is too many, who is late, who waits."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import hypothesis_profiles
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.master.downlink import Downlink
from uwsgirouter.master.fleet import (
    BACKOFF_FIRST,
    BACKOFF_MOST,
    BOOT_TIMEOUT,
    FLAPPING_DEATHS,
    FLAPPING_WINDOW,
    Fleet,
    Life,
    Member,
    Respawns,
)
from uwsgirouter.model.counters import ROWS
from uwsgirouter.model.table import RouteTable

hypothesis_profiles.load()

Join = Callable[..., Member]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def join(fleet: Fleet) -> Iterator[Join]:
    """Adds a member to the fleet; pid 100 + number unless told."""
    ours, theirs = socket.socketpair()
    downlink = Downlink(ours, RouteTable(WeightedRoundRobin))

    def join(number: int, generation: int = 1, life: Life = Life.SERVING, since: float = 0.0, pid: int = 0) -> Member:
        pid = pid or 100 * generation + number
        member = Member(pid, number, len(fleet.members), generation, downlink, since, life)
        fleet.members[pid] = member
        return member

    yield join
    ours.close()
    theirs.close()


# -- who there is and who there should be ---------------------------------------------------------------------------


def test_an_empty_fleet_misses_all(fleet: Fleet) -> None:
    assert fleet.missing(1, 3) == [1, 2, 3]
    assert fleet.missing(1, 0) == []
    assert fleet.surplus(1, 0) == []
    assert not fleet.ready(1, 3)
    assert fleet.ready(1, 0)
    assert fleet.free_row() == 0


def test_a_member_that_starts_is_not_missing_and_one_that_drains_is(fleet: Fleet, join: Join) -> None:
    join(1, life=Life.STARTING)
    join(2, life=Life.SERVING)
    join(3, life=Life.DRAINING)
    assert [member.number for member in fleet.of(1)] == [1, 2]
    assert fleet.missing(1, 3) == [3]


def test_generations_do_not_mix(fleet: Fleet, join: Join) -> None:
    join(2, generation=1)
    join(1, generation=1)
    join(1, generation=2)
    assert [member.pid for member in fleet.of(1)] == [101, 102]
    assert fleet.missing(2, 2) == [2]
    assert fleet.of(3) == []


def test_surplus_are_the_highest_numbers(fleet: Fleet, join: Join) -> None:
    for number in (4, 1, 3, 2):
        join(number)
    assert [member.number for member in fleet.surplus(1, 2)] == [3, 4]
    assert fleet.missing(1, 2) == []


def test_ready_when_all_serve(fleet: Fleet, join: Join) -> None:
    first, second = join(1), join(2, life=Life.STARTING)
    assert not fleet.ready(1, 2)
    second.life = Life.SERVING
    assert fleet.ready(1, 2)
    first.life = Life.DRAINING
    assert not fleet.ready(1, 2)
    join(3)
    assert not fleet.ready(1, 2), "two serve, but number 1 does not"


def test_rows_of_the_living_are_not_free(fleet: Fleet, join: Join) -> None:
    for number in range(3):
        join(number + 1, life=Life.DRAINING)
    assert fleet.free_row() == 3
    del fleet.members[102]
    assert fleet.free_row() == 1


def test_no_row_left(fleet: Fleet, join: Join) -> None:
    for number in range(ROWS):
        join(number + 1, pid=number + 1)
    assert fleet.free_row() is None


# -- who is late ----------------------------------------------------------------------------------------------------


def late(fleet: Fleet, now: float, beats: dict[int, float] | None = None, harakiri: float = 60.0) -> dict[int, str]:
    return {overdue.member.number: overdue.reason for overdue in fleet.overdue(now, harakiri, beats or {})}


def test_one_that_beats_is_never_late(fleet: Fleet, join: Join) -> None:
    member = join(1, since=0.0)
    assert late(fleet, 1000.0, {member.pid: 999.0}) == {}
    assert late(fleet, 1059.0, {member.pid: 999.0}) == {}
    assert late(fleet, 1059.5, {member.pid: 999.0}) == {1: "gave no sign of life for 60 seconds"}


def test_the_time_without_a_beat_counts_from_its_start(fleet: Fleet, join: Join) -> None:
    member = join(1, since=500.0)
    assert late(fleet, 560.0) == {}
    assert late(fleet, 560.0, {member.pid: 3.0}) == {}, "the beat is of a former worker of its row"
    assert late(fleet, 560.5, {member.pid: 3.0}) == {1: "gave no sign of life for 60 seconds"}


def test_one_that_does_not_boot(fleet: Fleet, join: Join) -> None:
    member = join(1, life=Life.STARTING, since=100.0)
    assert late(fleet, 100.0 + BOOT_TIMEOUT) == {}
    assert late(fleet, 100.5 + BOOT_TIMEOUT, {member.pid: 130.0}) == {1: "was not ready after 30 seconds"}
    assert late(fleet, 110.5, harakiri=10.0) == {1: "gave no sign of life for 10 seconds"}


def test_one_that_drains_too_long(fleet: Fleet, join: Join) -> None:
    member = join(1, life=Life.DRAINING)
    member.deadline = 200.0
    assert late(fleet, 199.9, {member.pid: 199.0}) == {}
    assert late(fleet, 200.0, {member.pid: 199.0}) == {1: "did not finish in time"}


def test_one_that_hangs_while_it_drains(fleet: Fleet, join: Join) -> None:
    member = join(1, life=Life.DRAINING)
    member.deadline = 5000.0
    assert late(fleet, 161.0, {member.pid: 100.0}) == {1: "gave no sign of life for 60 seconds"}


def test_each_is_named_once(fleet: Fleet, join: Join) -> None:
    for number in range(1, 4):
        join(number, life=Life.STARTING).deadline = 10.0
    found = fleet.overdue(1000.0, 60.0, {})
    assert sorted(overdue.member.number for overdue in found) == [1, 2, 3]


# -- deaths ---------------------------------------------------------------------------------------------------------


def test_nine_deaths_are_replaced_at_once() -> None:
    respawns = Respawns()
    assert [respawns.died(100.0 + n) for n in range(FLAPPING_DEATHS - 1)] == [0.0] * 9
    assert respawns.not_before <= 100.0
    assert respawns.deaths == 9


def test_from_the_tenth_on_the_wait_doubles_up_to_its_most() -> None:
    respawns = Respawns()
    delays = [respawns.died(100.0 + n / 100) for n in range(20)]
    assert delays == [0.0] * 9 + [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0]
    assert respawns.not_before == pytest.approx(100.19 + BACKOFF_MOST)


def test_not_before_is_the_moment_of_the_next_start() -> None:
    respawns = Respawns()
    for _ in range(9):
        respawns.died(100.0)
    assert respawns.died(101.0) == BACKOFF_FIRST
    assert respawns.not_before == 101.5


def test_the_window_slides() -> None:
    respawns = Respawns()
    for n in range(9):
        respawns.died(100.0 + n)
    assert respawns.died(100.0 + FLAPPING_WINDOW) == BACKOFF_FIRST, "the first one is still in the window"
    respawns = Respawns()
    for n in range(9):
        respawns.died(100.0 + n)
    assert respawns.died(100.5 + FLAPPING_WINDOW) == 0.0
    assert respawns.deaths == 9


def test_a_quiet_minute_forgives() -> None:
    respawns = Respawns()
    for _ in range(14):
        respawns.died(100.0)
    assert respawns.died(500.0) == 0.0
    assert respawns.deaths == 1
    assert [respawns.died(500.0) for _ in range(9)] == [0.0] * 8 + [BACKOFF_FIRST]


def test_a_death_every_seven_seconds_is_never_flapping() -> None:
    respawns = Respawns()
    assert {respawns.died(100.0 + 7 * n) for n in range(100)} == {0.0}


def test_who_dies_at_each_start_is_not_forgiven_for_having_waited() -> None:
    respawns = Respawns()
    now = 100.0
    delays = []
    for _ in range(60):
        delays.append(respawns.died(now))
        now += delays[-1] + 0.1
    assert delays[9:16] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(delays[16:]) == {BACKOFF_MOST}


@given(st.lists(st.floats(0, 90), max_size=80))
def test_any_deaths(steps: list[float]) -> None:
    """The wait is none until ten are in the window; then it grows until a window without a death."""
    respawns = Respawns()
    now, times, last = 1000.0, list[float](), 0.0
    for step in steps:
        now += step
        times.append(now)
        delay = respawns.died(now)
        recent = sum(1 for time in times if now - time <= FLAPPING_WINDOW)
        assert respawns.deaths == recent
        if step > FLAPPING_WINDOW:
            last = 0.0
        if recent < FLAPPING_DEATHS and not last:
            assert delay == 0.0
        else:
            assert delay == min(BACKOFF_MOST, 2 * last or BACKOFF_FIRST)
            assert respawns.not_before == now + delay
        last = delay

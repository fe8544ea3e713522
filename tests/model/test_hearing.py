"""Silence proves nothing for the time in which somebody may have spoken unheard, but it proves something in the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.model.hearing import BOUND, PERFECT, Hearing

T = 17.0
TIMES = st.floats(0, 200, allow_nan=False).map(lambda seconds: round(seconds, 1))


@pytest.mark.parametrize(("seen", "now", "silent"), [(0, 17, False), (0, 17.1, True), (10, 27, False), (10, 28, True)])
def test_who_hears_everything(seen: float, now: float, silent: bool) -> None:
    assert PERFECT.is_silent(seen, now, T) is silent


def test_a_loss_begins_the_silence_anew() -> None:
    hearing = Hearing(missed=10)
    assert not hearing.is_silent(0, 27, T)
    assert hearing.is_silent(0, 27.1, T)


def test_a_loss_before_the_last_word_is_no_excuse() -> None:
    assert Hearing(missed=10).is_silent(20, 37.1, T)


def test_what_waits_unread_may_be_the_missing_word() -> None:
    """A master that was stopped for a minute has not heard what waits; it is read before anybody is removed."""
    assert not Hearing(until=5).is_silent(0, 50, T)
    assert Hearing(until=18).is_silent(0, 50, T)


@pytest.mark.parametrize("hearing", [Hearing(missed=1000), Hearing(until=0), Hearing(0, 1000)])
def test_nobody_is_waited_for_for_ever(hearing: Hearing) -> None:
    assert not hearing.is_silent(0, BOUND * T, T)
    assert hearing.is_silent(0, BOUND * T + 0.1, T)


@given(until=TIMES, missed=TIMES, now=TIMES, one=TIMES, other=TIMES)
def test_who_was_heard_of_later_is_not_silent_before_others(
    until: float, missed: float, now: float, one: float, other: float
) -> None:
    """So it is enough to look at the node that was heard of longest ago."""
    hearing = Hearing(until, missed)
    earlier, later = sorted((one, other))
    assert hearing.is_silent(earlier, now, T) or not hearing.is_silent(later, now, T)


@given(until=TIMES, missed=TIMES, now=TIMES, seen=TIMES)
def test_bad_hearing_only_ever_gives_more_time(until: float, missed: float, now: float, seen: float) -> None:
    if Hearing(until, missed).is_silent(seen, now, T):
        assert PERFECT.is_silent(seen, now, T)

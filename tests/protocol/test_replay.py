"""Replay protection: what was accepted once is never accepted again, and honest nodes are not held up."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol import replay
from uwsgirouter.protocol.replay import Replays

NOW = 1_700_000_000
DAY = 86400.0


def admit(
    replays: Replays,
    unix: int,
    signed: bytes = b"",
    key: bytes = b"foo.com",
    address: str = "/a",
    now: float = NOW,
    tolerance: float = DAY,
    leaving: bool = False,
) -> str:
    """The reason of the refusal, or nothing. What is signed is another text for every clock and address."""
    try:
        replays.admit(key, address, unix, signed or b"%d %b" % (unix, address.encode()), now, tolerance, leaving)
    except ProtocolError as error:
        return error.reason
    return ""


def test_announcements_every_ten_seconds() -> None:
    replays = Replays()
    assert [admit(replays, NOW + n * 10, now=NOW + n * 10) for n in range(50)] == [""] * 50
    assert len(replays) == 1


def test_each_is_accepted_once() -> None:
    replays = Replays()
    assert [admit(replays, NOW), admit(replays, NOW), admit(replays, NOW)] == ["", "replayed", "replayed"]


def test_a_later_one_cannot_be_replayed_either() -> None:
    """uWSGI compares with the first announcement only."""
    replays = Replays()
    for unix in (NOW, NOW + 10, NOW + 20):
        assert admit(replays, unix) == ""
    assert [admit(replays, unix) for unix in (NOW, NOW + 10, NOW + 20)] == ["replayed"] * 3


def test_a_node_that_left_stays_known() -> None:
    """uWSGI forgets it, and takes its old announcement for that of a new node."""
    replays = Replays()
    assert admit(replays, NOW, b"here") == ""
    assert admit(replays, NOW + 11, b"gone") == ""
    assert admit(replays, NOW, b"here", now=NOW + 60) == "replayed"
    assert admit(replays, NOW + 12, b"here again", now=NOW + 60) == ""


def test_back_within_the_second_of_its_leave() -> None:
    """It leaves at NOW + 0.2 (uWSGI dates that NOW + 1) and is back at NOW + 0.7: other bytes, the clock NOW."""
    replays = Replays()
    assert admit(replays, NOW - 10, b"here") == ""
    assert admit(replays, NOW + 1, b"gone") == ""
    assert admit(replays, NOW, b"here again") == ""
    assert admit(replays, NOW, b"here again") == "replayed"
    assert admit(replays, NOW - 1, b"delayed") == "replayed"


def test_back_in_the_second_after_its_leave() -> None:
    """Then it signs what its farewell signed: the same variables and the same clock, under another command."""
    replays = Replays()
    assert admit(replays, NOW - 10) == ""
    assert admit(replays, NOW + 1, leaving=True) == ""
    assert admit(replays, NOW + 1, now=NOW + 1.9) == ""
    assert admit(replays, NOW + 1, now=NOW + 1.9) == "replayed", "it came back once"
    assert admit(replays, NOW + 1, now=NOW + 1.9, leaving=True) == "replayed", "and cannot be sent away by that"


def test_here_gone_and_back_in_one_second() -> None:
    replays = Replays()
    assert admit(replays, NOW, now=NOW + 0.1) == ""
    assert admit(replays, NOW + 1, now=NOW + 0.2, leaving=True) == ""
    assert admit(replays, NOW, now=NOW + 0.9) == ""
    assert admit(replays, NOW, now=NOW + 0.9) == "replayed"
    assert admit(replays, NOW - 1, now=NOW + 0.9) == "replayed"


def test_a_farewell_brings_nobody_back_later() -> None:
    replays = Replays()
    assert admit(replays, NOW + 1, leaving=True) == ""
    assert admit(replays, NOW + 1, now=NOW + replay.RETURN + 0.1) == "replayed"
    assert admit(replays, NOW + 2, now=NOW + 1.5) == ""
    assert admit(replays, NOW + 1, now=NOW + 1.6) == "replayed", "it is back already"


def test_an_announcement_sends_nobody_away() -> None:
    replays = Replays()
    assert admit(replays, NOW) == ""
    assert admit(replays, NOW, leaving=True) == "replayed"


def test_two_in_a_second_with_other_bytes() -> None:
    replays = Replays()
    assert [admit(replays, NOW, b"load 1"), admit(replays, NOW, b"load 2")] == ["", ""]


def test_nodes_and_keys_have_clocks_of_their_own() -> None:
    replays = Replays()
    assert admit(replays, NOW + 100) == ""
    assert admit(replays, NOW, address="/b") == ""
    assert admit(replays, NOW, key=b"bar.com") == ""
    assert len(replays) == 3


@pytest.mark.parametrize(
    ("unix", "reason"),
    [
        (NOW - 60, ""),
        (NOW + 60, ""),
        (NOW - 61, "bad time"),
        (NOW + 61, "bad time"),
        (0, "bad time"),
        ((1 << 63) - 1, "bad time"),
    ],
)
def test_the_tolerance(unix: int, reason: str) -> None:
    assert admit(Replays(), unix, tolerance=60.0) == reason


def test_a_known_node_has_no_other_tolerance() -> None:
    replays = Replays()
    assert admit(replays, NOW, tolerance=60.0) == ""
    assert admit(replays, NOW + 1, now=NOW + 100, tolerance=60.0) == "bad time"


def test_what_is_refused_leaves_no_trace() -> None:
    replays = Replays()
    admit(replays, NOW + 61, tolerance=60.0)
    replays.check(b"foo.com", "/a", NOW, b"text", NOW, DAY)
    assert len(replays) == 0
    assert admit(replays, NOW) == ""
    admit(replays, NOW - 5)
    assert admit(replays, NOW + 1) == ""


def test_a_burst_within_the_window_is_bounded() -> None:
    replays = Replays()
    reasons = [admit(replays, NOW, b"%d" % n) for n in range(replay.SEEN_MAX + 2)]
    assert reasons == [""] * replay.SEEN_MAX + ["too often"] * 2
    assert admit(replays, NOW + 2) == "", "time goes on"


def test_nodes_are_forgotten_when_nothing_of_them_can_be_replayed() -> None:
    replays = Replays()
    admit(replays, NOW, address="/old")
    admit(replays, NOW + 50, address="/new", now=NOW + 50)
    replays.forget(NOW + 60, 60.0)
    assert len(replays) == 2, "the old one could be replayed still"
    replays.forget(NOW + 61, 60.0)
    assert [address for _, address, _ in replays.rows()] == ["/new"]
    assert admit(replays, NOW, address="/old", now=NOW + 61, tolerance=60.0) == "bad time"
    replays.forget(NOW + 1000, 60.0)
    assert (len(replays), list(replays.rows())) == (0, [])


def test_a_key_with_too_many_nodes_forgets_the_oldest_and_nothing_of_it_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "NODES_MAX", 3)
    replays = Replays()
    for number in range(4):
        assert admit(replays, NOW + number * 10, address=f"/{number}") == ""
    assert len(replays) == 3
    assert admit(replays, NOW, address="/0") == "replayed"
    assert admit(replays, NOW + 10, address="/1") == "replayed"
    assert admit(replays, NOW + 1, address="/5") == ""
    assert admit(replays, NOW, address="/5") == "replayed", "the window does not reach below the floor"


def test_after_a_restart_only_newer_ones_pass() -> None:
    before, after = Replays(), Replays()
    admit(before, NOW)
    admit(before, NOW + 5, b"x", b"bar.com", "/b")
    after.restore(before.rows())
    assert sorted(after.rows()) == [(b"bar.com", "/b", NOW + 5), (b"foo.com", "/a", NOW)]
    assert admit(after, NOW, b"unseen") == "replayed"
    assert admit(after, NOW + 1) == ""
    assert admit(after, NOW, b"unseen") == "replayed"
    again = Replays()
    again.restore(Replays().rows())
    assert len(again) == 0


def test_the_floor_survives_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "NODES_MAX", 1)
    before, after = Replays(), Replays()
    admit(before, NOW, address="/0")
    admit(before, NOW + 10, address="/1")
    after.restore(before.rows())
    assert admit(after, NOW, address="/0") == "replayed"


steps = st.tuples(
    st.sampled_from([b"a.com", b"b.com"]),
    st.sampled_from(["/1", "/2", "/3"]),
    st.integers(0, 12),
    st.integers(0, 2),
    st.booleans(),
)


@given(st.lists(st.one_of(steps, st.just("restart"), st.just("forget")), max_size=60), st.integers(1, 3))
def test_nothing_is_accepted_twice(events: list[object], most: int) -> None:
    """Any order, any repetition, nodes forgotten for room, and restarts in between.

    But for a return: as often as a node left, one announcement of it may be accepted again.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "NODES_MAX", most)
        replays, accepted, left = Replays(), set[bytes](), Counter[tuple[bytes, str]]()
        for event in events:
            if event == "restart":
                restored = Replays()
                restored.restore(replays.rows())
                replays = restored
            elif event == "forget":
                replays.forget(NOW + 12, 30.0)
            else:
                assert isinstance(event, tuple)
                key, address, second, variant, leaving = event
                signed = b"%b %b %d %d" % (key, address.encode(), second, variant)
                if not admit(replays, NOW + second, signed, key, address, NOW + 12, 30.0, leaving):
                    if signed in accepted:
                        assert not leaving
                        left[key, address] -= 1
                        assert left[key, address] >= 0
                    left[key, address] += leaving
                    accepted.add(signed)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
def test_an_honest_node_with_a_growing_clock_is_never_refused(gaps: list[int]) -> None:
    replays, clock = Replays(), NOW
    for gap in gaps:
        clock += gap + 1
        assert admit(replays, clock, now=clock) == ""


def test_nodes_of_all_keys_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds the key of a host may sign for any mount point below it."""
    monkeypatch.setattr(replay, "ALL_MAX", 3)
    replays = Replays()
    assert [admit(replays, NOW, key=b"foo.com/%d" % n) for n in range(5)] == [""] * 3 + ["too many nodes"] * 2
    assert len(replays) == 3
    assert admit(replays, NOW + 5, key=b"foo.com/1") == "", "those that are known go on"
    replays.forget(NOW + DAY + 1, DAY)
    assert len(replays) == 1
    assert admit(replays, NOW + 5, key=b"foo.com/4") == ""
    kept = Replays()
    kept.restore(replays.rows())
    assert len(kept) == 2

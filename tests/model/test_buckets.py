"""Token buckets by key: who passes, who waits how long, who is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.model.buckets import Buckets, Rate, memory_bytes
from uwsgirouter.model.shelf import WAYS, Spots

SECOND = 1_000_000_000
TEN = Rate(SECOND // 10, 20)


class Free:
    """Locks that nobody holds; or, ``stuck``, that somebody holds who does not move."""

    def __init__(self) -> None:
        self.stuck = False
        self.held: set[int] = set()

    def enter(self, stripe: int) -> bool:
        assert stripe not in self.held
        if not self.stuck:
            self.held.add(stripe)
        return not self.stuck

    def leave(self, stripe: int) -> None:
        self.held.remove(stripe)


def made(keys: int = 1024) -> tuple[Buckets, Free]:
    locks = Free()
    return Buckets(memoryview(bytearray(memory_bytes(keys))), keys, b"secret", locks), locks


def passed(buckets: Buckets, key: bytes, now: int, rate: Rate = TEN, limit: bytes = b"one") -> bool:
    return buckets.take(limit, key, rate, now) <= 0


def test_a_burst_passes_then_the_rate() -> None:
    buckets, locks = made()
    now = 5 * SECOND
    assert [passed(buckets, b"k", now) for _ in range(25)] == [True] * 20 + [False] * 5
    assert [passed(buckets, b"k", now + SECOND) for _ in range(15)] == [True] * 10 + [False] * 5
    assert sum(passed(buckets, b"k", now + 1000 * SECOND) for _ in range(50)) == 20
    assert not locks.held


def test_who_is_refused_may_come_again_when_it_was_told() -> None:
    buckets, _ = made()
    for _ in range(20):
        assert passed(buckets, b"k", SECOND)
    wait = buckets.take(b"one", b"k", TEN, SECOND + 7)
    assert wait == SECOND // 10 - 7
    assert not passed(buckets, b"k", SECOND + 6 + wait)
    assert passed(buckets, b"k", SECOND + 7 + wait)


def test_what_is_left_is_told() -> None:
    buckets, _ = made()
    left = [-buckets.take(b"one", b"k", TEN, SECOND) // TEN.interval for _ in range(20)]
    assert left == list(range(19, -1, -1))


def test_keys_and_limits_have_buckets_of_their_own() -> None:
    buckets, _ = made()
    once = Rate(SECOND, 1)
    assert [passed(buckets, key, SECOND, once, limit) for key in (b"a", b"b") for limit in (b"x", b"y")] == [True] * 4
    assert not any(passed(buckets, key, SECOND, once, limit) for key in (b"a", b"b") for limit in (b"x", b"y"))
    spots = Spots(b"secret")
    assert spots(b"ab", b"c") != spots(b"a", b"bc")
    assert spots(b"a", b"b") == Spots(b"secret")(b"a", b"b") != Spots(b"other")(b"a", b"b")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3 * SECOND)), max_size=80), st.integers(1, 5))
def test_it_is_a_token_bucket(steps: list[tuple[int, int]], burst: int) -> None:
    """Against the definition: a bucket of so many tokens into which one drips each interval."""
    buckets, _ = made()
    rate = Rate(SECOND, burst)
    level: dict[int, int] = {}
    seen: dict[int, int] = {}
    now = 10**15
    for key, pause in steps:
        now += pause
        most = burst * SECOND
        level[key] = min(most, level.get(key, most) + now - seen.get(key, now))
        seen[key] = now
        may = level[key] >= SECOND
        assert passed(buckets, b"%d" % key, now, rate) is may
        level[key] -= SECOND * may


def test_memory_is_bounded_and_those_who_are_fullest_are_forgotten() -> None:
    """One set: sixteen keys, of which one has used up its burst."""
    buckets, _ = made(WAYS)
    for number in range(WAYS):
        assert passed(buckets, b"%d" % number, SECOND)
    for _ in range(19):
        passed(buckets, b"0", SECOND)
    assert not passed(buckets, b"0", SECOND)
    assert buckets.evicted == 0
    for number in range(10_000):
        passed(buckets, b"new %d" % number, SECOND)
    assert buckets.evicted == 10_000
    assert not passed(buckets, b"0", SECOND), "it is the emptiest bucket"


def test_full_buckets_make_room_for_nothing() -> None:
    buckets, _ = made(WAYS)
    now = SECOND
    for number in range(1000):
        assert passed(buckets, b"%d" % number, now)
        now += TEN.interval
    assert buckets.evicted == 0


def test_a_lock_that_is_not_had_stops_nobody() -> None:
    buckets, locks = made()
    assert passed(buckets, b"k", SECOND)
    locks.stuck = True
    assert [passed(buckets, b"k", SECOND) for _ in range(25)] == [True] * 19 + [False] * 6
    assert all(passed(buckets, b"new", SECOND) for _ in range(25)), "without the lock it gets no bucket"
    locks.stuck = False
    assert sum(passed(buckets, b"new", SECOND) for _ in range(25)) == 20

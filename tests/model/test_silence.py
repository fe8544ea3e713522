"""Who was heard of when, and who is silent: the same as if each node were looked at each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.model.hearing import PERFECT, Hearing
from uwsgirouter.model.silence import Silence

TOLERANCE = 5.0


class Plain:
    """All of it in one dictionary. ``watched``: since when it is, and when it was heard of."""

    def __init__(self) -> None:
        self.heard: dict[int, float] = {}
        self.watched: set[int] = set()

    def silent(self, hearing: Hearing, now: float) -> set[int]:
        return {id for id in self.watched if hearing.is_silent(self.heard[id], now, TOLERANCE)}


numbers = st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("hear"), numbers),
    st.tuples(st.just("unwatch"), numbers),
    st.tuples(st.just("forget"), numbers),
    st.tuples(st.just("wait"), st.sampled_from([0.2, 0.8, 1.0, 2.5, 4.0, 5.0, 20.0])),
    st.tuples(st.just("ask"), st.tuples(st.booleans(), st.sampled_from([None, 0.0, 2.0]), st.sampled_from([0.0, 3.0]))),
)


@given(st.lists(steps, max_size=60))
def test_the_same_as_looking_at_each(taken: list[tuple[str, object]]) -> None:
    silence, plain, now = Silence(), Plain(), 100.3
    for what, argument in taken:
        if what == "wait":
            assert isinstance(argument, float)
            now += argument
        elif what == "ask":
            assert isinstance(argument, tuple)
            drops, missed, behind = argument
            hearing = Hearing(now - behind, float("-inf") if missed is None else now - missed)
            found = silence.silent(hearing, now, TOLERANCE)
            assert set(found) == plain.silent(hearing, now)
            assert [plain.heard[id] for id in found] == sorted(plain.heard[id] for id in found)
            for id in found if drops else ():
                silence.forget(id)
                plain.watched.discard(id)
                del plain.heard[id]
        else:
            assert isinstance(argument, int)
            getattr(silence, what)(argument, *([now] if what == "hear" else []))
            if what == "hear":
                plain.heard[argument] = now
                plain.watched.add(argument)
            else:
                plain.watched.discard(argument)
                if what == "forget":
                    plain.heard.pop(argument, None)
        assert set(silence) == plain.watched
        assert {id for id in range(6) if id in silence} == plain.watched
        assert {id: silence.heard(id) for id in range(6)} == {id: plain.heard.get(id) for id in range(6)}


def test_who_speaks_is_looked_at_once_in_its_tolerance() -> None:
    silence = Silence()
    looks = 0

    class Counted(Hearing):
        def is_silent(self, seen: float, now: float, tolerance: float) -> bool:
            nonlocal looks
            looks += 1
            return super().is_silent(seen, now, tolerance)

    for second in range(1000):
        for id in range(100):
            silence.hear(id, float(second))
        assert silence.silent(Counted(), float(second), 10.0) == []
    assert looks < 1000 + 2 * 100 * 1000 / 10


def test_a_number_may_be_given_again() -> None:
    silence = Silence()
    silence.hear(0, 1.0)
    silence.forget(0)
    silence.hear(0, 9.0)
    assert silence.silent(PERFECT, 10.0, TOLERANCE) == []
    assert silence.silent(PERFECT, 14.5, TOLERANCE) == [0]

"""Which keys have metrics of their own: the busiest ones, and nothing that was shown ever goes down."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.model.measures import ROW_CELLS, STATUS, Row, requests_of
from uwsgirouter.stats.naming import Named, name
from uwsgirouter.stats.picture import Naming

NOBODY = [0] * ROW_CELLS


def row(requests: int) -> Row:
    cells = [0] * ROW_CELLS
    cells[STATUS + 2] = requests
    return cells


def named(counts: dict[bytes, int], most: int, before: Naming | None = None) -> Named:
    return name({key: row(count) for key, count in counts.items()}, NOBODY, most, before or Naming())


def test_the_busiest_have_names() -> None:
    found = named({b"a": 5, b"b": 50, b"c": 20}, 2)
    assert found.naming.keys == (b"b", b"c")
    assert requests_of(found.other) == 5


def test_a_name_stays_until_somebody_has_twice_as_many() -> None:
    before = named({b"a": 10, b"b": 50}, 2).naming
    assert named({b"a": 10, b"b": 50, b"c": 20}, 2, before).naming.keys == (b"b", b"a")
    later = named({b"a": 10, b"b": 50, b"c": 21}, 2, before)
    assert later.naming.keys == (b"b", b"c")
    assert requests_of(later.other) == 0, "what a has counted until now does not come as if it happened now"
    assert requests_of(named({b"a": 12, b"b": 50, b"c": 21}, 2, later.naming).other) == 2


def test_a_new_key_is_no_part_of_the_others_while_there_is_room() -> None:
    before = named({b"a": 10}, 3).naming
    found = named({b"a": 10, b"b": 7}, 3, before)
    assert requests_of(found.other) == 0
    assert found.naming.keys == (b"a", b"b")


def test_more_names_are_allowed_after_a_reload() -> None:
    before = named({b"a": 10, b"b": 7, b"c": 3}, 1)
    assert requests_of(before.other) == 10
    found = named({b"a": 10, b"b": 8, b"c": 3}, 3, before.naming)
    assert set(found.naming.keys) == {b"a", b"b", b"c"}
    assert requests_of(found.other) >= 10


def test_no_names_at_all() -> None:
    found = named({b"a": 10}, 0)
    assert not found.rows
    assert requests_of(found.other) == 10


COUNTS = st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), st.integers(0, 50))


@given(st.lists(st.tuples(COUNTS, st.integers(0, 4)), max_size=12))
def test_no_number_goes_down(steps: list[tuple[dict[bytes, int], int]]) -> None:
    """Whatever the keys do, and however many names there may be from one look to the next."""
    counts: dict[bytes, int] = {}
    naming = Naming()
    other = 0
    shown: dict[bytes, int] = {}
    for more, most in steps:
        for key, count in more.items():
            counts[key] = counts.get(key, 0) + count
        found = named(counts, most, naming)
        naming = found.naming
        assert len(naming.keys) <= most
        assert requests_of(found.other) >= other
        other = requests_of(found.other)
        for key, cells in found.rows.items():
            assert requests_of(cells) == counts[key] >= shown.get(key, 0)
            shown[key] = counts[key]
        assert other + sum(counts[key] for key in found.rows) >= sum(counts.values()) - sum(
            count for key, count in counts.items() if key not in found.rows
        )

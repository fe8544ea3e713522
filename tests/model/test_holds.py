"""Requests under way by key, over several workers."""

from __future__ import annotations

from tests.model.test_buckets import Free
from uwsgirouter.model import holds
from uwsgirouter.model.holds import CELLS, FULL, MEMORY_BYTES, UNCOUNTED, Holds
from uwsgirouter.model.shelf import WAYS


def made(rows: int = 2) -> tuple[list[Holds], bytearray, Free]:
    memory, locks = bytearray(MEMORY_BYTES), Free()
    return [Holds(memoryview(memory), row, b"secret", locks) for row in range(rows)], memory, locks


def test_the_workers_count_together() -> None:
    (one, two), _, locks = made()
    cells = [one.take(b"l", b"k", 3), two.take(b"l", b"k", 3), two.take(b"l", b"k", 3)]
    assert len(set(cells)) == 1
    assert cells[0] >= 0
    assert one.take(b"l", b"k", 3) == two.take(b"l", b"k", 3) == FULL
    assert one.take(b"l", b"other", 3) >= 0
    assert one.count(b"l", b"k") == two.count(b"l", b"k") == 3
    two.release(cells[1])
    assert one.take(b"l", b"k", 3) == cells[0]
    assert one.take(b"l", b"k", 3) == FULL
    assert not locks.held


def test_a_row_that_is_cleared_is_over() -> None:
    (one, two), memory, _ = made()
    for _ in range(3):
        two.take(b"l", b"k", 5)
    assert one.count(b"l", b"k") == 3
    start = holds.ROWS_AT + holds.ROW_BYTES
    memory[start : start + holds.ROW_BYTES] = bytes(holds.ROW_BYTES)
    memory[1] = 0
    assert one.count(b"l", b"k") == 0
    assert one.take(b"l", b"k", 1) >= 0


def test_a_worker_that_comes_later_is_seen_at_once() -> None:
    memory, locks = bytearray(MEMORY_BYTES), Free()
    one = Holds(memoryview(memory), 0, b"secret", locks)
    assert one.take(b"l", b"k", 2) >= 0
    late = Holds(memoryview(memory), 200, b"secret", locks)
    assert late.take(b"l", b"k", 2) >= 0
    assert one.take(b"l", b"k", 2) == FULL


def test_a_number_is_given_again_when_nobody_holds_it() -> None:
    (one, two), _, _ = made()
    for number in range(CELLS * 2):
        cell = (one, two)[number % 2].take(b"l", b"%d" % number, 1)
        assert cell >= 0
        (one, two)[number % 2].release(cell)


def test_more_keys_than_there_is_room_for_are_not_counted() -> None:
    (one, _), _, _ = made()
    taken = [one.take(b"l", b"%d" % number, 1) for number in range(CELLS + WAYS)]
    lost = taken.count(UNCOUNTED)
    assert WAYS <= lost < CELLS / 8
    assert sorted(set(taken))[1:] == sorted(cell for cell in taken if cell >= 0), "nobody shares a number"
    one.release(UNCOUNTED)


def test_without_the_lock_nobody_gets_a_number() -> None:
    (one, two), _, locks = made()
    cell = one.take(b"l", b"k", 2)
    locks.stuck = True
    assert two.take(b"l", b"k", 2) == cell
    assert two.take(b"l", b"k", 2) == FULL
    assert two.take(b"l", b"new", 2) == UNCOUNTED


def test_who_waits_is_told() -> None:
    (one, two), _, _ = made()
    told: list[int] = []
    one.freed = told.append
    mine, other = one.take(b"l", b"k", 2), two.take(b"l", b"k", 2)
    two.release(other)
    assert told == []
    one.release(mine)
    assert told == [mine]

"""Counters in shared memory: a cell has one writer, columns are added up, a dead worker's row is cleared alone."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import pytest

from uwsgirouter.model.counters import (
    COUNTER_BYTES,
    MEMORY_BYTES,
    NODE_COLUMNS,
    ROW_CELLS,
    ROWS,
    UNNUMBERED,
    Counter,
    Counters,
)


@pytest.fixture
def counters() -> Iterator[Counters]:
    memory = mmap.mmap(-1, MEMORY_BYTES)
    yield Counters(memoryview(memory))
    # the views that tests took keep the mapping: it goes with the last of them


def test_the_layout() -> None:
    assert COUNTER_BYTES == 256 * 64 * 8
    assert MEMORY_BYTES == COUNTER_BYTES + 256 * 65536 * 4
    assert len(set(Counter)) == len(Counter.__members__), "two counters in one cell"


def test_rows_do_not_overlap(counters: Counters) -> None:
    for index in range(ROWS):
        counters.row(index)[0] = counters.row(index)[ROW_CELLS - 1] = index + 1
    assert [counters.read(index, 0) for index in range(ROWS)] == list(range(1, ROWS + 1))
    assert [counters.read(index, ROW_CELLS - 1) for index in range(ROWS)] == list(range(1, ROWS + 1))
    assert len(counters.row(3)) == ROW_CELLS
    assert counters.inflight(0, range(ROWS)) == counters.inflight(NODE_COLUMNS - 1, range(ROWS)) == 0


def test_inflight_rows_do_not_overlap(counters: Counters) -> None:
    for index in (0, 1, 254, 255):
        row = counters.inflight_row(index)
        assert len(row) == NODE_COLUMNS
        row[0] = row[NODE_COLUMNS - 1] = index + 1
    for node in (0, NODE_COLUMNS - 1):
        assert [counters.inflight(node, [index]) for index in (0, 1, 254, 255)] == [1, 2, 255, 256]
        assert counters.inflight(node, [0, 255]) == 257
    assert all(counters.read(index, cell) == 0 for index in range(ROWS) for cell in (0, ROW_CELLS - 1))


def test_totals_are_over_the_named_rows(counters: Counters) -> None:
    for index, value in enumerate([5, 7, 1 << 40]):
        counters.row(index)[Counter.REQUESTS] = value
    assert counters.total(Counter.REQUESTS, [0, 1]) == 12
    assert counters.total(Counter.REQUESTS, range(3)) == 12 + (1 << 40)
    assert counters.total(Counter.REQUESTS, []) == 0
    assert counters.total(Counter.RX, range(3)) == 0


def test_inflight_cells_are_signed(counters: Counters) -> None:
    counters.inflight_row(0)[9] -= 2
    counters.inflight_row(1)[9] += 5
    assert counters.inflight(9, [0, 1]) == 3


@pytest.mark.parametrize("nodes", [0, 1, 10, NODE_COLUMNS])
def test_a_dead_workers_gauges_are_cleared_and_its_totals_kept(counters: Counters, nodes: int) -> None:
    for index in (4, 5, 6):
        row = counters.row(index)
        row[Counter.SESSIONS], row[Counter.BEAT], row[Counter.REQUESTS] = 3, 1000, 70
        inflight = counters.inflight_row(index)
        inflight[0] = inflight[9] = inflight[NODE_COLUMNS - 1] = 2
    counters.release_row(5, nodes)
    assert [counters.read(index, Counter.SESSIONS) for index in (4, 5, 6)] == [3, 0, 3]
    assert [counters.read(index, Counter.BEAT) for index in (4, 5, 6)] == [1000, 0, 1000]
    assert counters.total(Counter.REQUESTS, (4, 5, 6)) == 210
    for node in (0, 9, UNNUMBERED):
        assert counters.inflight(node, [5]) == (0 if node < nodes or node == UNNUMBERED else 2)
        assert counters.inflight(node, [4, 6]) == 4


def test_two_views_of_one_memory_see_each_other() -> None:
    memory = memoryview(bytearray(MEMORY_BYTES))
    ours, theirs = Counters(memory), Counters(memory)
    theirs.row(2)[Counter.REQUESTS] += 11
    theirs.inflight_row(2)[7] += 1
    assert ours.read(2, Counter.REQUESTS) == 11
    assert ours.inflight(7, range(ROWS)) == 1

"""What is counted of nodes: one writer a record, sums over workers, records that are given to other nodes."""

from __future__ import annotations

from uwsgirouter.model.tallies import FAILURES, LAST, REQUESTS, ROW_CELLS, RX, TX, Tallies

ROWS = (0, 1)


def made() -> Tallies:
    """The memory of two workers."""
    return Tallies(memoryview(bytearray(2 * ROW_CELLS * 8)))


def test_workers_count_for_themselves_and_readers_add_up() -> None:
    tallies = made()
    one, two = tallies.row(0), tallies.row(1)
    one.began(3, 1000)
    one.moved(3, 10, 20)
    two.began(3, 900)
    two.began(3, 950)
    two.moved(3, 1, 2)
    two.failed(4)
    assert tallies.column(REQUESTS, ROWS, 5) == [0, 0, 0, 3, 0]
    assert tallies.column(RX, ROWS, 4)[3] == 11
    assert tallies.column(TX, ROWS, 4)[3] == 22
    assert tallies.column(FAILURES, ROWS, 5) == [0, 0, 0, 0, 1]
    assert tallies.column(LAST, ROWS, 4)[3] == 1000
    assert tallies.column(REQUESTS, (0,), 4)[3] == 1
    assert [tallies.of(REQUESTS, 3, rows) for rows in (ROWS, (1,), ())] == [3, 2, 0]


def test_a_number_that_another_node_gets_begins_at_nothing() -> None:
    tallies = made()
    for index in ROWS:
        for node in (0, 1, 2):
            tallies.row(index).began(node, 5)
            tallies.row(index).moved(node, 7, 7)
    tallies.announced(1, ROWS)
    tallies.clear(1, ROWS)
    assert tallies.column(REQUESTS, ROWS, 3) == [2, 0, 2]
    assert tallies.column(RX, ROWS, 3) == [14, 0, 14]
    tallies.row(0).began(1, 6)
    assert tallies.since_announced(1, 1) == 1


def test_requests_since_the_last_announcement() -> None:
    tallies = made()
    assert tallies.since_announced(2, 0) == 0
    tallies.row(0).began(2, 5)
    tallies.row(1).began(2, 5)
    assert tallies.since_announced(2, 2) == 2
    tallies.announced(2, ROWS)
    assert tallies.since_announced(2, 2) == 0
    tallies.row(1).began(2, 6)
    assert tallies.since_announced(2, tallies.of(REQUESTS, 2, ROWS)) == 1


def test_the_last_number_has_a_record() -> None:
    tallies = made()
    tallies.row(1).failed(65535)
    assert tallies.of(FAILURES, 65535, ROWS) == 1

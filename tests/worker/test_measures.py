"""Measures: a request that is over is counted in the row of its key, or with the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from uwsgirouter import compiled
from uwsgirouter.model import measures as layout
from uwsgirouter.model.measures import (
    CAUSES,
    CLIENT_GONE,
    CONNECT,
    FIRST_BYTE,
    KEY_ROWS,
    LATENCY_BOUNDS,
    STATUS,
    TOTAL,
    WORKER_CELLS,
    Measures,
    quantile,
    requests_of,
)
from uwsgirouter.worker.measures import KeyMeasures
from uwsgirouter.worker.record import Record
from uwsgirouter.worker.session import Session


class Desk:
    """One worker's measures, and requests that are over."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(WORKER_CELLS * 8))
        self.all = Measures(self.memory)
        self.measures = KeyMeasures(self.all.part(0))

    def over(self, key: bytes, status: int = 200, cause: str = "", connect: float = 0.001, first: float = 0.01) -> None:
        """A request of so many seconds; ``first`` 0: it was never answered."""
        record = Record(False)
        record.began = 100.0
        record.dialled = 100.0
        record.connected = 100.0 + connect if connect else 0.0
        record.first = record.connected + first if first else 0.0
        record.ended = 100.0 + connect + first + 0.001
        record.status = status
        record.cause = cause
        record.rx, record.tx = 10, 100
        session: Any = Session() if not compiled.obstacle() else SimpleNamespace()
        session.key = key
        self.measures.note(session, record)

    def rows(self) -> dict[bytes | None, layout.Row]:
        return dict(self.all.rows(0))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_key_has_a_row_from_its_first_answer_on(desk: Desk) -> None:
    desk.over(b"a.example", 503, "no-node", connect=0.0, first=0.0)
    assert list(desk.rows()) == [None]
    desk.over(b"a.example")
    desk.over(b"a.example", 504, "first-byte-timeout", first=0.0)
    rows = desk.rows()
    assert {key: requests_of(row) for key, row in rows.items()} == {None: 1, b"a.example": 2}
    row = rows[b"a.example"]
    assert (row[STATUS + 2], row[STATUS + 5]) == (1, 1)
    assert row[layout.FAILED + CAUSES.index("first-byte-timeout")] == 1
    assert (row[layout.RX], row[layout.TX]) == (20, 200)
    assert rows[None][layout.FAILED + CAUSES.index("no-node")] == 1


def test_times_are_counted_in_histograms(desk: Desk) -> None:
    for first in (0.0005, 0.004, 0.004, 70.0):
        desk.over(b"a.example", first=first)
    row = desk.rows()[b"a.example"]
    assert sum(row[CONNECT : CONNECT + 14]) == 4
    found = row[FIRST_BYTE : FIRST_BYTE + 14]
    assert (found[0], found[LATENCY_BOUNDS.index(5000)], found[13]) == (1, 2, 1)
    assert row[FIRST_BYTE + layout.SUM] == pytest.approx(70_008_500, abs=10)
    assert sum(row[TOTAL : TOTAL + 14]) == 4
    assert quantile(row, FIRST_BYTE, 0.5) == pytest.approx(0.00375, abs=1e-6)
    assert quantile(row, FIRST_BYTE, 0.99) == 60.0
    assert quantile(desk.rows()[None], TOTAL, 0.5) is None


@pytest.mark.parametrize("bound", [*LATENCY_BOUNDS[:3]])
def test_a_bound_belongs_to_its_cell(desk: Desk, bound: int) -> None:
    desk.over(b"a", connect=1.0, first=bound / 1e6 - 1e-7)
    desk.over(b"a", connect=1.0, first=bound / 1e6 + 2e-6)
    found = desk.rows()[b"a"][FIRST_BYTE : FIRST_BYTE + 14]
    index = LATENCY_BOUNDS.index(bound)
    assert (found[index], found[index + 1]) == (1, 1)


def test_a_worker_that_gets_the_row_of_a_dead_one_goes_on(desk: Desk) -> None:
    long = b"k" * 255
    for key in (b"a.example", long, b"\xff\x00"):
        desk.over(key)
    before = desk.rows()
    desk.measures = KeyMeasures(desk.all.part(0))
    assert desk.rows() == before
    desk.over(long)
    desk.over(b"new")
    assert {key: requests_of(row) for key, row in desk.rows().items()} == {
        None: 0, b"a.example": 1, long: 2, b"\xff\x00": 1, b"new": 1,
    }  # fmt: skip


def test_keys_beyond_the_last_row_are_the_others(desk: Desk) -> None:
    for number in range(KEY_ROWS + 10):
        desk.over(b"%d.example" % number)
    rows = desk.rows()
    assert len(rows) == KEY_ROWS
    assert requests_of(rows[None]) == 11
    assert requests_of(rows[b"%d.example" % (KEY_ROWS - 2)]) == 1


def test_odd_requests(desk: Desk) -> None:
    desk.over(b"", 400, "no-key", connect=0.0, first=0.0)
    desk.over(b"a", 0)
    desk.over(b"a", 999, CLIENT_GONE)
    desk.over(b"a", 200, "a cause that nobody knows")
    rows = desk.rows()
    assert requests_of(rows[None]) == 1
    assert rows[b"a"][STATUS] == 2
    assert rows[b"a"][layout.FAILED] == 2, "what has no cell of its own is with the clients that are gone"


def test_there_is_a_cell_for_each_cause() -> None:
    assert layout.FAILED + len(CAUSES) <= layout.ROW_CELLS
    assert len({*CAUSES}) == len(CAUSES)

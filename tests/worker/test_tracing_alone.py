"""Traces in a worker without a worker: what is left when they are over, and that nothing piles up."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.worker.by_hand import Loop
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.messages import MessageReader
from uwsgirouter.worker import tracing
from uwsgirouter.worker.observer import Ids, Observer
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.record import Record
from uwsgirouter.worker.tracing import STEPS_MOST, TEXT_MOST, Tracing
from uwsgirouter.worker.uplink import WAITING_MOST, Uplink

Told = list[tuple[Any, ...]]


class Traced:
    """Traces of a router that has ``observer``."""

    def __init__(self, observer: Observer | None = None) -> None:
        self.router = SimpleNamespace(observer=observer, identify=lambda session: b"id")
        self.told: Told = []
        self.takes = True
        self.tracing = Tracing(cast(Any, self.router), lambda: Observer(Ids(), False), self._tell)

    def _tell(self, *items: object) -> bool:
        if self.takes:
            self.told.append(items)
        return self.takes

    def over(self, key: bytes, steps: int = 1) -> None:
        """A request of ``key`` ends."""
        record = Record(False)
        record.key = key
        record.steps = [(0.001, "x" * 2 * TEXT_MOST)] * steps
        fields = {"key": key, "tried": None, "node": None, "attempts": 0, "request_id": b"", "phase": Phase.CLOSED}
        session = SimpleNamespace(record=record, router=self.router, **fields)
        for sink in self.router.observer.sinks if self.router.observer is not None else []:
            sink(session, record)


def test_nothing_is_left_of_it() -> None:
    traced = Traced()
    traced.tracing.begin(1, b"a", 2)
    observer = traced.router.observer
    assert observer.traces == {b"a"}
    traced.tracing.begin(2, b"b", 1)
    assert observer is traced.router.observer and len(observer.sinks) == 1
    for key in (b"a", b"c", b"b", b"b", b"a", b"a"):
        traced.over(key)
    assert [(token, row["key"]) for _, token, row in traced.told] == [(1, "a"), (2, "b"), (1, "a")]
    assert traced.router.observer is None and observer.traces is None and observer.sinks == []
    traced.tracing.end(1)


def test_an_observer_that_was_there_stays() -> None:
    seen: list[Record] = []
    observer = Observer(Ids(), True)
    observer.sinks.append(lambda session, record: seen.append(record))
    traced = Traced(observer)
    traced.tracing.begin(1, b"a", 1)
    traced.over(b"a")
    assert traced.router.observer is observer and len(observer.sinks) == 1 and observer.traces is None
    traced.over(b"a")
    assert len(seen) == 2 and len(traced.told) == 1


def test_it_does_not_last_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = Traced()
    traced.tracing.begin(1, b"a", 1000)
    traced.tracing.tick()
    assert traced.router.observer is not None
    monkeypatch.setattr(tracing, "LASTS", -1.0)
    traced.tracing.begin(1, b"a", 1000)
    traced.tracing.tick()
    assert traced.router.observer is None


def test_what_cannot_be_told_does_not_count() -> None:
    traced = Traced()
    traced.tracing.begin(1, b"a", 1)
    traced.takes = False
    traced.over(b"a")
    traced.takes = True
    traced.over(b"a", steps=10 * STEPS_MOST)
    ((_, _, row),) = traced.told
    assert (len(row["steps"]), row["omitted"]) == (STEPS_MOST, 9 * STEPS_MOST)
    assert all(len(text) == TEXT_MOST for _, text in row["steps"])


def test_a_master_that_does_not_read_costs_a_bounded_amount() -> None:
    upper, lower = socket.socketpair()
    with upper, lower:
        uplink = Uplink(Loop(), lower, RouteTable(WeightedRoundRobin), cast(Any, None))
        taken = 0
        while uplink.tell("traced", 1, {"x": "y" * 10_000}):
            taken += 1
        assert taken <= 2 * WAITING_MOST
        uplink.send("ready", 1)  # what matters is never dropped
        upper.setblocking(False)
        messages, reader = 0, MessageReader()
        while True:
            try:
                messages += len(reader.feed(upper.recv(1 << 20)))
            except BlockingIOError:
                uplink._flush()
                if not (uplink._out or uplink._partial):
                    break
        messages += len(reader.feed(upper.recv(1 << 20))) if messages < taken + 1 else 0
        assert messages == taken + 1

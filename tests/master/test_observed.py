"""What is counted of nodes, as the master has it: numbers that are given again, hits of nodes that are gone."""

from __future__ import annotations

import pytest

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.master.observed import Observed
from uwsgirouter.model.counters import MEMORY_BYTES, ROWS, Counter, Counters
from uwsgirouter.model.events import Gone
from uwsgirouter.model.numbers import COOLING
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.tallies import REQUESTS, Tallies
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.settings.settings import Settings


def announce(key: bytes, port: int, leaving: bool = False) -> Announce:
    return Announce(key, parse_peer(f"127.0.0.1:{port}"), leaving=leaving)


class Desk:
    """A registry whose nodes are counted, and two workers that ever were."""

    def __init__(self) -> None:
        self.counters = Counters(memoryview(bytearray(MEMORY_BYTES)))
        self.registry = Registry(RouteTable(WeightedRoundRobin), lambda id: 0, 17.0, 30.0)
        self.observed = Observed(self.registry, self.counters)
        for row in (0, 5):
            self.counters.row(row)[Counter.USED] = 1
        self.settings = Settings.of(**{"fastrouter-stats": "127.0.0.1:0"})
        self.observed.prepare(self.settings)

    @property
    def tallies(self) -> Tallies:
        assert self.observed.tallies is not None
        return self.observed.tallies

    def request(self, id: int, row: int = 0) -> None:
        """A worker gives a node a request."""
        tallies = self.observed.tallies_of(self.settings, row)
        assert tallies is not None
        tallies.began(id, 1)

    def leave(self, key: bytes, port: int, now: float) -> None:
        for change in self.registry.announce(announce(key, port, leaving=True), now):
            assert isinstance(change.event, Gone)
            self.observed.gone(key, change.event.id)

    def counted(self, id: int) -> int:
        return self.tallies.of(REQUESTS, id, self.counters.used_rows())


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk()


def test_nothing_is_there_until_it_is_wanted() -> None:
    counters = Counters(memoryview(bytearray(MEMORY_BYTES)))
    observed = Observed(Registry(RouteTable(WeightedRoundRobin), lambda id: 0, 17.0, 30.0), counters)
    observed.prepare(Settings.of())
    assert observed.tallies is None and observed.measures is None
    observed.gone(b"a", 1)
    observed.prepare(Settings.of(**{"control-socket": "/tmp/x"}))
    assert observed.tallies is not None and observed.measures is None
    tallies = observed.tallies
    observed.prepare(Settings.of(metrics="127.0.0.1:0"))
    assert observed.tallies is tallies and observed.measures is not None
    assert observed.measures_of(Settings.of(), 0) is None and observed.tallies_of(Settings.of(), 0) is None


def test_a_number_that_is_given_again_counts_from_nothing(desk: Desk) -> None:
    desk.registry.announce(announce(b"a", 1), 100.0)
    (id,) = desk.registry.table.nodes
    desk.request(id)
    desk.request(id, row=5)
    assert desk.counted(id) == 2
    desk.leave(b"a", 1, 101.0)
    desk.registry.announce(announce(b"b", 2), 101.0 + COOLING)
    assert list(desk.registry.table.nodes) == [id]
    assert desk.counted(id) == 0
    desk.leave(b"b", 2, 107.0)


def test_hits_of_nodes_that_are_gone_stay_while_their_key_does(desk: Desk) -> None:
    for port in (1, 2):
        desk.registry.announce(announce(b"c", port), 200.0)
    one, two = desk.registry.table.nodes
    for id in (one, one, two):
        desk.request(id)
    desk.leave(b"c", 1, 201.0)
    assert desk.observed.past_hits == {b"c": 2}
    desk.leave(b"c", 2, 202.0)
    assert desk.observed.past_hits == {}


def test_requests_since_the_last_announcement(desk: Desk) -> None:
    desk.registry.announce(announce(b"d", 9), 300.0)
    (id,) = desk.registry.table.nodes
    for row in (0, 5, 5):
        desk.request(id, row)
    assert desk.tallies.since_announced(id, desk.counted(id)) == 3
    desk.registry.announce(announce(b"d", 9), 310.0)
    desk.request(id)
    assert desk.tallies.since_announced(id, desk.counted(id)) == 1
    assert ROWS > 5

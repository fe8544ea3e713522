"""Who is how busy: the count over all workers, and the nodes that are full."""

from __future__ import annotations

import mmap

import pytest

from tests.balancers.made import Site, nodes_of
from uwsgirouter.model.cores import FullNodes
from uwsgirouter.model.counters import MEMORY_BYTES, Counter, Counters
from uwsgirouter.model.in_flight import InFlight


@pytest.fixture
def counters() -> Counters:
    return Counters(memoryview(mmap.mmap(-1, MEMORY_BYTES)))


# -- requests under way ---------------------------------------------------------------------------------------------


def test_the_count_is_that_of_all_workers_that_live(counters: Counters) -> None:
    for row, count in ((0, 1), (3, 10), (255, 100)):
        counters.row(row)[Counter.BEAT] = 5
        counters.inflight_row(row)[9] = count
    counters.inflight_row(4)[9] = 1000  # a row whose worker has no beat yet
    inflight = InFlight(counters, 0)
    assert inflight(9) == 111
    assert inflight(8) == 0
    counters.inflight_row(3)[9] -= 1
    assert inflight(9) == 110, "nothing is kept"
    counters.row(4)[Counter.BEAT] = 5
    assert inflight(9) == 110
    inflight.look()
    assert inflight(9) == 1110
    counters.release_row(4, 10)
    inflight.look()
    assert inflight(9) == 110


def test_ones_own_requests_count_before_ones_first_beat(counters: Counters) -> None:
    counters.inflight_row(7)[0] = 2
    assert InFlight(counters, 7)(0) == 2
    assert InFlight(counters, 6)(0) == 0


# -- full nodes -----------------------------------------------------------------------------------------------------


def test_a_node_is_full_when_each_of_its_cores_has_a_request() -> None:
    loads = {0: 3, 1: 4, 2: 5, 3: 1000}
    nodes = nodes_of([1, 1, 1, 1])
    for node in nodes[:3]:
        node.cores = 4
    full = FullNodes(lambda id: loads[id])
    assert [node in full for node in nodes] == [False, True, True, False]
    assert [full.free(node) for node in nodes] == [1, 0, 0, None]
    assert "no node" not in full
    besides = full.besides([nodes[0]])
    assert [node in besides for node in nodes] == [True, True, True, False]


@pytest.mark.parametrize("algo", ["wrr", "lrc", "wlrc", "iphash", "p2c"])
def test_no_node_gets_more_than_its_cores(algo: str) -> None:
    """The sum of the cores at once, whatever the algorithm; the next request must wait."""
    site = Site(algo)
    for id, cores in enumerate([1, 2, 4]):
        site.put(id, weight=3 - id, cores=cores)
    site.put(3, cores=8, backup=1)
    full = FullNodes(lambda id: site.inflight[id])
    for _ in range(7):
        node = site.slot.next()
        assert node is not None
        if node in full:
            node = site.slot.next_free(full)
            assert node is not None
        site.inflight[node.id] += 1
    assert site.inflight == {0: 1, 1: 2, 2: 4}
    assert site.slot.next_free(full) is None, "a backup is for nodes that are out, not for busy ones"
    site.end(1)
    node = site.slot.next_free(full)
    assert node is not None
    assert node.id == 1

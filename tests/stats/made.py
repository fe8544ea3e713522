"""Pictures for the tests of this package."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.master.shared_memory import SharedFile
from uwsgirouter.model.counters import MEMORY_BYTES, Counter, Counters
from uwsgirouter.model.measures import MEASURES_BYTES, Measures
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.tallies import TALLIES_BYTES, Tallies
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.stats.picture import Datagrams, Picture, WorkerFacts


@functools.cache
def memory() -> tuple[Counters, Tallies, Measures]:
    """One worker's; shared by all tests, who only add to it."""
    sizes = {"counters": MEMORY_BYTES, "tallies": TALLIES_BYTES, "measures": MEASURES_BYTES}
    views = [SharedFile(f"test-{name}", size).memory for name, size in sizes.items()]
    made = Counters(views[0]), Tallies(views[1]), Measures(views[2])
    made[0].row(0)[Counter.USED] = 1
    return made


def picture(nodes: Iterable[tuple[bytes, str, bytes]] = ()) -> Picture:
    """A router with these nodes: key, address and vassal of each."""
    counters, tallies, measures = memory()
    registry = Registry(RouteTable(WeightedRoundRobin), lambda id: 0, 17.0, 30.0)
    for key, address, vassal in nodes:
        registry.announce(Announce(key, parse_peer(address), vassal=vassal), 100.0)
    return Picture(
        version="1.2.3",
        compiled="compiled",
        pid=os.getpid(),
        uid=0,
        gid=0,
        directory='/some "where"\n',
        began=1.0,
        generation=1,
        sockets=["127.0.0.1:1"],
        has_subscriptions=True,
        has_static=True,
        registry=registry,
        counters=counters,
        tallies=tallies,
        measures=measures,
        past_hits={},
        workers=[WorkerFacts(os.getpid(), 1, 1, 0, "serving")],
        datagrams=Datagrams(5, {'odd "reason"': 2}, 1),
        lines_dropped=0,
        metrics=None,
        caches=list,
        keys_most=10,
    )

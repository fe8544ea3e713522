"""Which balancer a name means.

One idea: names stand here once. A table gets a :class:`~uwsgirouter.model.slot.Balancing`, so that neither it nor its
slots know any algorithm. Invariant: the names are those of ``settings/algorithms.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from uwsgirouter.balancers.iphash import AddressHash
from uwsgirouter.balancers.least import LeastInFlight
from uwsgirouter.balancers.p2c import PowerOfTwo
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.node import Node
from uwsgirouter.model.slot import Balancing, Factory


def factories(inflight: Callable[[int], int]) -> Mapping[str, Factory]:
    """All of them; ``inflight(id)`` counts the requests that a node has under way over all workers."""
    return {
        "wrr": WeightedRoundRobin,
        "lrc": partial(LeastInFlight, inflight=inflight, weighted=False),
        "wlrc": partial(LeastInFlight, inflight=inflight, weighted=True),
        "iphash": AddressHash,
        "p2c": partial(PowerOfTwo, inflight=inflight),
    }


def balancing(
    algo: str, inflight: Callable[[int], int], weigh: Callable[[list[Node]], bool] | None = None
) -> Balancing:
    """For slots that share out by ``algo`` unless their nodes wish another one. ``weigh``: a slow start, or none.

    Raises KeyError when there is no such algorithm (the settings see to that).
    """
    named = factories(inflight)
    return Balancing(named[algo], named, weigh)

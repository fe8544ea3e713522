"""What single steps cost in one process: finding a slot, taking a node from the channel, choosing in a large slot.

Runs the package's own code without sockets; figures are microseconds of CPU. Knows nothing of running routers.
"""

from __future__ import annotations

import gc
import mmap
import time
from collections.abc import Callable, Iterator

from uwsgirouter.balancers.choice import factories
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.mappers.subscription import SubscriptionMapper
from uwsgirouter.model.counters import MEMORY_BYTES, Counter, Counters
from uwsgirouter.model.events import Put
from uwsgirouter.model.in_flight import InFlight
from uwsgirouter.model.node import State
from uwsgirouter.model.slot import Balancing
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.messages import MessageReader, encode_message
from uwsgirouter.settings.address import parse_peer

FINDS = 200_000
CROWD = 1_000
"""Nodes of a large slot."""
CHOICES = 1_000
CHANGES = 50


class Somebody:
    """A client; another one at each look."""

    def __init__(self) -> None:
        self._number = 0

    def remote_address(self) -> bytes:
        self._number += 1
        return b"10.0.%d.%d" % divmod(self._number % 65000, 256)


def put(number: int, key: bytes, weight: int = 1) -> Put:
    """A node that is up."""
    address = parse_peer(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:3031")
    return Put(number, key, address, (0, 0), weight, 4, 0, State.UP, 1.0)


def key(number: int) -> bytes:
    """One of many."""
    return b"app%05d.example.com" % number


def in_flight() -> InFlight:
    """The count of requests under way, of two workers."""
    counters = Counters(memoryview(mmap.mmap(-1, MEMORY_BYTES)))
    for row in range(2):
        counters.row(row)[Counter.BEAT] = 1
    found = InFlight(counters, 0)
    found.look()
    return found


def microseconds(work: Callable[[], object], times: int) -> float:
    """CPU of one of so many in ``work``."""
    before = time.process_time()
    work()
    return (time.process_time() - before) / times * 1e6


def finding(keys: int) -> float:
    """The slot of a request's key among so many."""
    table = RouteTable(WeightedRoundRobin)
    for number in range(keys):
        table.apply(put(number, key(number)))
    find = SubscriptionMapper(table, False).find
    wanted = [bytes(bytearray(key(number % keys))) for number in range(FINDS)]

    def work() -> None:
        for one in wanted:
            find(one)

    return microseconds(work, FINDS)


def taking(nodes: int, keys: int) -> tuple[float, float]:
    """What the master spends to write a node for a worker, and the worker to read it into its table."""
    puts = [put(number, key(number % keys)) for number in range(nodes)]
    table, reader = RouteTable(WeightedRoundRobin), MessageReader()
    gc.freeze()  # as in a worker: what it inherits is not looked at
    messages: list[bytes] = []

    def write() -> None:
        for start in range(0, nodes, 500):
            messages.append(encode_message([event.row() for event in puts[start : start + 500]]))

    def read() -> None:
        for data in messages:
            for (rows,) in reader.feed(data):
                assert isinstance(rows, list)
                for row in rows:
                    table.apply(Put.from_row(row))

    figures = microseconds(write, nodes), microseconds(read, nodes)
    assert len(table.nodes) == nodes
    gc.unfreeze()
    return figures


def choosing(algo: str, weights: int) -> tuple[float, float]:
    """A request's choice among :data:`CROWD` nodes of so many different weights, and the first one after a change.

    No request is under way, which is asked of the shared memory, as in a worker.
    """
    named = factories(in_flight())
    table = RouteTable(Balancing(named[algo], named))
    for number in range(CROWD):
        table.apply(put(number, b"large", 1 + number % weights))
    slot, client = table.slots[b"large"], Somebody()
    slot.next(client)
    change = Put.of(table.nodes[0])

    def choose() -> None:
        for _ in range(CHOICES):
            slot.next(client)

    def change_and_choose() -> None:
        for _ in range(CHANGES):
            table.apply(change)
            slot.next(client)

    return microseconds(choose, CHOICES), microseconds(change_and_choose, CHANGES)


def lines(nodes: int, keys: int) -> Iterator[tuple[str, str]]:
    """All of it: what, and the figure."""
    yield "find() among 1 key", f"{finding(1):.2f} us"
    yield f"find() among {keys} keys", f"{finding(keys):.2f} us"
    written, read = taking(nodes, keys)
    yield "a node on the channel", f"{written:.1f} us for the master to write, {read:.1f} us for a worker to take"
    for algo in factories(in_flight()):
        for weights, name in ((1, "equal"), (5, "unequal")):
            each, rebuilt = choosing(algo, weights)
            yield f"{algo}, {CROWD} nodes, {name} weights", f"{each:.1f} us a request, {rebuilt:.0f} us after a change"

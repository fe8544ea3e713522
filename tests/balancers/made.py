"""Nodes, slots and clients for the tests of balancers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from uwsgirouter.balancers.choice import balancing
from uwsgirouter.model.events import Gone, Put
from uwsgirouter.model.node import FULL_SHARE, Node, State
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.address import parse_peer

KEY = b"foo.com"


def nodes_of(weights: Sequence[int], first: int = 0) -> list[Node]:
    """Nodes with these weights, numbered from ``first`` on."""
    nodes = []
    for id, weight in enumerate(weights, first):
        node = Node(id, KEY, parse_peer(f"127.0.0.1:{3000 + id}"))
        node.weight = weight
        node.share = weight * FULL_SHARE
        nodes.append(node)
    return nodes


class From:
    """The client with this address."""

    def __init__(self, address: str) -> None:
        self._address = address.encode()

    def remote_address(self) -> bytes:
        """What the web server wrote."""
        return self._address


class Site:
    """A slot as one of several workers sees it, and the requests that all of them have under way."""

    def __init__(self, algo: str, weights: Sequence[int] = (), workers: int = 1) -> None:
        self.inflight: Counter[int] = Counter()
        self.tables = [RouteTable(balancing(algo, lambda id: self.inflight[id])) for _ in range(workers)]
        for id, weight in enumerate(weights):
            self.put(id, weight)

    @property
    def slots(self) -> list[Slot]:
        """The slot in each worker."""
        return [table.slots[KEY] for table in self.tables]

    @property
    def slot(self) -> Slot:
        """The slot in the first worker."""
        return self.slots[0]

    def put(
        self,
        id: int,
        weight: int = 1,
        state: State = State.UP,
        cores: int = 0,
        backup: int = 0,
        algo: str = "",
        algo_since: float = 0.0,
        since: float = 0.0,
    ) -> None:
        """An event for all workers."""
        address = parse_peer(f"127.0.0.1:{3000 + id}")
        event = Put(id, KEY, address, (0, 0), weight, cores, 0, state, since, b"", backup, algo, algo_since)
        for table in self.tables:
            table.apply(event)

    def remove(self, id: int) -> None:
        """The node goes."""
        for table in self.tables:
            table.apply(Gone(id))

    def begin(self, worker: int = 0, client: From | None = None) -> int:
        """A request begins in this worker; the number of its node."""
        slot = self.slots[worker]
        node = slot.next(client) if client is not None else slot.next()
        assert node is not None
        self.inflight[node.id] += 1
        return node.id

    def end(self, id: int) -> None:
        """A request of this node ends."""
        assert self.inflight[id] > 0
        self.inflight[id] -= 1

    def serve(self, count: int, client: From | None = None) -> list[int]:
        """Requests one after the other, by turns in all workers: each ends before the next one begins."""
        found = []
        for number in range(count):
            id = self.begin(number % len(self.tables), client)
            self.end(id)
            found.append(id)
        return found

"""The master's registry: what announcements, failures and time do to the route table.

One idea: decisions here, replay everywhere. Each method takes ``now`` (monotonic seconds), changes the table through
events, and returns the :class:`Change` list, from which the master writes its log lines and what it sends to the
workers. Pure: no I/O, no clock, never yields. It asks one thing of the world: how many sessions a node has under way.
Invariant: a number (id) is given to a new node only when no session of its former bearer is left.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from uwsgirouter.model.counters import NODE_COLUMNS
from uwsgirouter.model.events import Event, Gone, Put
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.table import STATIC_KEY, RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import Address, Kind

COOLING = 5.0
"""Seconds for which a node's number rests: no worker can still be choosing that node then."""

Identity = tuple[Kind, str, int]


class Happening(Enum):
    """Why a node changed."""

    NEW_POOL = "new pool"
    NEW = "new node"
    UPDATED = "announced with other values"
    BACK = "is back"
    LEAVING = "unsubscribed, sessions under way"
    LEFT = "unsubscribed"
    DRAINED = "drained"
    EXPIRED = "no announce received"
    FAILED = "failed"
    CONFIGURED = "configured"
    DISCARDED = "no longer configured"
    FULL = "registry full"


@dataclass(frozen=True)
class Change:
    """One thing that happened to a node: the event to replay (None: nothing to send) and what to tell people."""

    happening: Happening
    key: bytes
    address: Address
    event: Event | None = None


class Registry:
    """All nodes, numbered. ``inflight(id)`` tells how many sessions a node has under way over all workers."""

    def __init__(self, table: RouteTable, inflight: Callable[[int], int], tolerance: float, gracetime: float) -> None:
        self.table = table
        self.tolerance = tolerance
        self.gracetime = gracetime
        self._inflight = inflight
        self._ids: dict[tuple[bytes, Identity], int] = {}
        self._by_age: OrderedDict[int, None] = OrderedDict()
        """Announced nodes, the one heard of longest ago first."""
        self._draining: set[int] = set()
        self._retry: dict[int, float] = {}
        """Static nodes in their grace time, and its end."""
        self._free: deque[tuple[float, int]] = deque()
        self._next = 0

    @property
    def numbers(self) -> int:
        """How many numbers were ever given: no node has a higher one."""
        return self._next

    # -- announcements ----------------------------------------------------------------------------------------------

    def announce(self, announce: Announce, now: float) -> list[Change]:
        """A datagram that passed every check."""
        id = self._ids.get((announce.key, announce.address.identity))
        if announce.leaving:
            return self._leave(self.table.nodes[id], now) if id is not None else []
        if id is None:
            return self._welcome(announce, now)
        return self._refresh(self.table.nodes[id], announce, now)

    def _welcome(self, announce: Announce, now: float) -> list[Change]:
        id = self._take_number(now)
        if id is None:
            return [Change(Happening.FULL, announce.key, announce.address)]
        changes = []
        if announce.key not in self.table.slots:
            changes.append(Change(Happening.NEW_POOL, announce.key, announce.address))
        modifiers = (announce.modifier1, announce.modifier2)
        put = Put(
            id,
            announce.key,
            announce.address,
            modifiers,
            announce.weight,
            announce.cores,
            announce.load,
            State.UP,
            now,
        )
        self._ids[announce.key, announce.address.identity] = id
        self._by_age[id] = None
        changes.append(self._apply(put, Happening.NEW))
        self.table.nodes[id].seen = now
        return changes

    def _refresh(self, node: Node, announce: Announce, now: float) -> list[Change]:
        node.seen = now
        node.load = announce.load
        self._by_age[node.id] = None
        self._by_age.move_to_end(node.id)
        modifiers = (announce.modifier1, announce.modifier2)
        back = node.state is not State.UP
        if not back and (node.modifiers, node.weight, node.cores) == (
            modifiers,
            announce.weight,
            announce.cores,
        ):
            return []
        self._draining.discard(node.id)
        put = replace(
            Put.of(node),
            modifiers=modifiers,
            weight=announce.weight,
            cores=announce.cores,
            state=State.UP,
            since=now if back else node.since,
        )
        return [self._apply(put, Happening.BACK if back else Happening.UPDATED)]

    def _leave(self, node: Node, now: float) -> list[Change]:
        if not self._inflight(node.id):
            return [self._remove(node, now, Happening.LEFT)]
        if node.state is State.DRAINING:
            return []
        self._draining.add(node.id)
        self._by_age.pop(node.id, None)
        return [self._apply(replace(Put.of(node), state=State.DRAINING, since=now), Happening.LEAVING)]

    # -- failures, time ---------------------------------------------------------------------------------------------

    def fail(self, id: int, now: float) -> list[Change]:
        """A worker could not connect to node ``id``: out until it announces itself, or its grace time is over."""
        node = self.table.nodes.get(id)
        if node is None or node.state is not State.UP:
            return []
        if node.key == STATIC_KEY:
            self._retry[id] = now + self.gracetime
        return [self._apply(replace(Put.of(node), state=State.DOWN, since=now), Happening.FAILED)]

    def expire(self, now: float) -> list[Change]:
        """Once a second: nodes not heard of, drained ones, and static ones whose grace time is over."""
        changes = []
        while self._by_age:
            node = self.table.nodes[next(iter(self._by_age))]
            if now - node.seen <= self.tolerance:
                break
            changes.append(self._remove(node, now, Happening.EXPIRED))
        for id in [id for id in self._draining if not self._inflight(id)]:
            changes.append(self._remove(self.table.nodes[id], now, Happening.DRAINED))
        for id in [id for id, end in self._retry.items() if now >= end]:
            del self._retry[id]
            put = replace(Put.of(self.table.nodes[id]), state=State.UP, since=now)
            changes.append(self._apply(put, Happening.BACK))
        return changes

    # -- configured nodes -------------------------------------------------------------------------------------------

    def configure(self, addresses: Iterable[Address], now: float) -> list[Change]:
        """The static nodes are these from now on; one listed twice gets twice the requests."""
        wanted: dict[Identity, Put] = {}
        for address in addresses:
            put = wanted.get(address.identity)
            if put is None:
                wanted[address.identity] = Put(-1, STATIC_KEY, address, (0, 0), 1, 0, 0, State.UP, now)
            else:
                wanted[address.identity] = replace(put, weight=put.weight + 1)
        slot = self.table.slots.get(STATIC_KEY)
        changes = [
            self._remove(node, now, Happening.DISCARDED)
            for node in (list(slot.nodes) if slot else [])
            if node.address.identity not in wanted
        ]
        for put in wanted.values():
            changes += self._configure_one(put, now)
        return changes

    def _configure_one(self, put: Put, now: float) -> list[Change]:
        id = self._ids.get((STATIC_KEY, put.address.identity))
        if id is not None:
            node = self.table.nodes[id]
            if node.weight == put.weight:
                return []
            return [self._apply(replace(Put.of(node), weight=put.weight), Happening.CONFIGURED)]
        id = self._take_number(now)
        if id is None:
            return [Change(Happening.FULL, STATIC_KEY, put.address)]
        self._ids[STATIC_KEY, put.address.identity] = id
        return [self._apply(replace(put, id=id), Happening.CONFIGURED)]

    # -- the parts --------------------------------------------------------------------------------------------------

    def _apply(self, put: Put, happening: Happening) -> Change:
        self.table.apply(put)
        return Change(happening, put.key, put.address, put)

    def _remove(self, node: Node, now: float, happening: Happening) -> Change:
        event = Gone(node.id)
        self.table.apply(event)
        del self._ids[node.key, node.address.identity]
        self._by_age.pop(node.id, None)
        self._draining.discard(node.id)
        self._retry.pop(node.id, None)
        self._free.append((now, node.id))
        return Change(happening, node.key, node.address, event)

    def _take_number(self, now: float) -> int | None:
        """A number that nobody uses: one that has rested, else a new one."""
        for _ in range(min(8, len(self._free))):
            freed, id = self._free[0]
            if now - freed < COOLING:
                break
            self._free.popleft()
            if not self._inflight(id):
                return id
            self._free.append((now, id))
        if self._next == NODE_COLUMNS:
            return None
        self._next += 1
        return self._next - 1

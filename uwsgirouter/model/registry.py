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

from uwsgirouter.model.counters import UNNUMBERED
from uwsgirouter.model.ejection import Ejections, room, surplus
from uwsgirouter.model.events import Event, Gone, Put
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.table import CONFIGURED_KEYS, FALLBACK_KEY, STATIC_KEY, RouteTable
from uwsgirouter.model.vassals import STANDING_TOLERANCE, Vassals
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, Address, Kind
from uwsgirouter.settings.algorithms import ALGORITHMS

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
    EJECTED = "reset, closed or did not answer, again and again"
    ODD_ALGO = "wishes an algorithm that does not exist"
    CONFIGURED = "configured"
    DISCARDED = "no longer configured"
    FULL = "registry full"
    NEW_VASSAL = "new node, its vassal does not run"
    AWAKE = "its vassal runs"
    ASLEEP = "its vassal does not run"
    FORGOTTEN = "nobody says any more that its vassal can be started"


@dataclass(frozen=True)
class Change:
    """One thing that happened to a node: the event to replay (None: nothing to send) and what to tell people.

    ``detail``: for how many seconds it is ejected, or the name of an odd algorithm.
    """

    happening: Happening
    key: bytes
    address: Address
    event: Event | None = None
    vassal: bytes = b""
    detail: str = ""


class Registry:
    """All nodes, numbered. ``inflight(id)`` tells how many sessions a node has under way over all workers."""

    def __init__(self, table: RouteTable, inflight: Callable[[int], int], tolerance: float, gracetime: float) -> None:
        self.table = table
        self.tolerance = tolerance
        self.gracetime = gracetime
        self.standing_tolerance = STANDING_TOLERANCE
        self._inflight = inflight
        self._ids: dict[tuple[bytes, Identity], int] = {}
        self._by_age: OrderedDict[int, None] = OrderedDict()
        """Announced nodes, the one heard of longest ago first."""
        self._draining: set[int] = set()
        self._vassals = Vassals()
        self._ejections = Ejections()
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
        node = self._known(announce)
        if announce.leaving:
            return self._leave(node, announce, now) if node is not None else []
        odd = self._odd_algo(node, announce)
        if announce.inactive or announce.cleared:
            return [*self._stand_by(node, announce, now), *odd]
        if node is None:
            return [*self._welcome(announce, State.UP, now), *odd]
        return [*self._replace_namesake(node, announce, now), *self._refresh(node, announce, now), *odd]

    @staticmethod
    def _odd_algo(node: Node | None, announce: Announce) -> list[Change]:
        """A wish that nobody can fulfil is told once, and is no reason to refuse the node."""
        if not announce.algo or announce.algo in ALGORITHMS or (node is not None and node.algo == announce.algo):
            return []
        return [Change(Happening.ODD_ALGO, announce.key, announce.address, None, announce.vassal, announce.algo)]

    def _known(self, announce: Announce) -> Node | None:
        """The node that an announcement means: the one of its address, else the one of its vassal."""
        id = self._ids.get((announce.key, announce.address.identity))
        if id is None and announce.vassal:
            id = self._vassals.find(announce.key, announce.vassal)
        return self.table.nodes[id] if id is not None else None

    def _replace_namesake(self, node: Node, announce: Announce, now: float) -> list[Change]:
        """The vassal that announces ``node`` had another node until now: that one is gone."""
        id = self._vassals.find(announce.key, announce.vassal) if announce.vassal else None
        if id is None or id == node.id:
            return []
        if self._vassals.stands_by(id):
            self._vassals.stand_by(node.id, now)
        return [self._remove(self.table.nodes[id], now, Happening.LEFT)]

    def _welcome(self, announce: Announce, state: State, now: float) -> list[Change]:
        id = self._take_number(now)
        if id is None:
            return [Change(Happening.FULL, announce.key, announce.address)]
        changes = []
        if announce.key not in self.table.slots:
            changes.append(Change(Happening.NEW_POOL, announce.key, announce.address))
        put = Put(id, announce.key, announce.address, (0, 0), 1, 0, announce.load, state, now)
        put = self._as_announced(put, announce, now)
        if announce.address != NOWHERE:
            self._ids[announce.key, announce.address.identity] = id
        changes.append(self._apply(put, Happening.NEW if state is State.UP else Happening.NEW_VASSAL))
        node = self.table.nodes[id]
        self._vassals.name(node)
        if state is State.UP:
            self._by_age[id] = None
            node.seen = now
        else:
            self._vassals.stand_by(id, now)
        return changes

    def _refresh(self, node: Node, announce: Announce, now: float) -> list[Change]:
        """It announced itself."""
        node.seen = now
        node.load = announce.load
        self._by_age[node.id] = None
        self._by_age.move_to_end(node.id)
        self._draining.discard(node.id)
        back = node.state is not State.UP
        happening = {State.UP: Happening.UPDATED, State.INACTIVE: Happening.AWAKE}.get(node.state, Happening.BACK)
        put = self._as_announced(Put.of(node), announce, now)
        put = replace(put, state=State.UP, since=now if back else node.since)
        changes = self._update(node, put, happening)
        self.table.nodes[node.id].seen = now
        return changes

    def _stand_by(self, node: Node | None, announce: Announce, now: float) -> list[Change]:
        """Its vassal can be started: somebody said so, or the vassal itself when it stopped."""
        if node is None:
            return self._welcome(announce, State.INACTIVE, now)
        changes = self._replace_namesake(node, announce, now)
        self._vassals.stand_by(node.id, now)
        if node.state is State.UP and not announce.cleared:
            # Whoever announces vassals cannot know which of them run; this one does, and says so itself.
            return [*changes, *self._update(node, replace(Put.of(node), vassal=announce.vassal), Happening.UPDATED)]
        return [*changes, *self._sleep(node, self._as_announced(Put.of(node), announce, now), now)]

    def _sleep(self, node: Node, put: Put, now: float, happening: Happening = Happening.ASLEEP) -> list[Change]:
        """``node`` runs no more, and the Emperor can start it again."""
        self._by_age.pop(node.id, None)
        self._draining.discard(node.id)
        if node.state is State.INACTIVE:
            return self._update(node, put, Happening.UPDATED)
        return self._update(node, replace(put, state=State.INACTIVE, since=now), happening)

    def _leave(self, node: Node, announce: Announce, now: float) -> list[Change]:
        if announce.inactive:
            self._vassals.stand_down(node.id)
            return [self._remove(node, now, Happening.LEFT)] if node.state is State.INACTIVE else []
        if self._vassals.stands_by(node.id):
            return self._sleep(node, Put.of(node), now)
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
        if node is None or node.state not in (State.UP, State.EJECTED):
            return []
        if node.key in CONFIGURED_KEYS:
            self._retry[id] = now + self.gracetime
        if self._vassals.stands_by(id):
            return self._sleep(node, Put.of(node), now, Happening.FAILED)
        return [self._apply(replace(Put.of(node), state=State.DOWN, since=now), Happening.FAILED)]

    def fault(self, id: int, now: float, count: int = 1) -> list[Change]:
        """Node ``id`` accepted ``count`` requests and reset, closed or did not answer in time: too often, it is out.

        That is for some seconds, or until it announces itself, and never for more than half of the nodes of a key.
        """
        node = self.table.nodes.get(id)
        if node is None or node.state is not State.UP or not self._ejections.fault(id, now, count):
            return []
        if not room(*self._serving(node.key)):
            return []
        seconds = self._ejections.eject(id, now)
        change = self._apply(replace(Put.of(node), state=State.EJECTED, since=now), Happening.EJECTED)
        return [replace(change, detail=f"{seconds:g}")]

    def expire(self, now: float) -> list[Change]:
        """Once a second: nodes not heard of, drained ones, and those whose grace time or ejection is over."""
        changes: list[Change] = []
        while self._by_age:
            node = self.table.nodes[next(iter(self._by_age))]
            if now - node.seen <= self.tolerance:
                break
            if self._vassals.stands_by(node.id):
                changes += self._sleep(node, Put.of(node), now, Happening.EXPIRED)
            else:
                changes.append(self._remove(node, now, Happening.EXPIRED))
        for id in self._vassals.overdue(now, self.standing_tolerance):
            self._vassals.stand_down(id)
            if self.table.nodes[id].state is State.INACTIVE:
                changes.append(self._remove(self.table.nodes[id], now, Happening.FORGOTTEN))
        for id in [id for id in self._draining if not self._inflight(id)]:
            changes.append(self._remove(self.table.nodes[id], now, Happening.DRAINED))
        for id in [id for id, end in self._retry.items() if now >= end]:
            del self._retry[id]
            changes.append(self._let_back(id, now))
        return changes + self._end_ejections(now)

    def _end_ejections(self, now: float) -> list[Change]:
        """Those whose time is over, and those who are too many since others of their slot left or failed."""
        self._ejections.tidy(now)
        changes = [self._let_back(id, now) for id in self._ejections.due(now)]
        out: dict[bytes, list[int]] = {}
        for id in self._ejections.out():
            out.setdefault(self.table.nodes[id].key, []).append(id)
        for key, ids in out.items():
            changes += [self._let_back(id, now) for id in ids[: surplus(*self._serving(key))]]
        return changes

    def _let_back(self, id: int, now: float) -> Change:
        return self._apply(replace(Put.of(self.table.nodes[id]), state=State.UP, since=now), Happening.BACK)

    def _serving(self, key: bytes) -> tuple[int, int]:
        """How many nodes of ``key`` are up, and how many are ejected."""
        states = [node.state for node in self.table.slots[key].nodes]
        return states.count(State.UP), states.count(State.EJECTED)

    # -- configured nodes -------------------------------------------------------------------------------------------

    def configure(self, static: Iterable[Address], now: float, fallback: Iterable[Address] = ()) -> list[Change]:
        """The static and the fallback nodes are these from now on.

        A static node listed twice gets twice the requests. Fallback nodes stand in their slot in the order given.
        """
        return [*self._fill(STATIC_KEY, static, now), *self._fill(FALLBACK_KEY, fallback, now)]

    def _fill(self, key: bytes, addresses: Iterable[Address], now: float) -> list[Change]:
        wanted: dict[Identity, Put] = {}
        for address in addresses:
            put = wanted.get(address.identity)
            if put is None:
                wanted[address.identity] = Put(-1, key, address, (0, 0), 1, 0, 0, State.UP, now)
            else:
                wanted[address.identity] = replace(put, weight=put.weight + 1)
        changes = [self._remove(node, now, Happening.DISCARDED) for node in self._misplaced(key, list(wanted))]
        for put in wanted.values():
            changes += self._configure_one(put, now)
        return changes

    def _misplaced(self, key: bytes, wanted: list[Identity]) -> list[Node]:
        """The nodes of slot ``key`` that are not wanted, or (fallback) that stand where another one should."""
        slot = self.table.slots.get(key)
        nodes = list(slot.nodes) if slot else []
        kept = [node for node in nodes if node.address.identity in wanted]
        if key == FALLBACK_KEY:
            in_place = 0
            while in_place < len(kept) and kept[in_place].address.identity == wanted[in_place]:
                in_place += 1
            kept = kept[:in_place]
        return [node for node in nodes if node not in kept]

    def _configure_one(self, put: Put, now: float) -> list[Change]:
        id = self._ids.get((put.key, put.address.identity))
        if id is not None:
            node = self.table.nodes[id]
            if node.weight == put.weight:
                return []
            return [self._apply(replace(Put.of(node), weight=put.weight), Happening.CONFIGURED)]
        id = self._take_number(now)
        if id is None:
            return [Change(Happening.FULL, put.key, put.address)]
        self._ids[put.key, put.address.identity] = id
        return [self._apply(replace(put, id=id), Happening.CONFIGURED)]

    # -- the parts --------------------------------------------------------------------------------------------------

    @staticmethod
    def _as_announced(put: Put, announce: Announce, now: float) -> Put:
        """``put`` with what the announcement says of the node. One that names no algorithm lets an earlier wish be."""
        if announce.algo and announce.algo != put.algo:
            put = replace(put, algo=announce.algo, algo_since=now)
        return replace(
            put,
            address=announce.address if _moved(put.address, announce.address) else put.address,
            modifiers=(announce.modifier1, announce.modifier2),
            weight=announce.weight,
            cores=announce.cores,
            backup=announce.backup,
            vassal=announce.vassal or put.vassal,
        )

    def _update(self, node: Node, put: Put, happening: Happening) -> list[Change]:
        """Make ``node`` what ``put`` says, if it is not so already."""
        if put == Put.of(node):
            return []
        if put.address.identity != node.address.identity:
            self._ids.pop((node.key, node.address.identity), None)
            self._ids[node.key, put.address.identity] = node.id
        self._vassals.forget_name(node)
        change = self._apply(put, happening)
        self._vassals.name(self.table.nodes[node.id])
        return [change]

    def _apply(self, put: Put, happening: Happening) -> Change:
        self.table.apply(put)
        if put.state is not State.EJECTED:
            self._ejections.end(put.id, put.since)
        return Change(happening, put.key, put.address, put, put.vassal)

    def _remove(self, node: Node, now: float, happening: Happening) -> Change:
        event = Gone(node.id)
        self.table.apply(event)
        if node.address != NOWHERE:
            del self._ids[node.key, node.address.identity]
        self._vassals.forget(node)
        self._ejections.forget(node.id)
        self._by_age.pop(node.id, None)
        self._draining.discard(node.id)
        self._retry.pop(node.id, None)
        self._free.append((now, node.id))
        return Change(happening, node.key, node.address, event, node.vassal)

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
        if self._next == UNNUMBERED:
            return None
        self._next += 1
        return self._next - 1


def _moved(known: Address, announced: Address) -> bool:
    """Whether an announcement tells another address than the known one (another spelling is none)."""
    return announced != NOWHERE and announced.identity != known.identity

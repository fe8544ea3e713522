"""The registry against a plain model of it, and the tables of two workers that hear of its events by two ways.

One replica gets every event, those of one node in their order and those of different nodes in any; the other gets
what the master's channel sends: the state at the moment of sending of the nodes that changed, in pieces, those that
are gone first. Sessions begin and end and workers see nodes fail meanwhile. The clock is a number that rules turn on.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.model.made import view
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Event, Gone, Put
from uwsgirouter.model.node import State
from uwsgirouter.model.numbers import COOLING
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import STATIC_KEY, RouteTable
from uwsgirouter.protocol.messages import MessageReader, encode_message
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

TOLERANCE, GRACETIME = 17.0, 30.0
ADDRESSES = ["/a", "/b", "127.0.0.1:80", "127.0.0.1:080", "[::1]:80"]

Name = tuple[bytes, object]


@dataclass
class Known:
    """What the plain model knows of a node."""

    state: State
    weight: int
    cores: int
    seen: float
    until: float = 0.0


class Model:
    """The rules of the registry, as plainly as can be: everything is looked through each time."""

    def __init__(self, inflight: Counter[Name]) -> None:
        self.nodes: dict[Name, Known] = {}
        self.inflight = inflight

    def announce(self, name: Name, weight: int, cores: int, now: float) -> None:
        self.nodes[name] = Known(State.UP, weight, cores, now)

    def leave(self, name: Name) -> None:
        if name in self.nodes and self.inflight[name]:
            self.nodes[name].state = State.DRAINING
        else:
            self.nodes.pop(name, None)

    def fail(self, name: Name, now: float) -> None:
        if self.nodes[name].state is State.UP:
            self.nodes[name].state = State.DOWN
            self.nodes[name].until = now + GRACETIME

    def expire(self, now: float) -> None:
        for name, node in list(self.nodes.items()):
            if name[0] == STATIC_KEY:
                if node.state is State.DOWN and now >= node.until:
                    node.state = State.UP
            elif node.state is State.DRAINING:
                if not self.inflight[name]:
                    del self.nodes[name]
            elif now - node.seen > TOLERANCE:
                del self.nodes[name]

    def configure(self, wanted: Counter[Name]) -> None:
        for name in [name for name in self.nodes if name[0] == STATIC_KEY and name not in wanted]:
            del self.nodes[name]
        for name, weight in wanted.items():
            self.nodes.setdefault(name, Known(State.UP, weight, 0, 0)).weight = weight


class Replicas(RuleBasedStateMachine):
    """Rules are what the world does; :meth:`agree` holds after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.sessions: Counter[int] = Counter()
        self.named: Counter[Name] = Counter()
        self.model = Model(self.named)
        self.master = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.master, lambda id: self.sessions[id], TOLERANCE, GRACETIME)
        self.by_event = RouteTable(WeightedRoundRobin)
        self.pending: dict[int, deque[Event]] = {}
        self.by_state = RouteTable(WeightedRoundRobin)
        self.reader = MessageReader()
        self.dirty: dict[int, None] = {}
        self.freed: dict[int, float] = {}
        self.live: dict[int, Name] = {}

    # -- the master ---------------------------------------------------------------------------------------------------

    def take(self, changes: list[Change]) -> None:
        for change in changes:
            if change.event is None:
                assert change.happening is Happening.NEW_POOL
                continue
            self.pending.setdefault(change.event.id, deque()).append(change.event)
            self.dirty[change.event.id] = None
            self.account(change.event)

    def account(self, event: Event) -> None:
        """Numbers: never two live nodes with one, never again before its rest and the end of its sessions."""
        if isinstance(event, Gone):
            del self.live[event.id]
            self.freed[event.id] = self.now
            return
        name = (event.key, event.address.identity)
        if event.id in self.live:
            assert self.live[event.id] == name
            return
        assert name not in self.live.values()
        assert not self.sessions[event.id], "a number was given again under a running session"
        assert self.now - self.freed.pop(event.id, float("-inf")) >= COOLING
        self.live[event.id] = name

    @rule(
        key=st.sampled_from([b"x", b"y"]),
        text=st.sampled_from(ADDRESSES),
        weight=st.integers(1, 2),
        cores=st.integers(0, 1),
        load=st.integers(0, 3),
    )
    def announce(self, key: bytes, text: str, weight: int, cores: int, load: int) -> None:
        address = parse_peer(text)
        self.take(self.registry.announce(Announce(key, address, 0, 0, weight, cores, load), self.now))
        self.model.announce((key, address.identity), weight, cores, self.now)

    @rule(key=st.sampled_from([b"x", b"y", b"z"]), text=st.sampled_from(ADDRESSES))
    def leave(self, key: bytes, text: str) -> None:
        address = parse_peer(text)
        self.take(self.registry.announce(Announce(key, address, leaving=True), self.now))
        self.model.leave((key, address.identity))

    @rule(texts=st.lists(st.sampled_from(ADDRESSES), max_size=3))
    def configure(self, texts: list[str]) -> None:
        addresses = [parse_peer(text) for text in texts]
        self.take(self.registry.configure(addresses, self.now))
        self.model.configure(Counter((STATIC_KEY, address.identity) for address in addresses))

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.5, 5.0, 7.0, 12.5, 17.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.registry.expire(self.now))
        self.model.expire(self.now)

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0]))
    def time_passes_between_two_looks(self, seconds: float) -> None:
        self.now += seconds

    # -- the workers --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.master.nodes)
    @rule(data=st.data())
    def a_session_starts(self, data: st.DataObject) -> None:
        node = self.master.nodes[data.draw(st.sampled_from(sorted(self.master.nodes)))]
        if node.state is not State.DRAINING:
            self.sessions[node.id] += 1

    @precondition(lambda self: +self.sessions)
    @rule(data=st.data())
    def a_session_ends(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(+self.sessions)))
        self.sessions[id] -= 1

    @precondition(lambda self: self.by_event.nodes or self.by_state.nodes)
    @rule(data=st.data(), first=st.booleans())
    def a_worker_sees_a_node_fail(self, data: st.DataObject, first: bool) -> None:
        table = self.by_event if first else self.by_state
        up = sorted(id for id, node in table.nodes.items() if node.state is State.UP)
        if up:
            id = data.draw(st.sampled_from(up))
            table.fail(table.nodes[id])
            self.take(self.registry.fail(id, self.now))
            if id in self.live:
                self.model.fail(self.live[id], self.now)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def an_event_arrives(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(sorted(self.pending))))

    def deliver(self, id: int) -> None:
        self.by_event.apply(self.pending[id].popleft())
        if not self.pending[id]:
            del self.pending[id]

    @precondition(lambda self: self.dirty)
    @rule(most=st.integers(1, 3))
    def a_message_arrives(self, most: int) -> None:
        self.send(most, snapshot=False)

    @rule(most=st.integers(1, 3))
    def a_worker_is_replaced(self, most: int) -> None:
        """The new one gets all nodes, the first message of them as a snapshot."""
        self.dirty = dict.fromkeys(self.master.nodes)
        self.send(most, snapshot=True)

    def send(self, most: int, snapshot: bool) -> None:
        rows: list[object] = []
        gone: list[int] = []
        while self.dirty and len(rows) < most:
            id, _ = self.dirty.popitem()
            node = self.master.nodes.get(id)
            if node is None:
                gone.append(id)
            else:
                rows.append(Put.of(node).row())
        for message in self.reader.feed(encode_message(snapshot, rows, gone)):
            self.obey(*message)

    def obey(self, snapshot: object, rows: object, gone: object) -> None:
        assert isinstance(rows, list) and isinstance(gone, list)
        if snapshot:
            self.by_state.clear()
        for id in gone:
            self.by_state.apply(Gone(id))
        for row in rows:
            self.by_state.apply(Put.from_row(row))

    # -- what always holds --------------------------------------------------------------------------------------------

    @rule()
    def all_is_delivered(self) -> None:
        while self.pending:
            self.deliver(next(iter(self.pending)))
        while self.dirty:
            self.send(2, snapshot=False)

    @invariant()
    def agree(self) -> None:
        for table in (self.master, self.by_event, self.by_state):
            view(table)
        if not self.pending:
            assert view(self.by_event) == view(self.master)
        if not self.dirty:
            assert view(self.by_state) == view(self.master)

    @invariant()
    def the_registry_is_its_model(self) -> None:
        assert {id: (node.key, node.address.identity) for id, node in self.master.nodes.items()} == self.live
        found = {
            (node.key, node.address.identity): (node.state, node.weight, node.cores)
            for node in self.master.nodes.values()
        }
        assert found == {name: (node.state, node.weight, node.cores) for name, node in self.model.nodes.items()}

    @invariant()
    def the_model_counts_the_same_sessions(self) -> None:
        self.named.clear()
        self.named.update({name: self.sessions[id] for id, name in self.live.items()})

    def teardown(self) -> None:
        self.all_is_delivered()
        self.agree()


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(stateful_step_count=60)

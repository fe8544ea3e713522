"""Routers that tell each other what they serve, as values: what is told and taken back, and that it comes to rest."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.made import put, table
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.errors import ProtocolError
from uwsgirouter.model.events import Gone
from uwsgirouter.model.node import SERVING, State
from uwsgirouter.model.passing import EVERY, Passing
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.ways import Ways
from uwsgirouter.protocol.forwarding import check_route, router_id
from uwsgirouter.protocol.subscription import Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import NOWHERE, Address, parse_peer

TOLERANCE = 17.0
KEY = b"foo.com"
NODE = Announce(KEY, parse_peer("127.0.0.1:3001"), 5)


def id_of(number: int) -> bytes:
    return router_id(number.to_bytes(8, "big"))


OWN, OTHER, THIRD = id_of(1), id_of(2), id_of(3)


def told(passed: Announce | None) -> tuple[bool, tuple[bytes, ...]] | None:
    return None if passed is None else (passed.leaving, passed.route)


@pytest.fixture
def routes() -> RouteTable:
    return table(put(1))


@pytest.fixture
def passing(routes: RouteTable) -> Passing:
    return Passing(routes, Ways(TOLERANCE), OWN)


def test_what_is_served_here_is_passed_on_without_an_address(passing: Passing) -> None:
    passed = passing.pass_on(NODE, 0.0)
    assert passed == Announce(KEY, NOWHERE, 5, route=(OWN,))


def test_many_nodes_of_a_key_make_one_announcement(passing: Passing, routes: RouteTable) -> None:
    routes.apply(put(2))
    assert passing.pass_on(NODE, 0.0) is not None
    assert passing.pass_on(Announce(KEY, parse_peer("127.0.0.1:3002"), 5), 0.5) is None
    assert passing.pass_on(NODE, EVERY) is not None
    assert passing.pass_on(Announce(KEY, NODE.address, 6), EVERY + 0.1) is not None, "news is told at once"


@pytest.mark.parametrize("state", [State.DOWN, State.DRAINING, State.EJECTED, State.INACTIVE, None])
def test_a_key_that_nobody_serves_is_taken_back_once(passing: Passing, routes: RouteTable, state: State | None) -> None:
    assert passing.pass_on(NODE, 0.0) is not None
    assert passing.missing([KEY, b"bar.com"]) == []
    routes.apply(put(1, state=state) if state else Gone(1))
    assert list(map(told, passing.missing([KEY, KEY]))) == [(True, (OWN,))]
    assert passing.missing([KEY]) == []
    assert passing.pass_on(NODE, 0.1) is None, "a node that is out announces itself, and serves nobody"
    routes.apply(put(1))
    assert told(passing.pass_on(NODE, 0.2)) == (False, (OWN,))


def test_one_node_that_is_left_is_enough(passing: Passing, routes: RouteTable) -> None:
    routes.apply(put(2, state=State.UNCONFIRMED))
    assert passing.pass_on(NODE, 0.0) is not None
    routes.apply(Gone(1))
    assert passing.missing([KEY]) == []


def test_an_unsubscription_says_nothing_by_itself(passing: Passing) -> None:
    assert passing.pass_on(Announce(KEY, NODE.address, leaving=True), 0.0) is None


def test_all_is_taken_back_when_the_router_stops(passing: Passing, routes: RouteTable) -> None:
    routes.apply(put(2, b"bar.com"))
    passing.pass_on(NODE, 0.0)
    passing.pass_on(Announce(b"bar.com", NODE.address), 0.0)
    assert [(passed.key, passed.leaving) for passed in passing.all()] == [(KEY, True), (b"bar.com", True)]
    assert passing.all() == []


def test_who_is_reached_through_others_is_told_apart_from_our_own() -> None:
    router = Router(1, ())
    router.take(NODE, 0.0)
    far = Announce(KEY, parse_peer("10.0.0.2:3017"), route=(OTHER,))
    assert [told(passed) for passed in router.take(far, 0.0)] == [(False, (OTHER, OWN))]
    gone = router.take(Announce(KEY, NODE.address, leaving=True), 1.0)
    assert [told(passed) for passed in gone] == [(True, (OWN,))], "the other router's nodes are not ours"
    gone = router.take(Announce(KEY, far.address, leaving=True, route=(OTHER,)), 2.0)
    assert [told(passed) for passed in gone] == [(True, (OTHER, OWN))]


def test_a_router_leaves_when_the_last_origin_does() -> None:
    router = Router(1, ())
    where = parse_peer("10.0.0.2:3017")
    router.take(Announce(KEY, where, route=(OTHER,)), 0.0)
    router.take(Announce(KEY, where, route=(THIRD, OTHER)), 0.0)
    router.take(Announce(KEY, where, leaving=True, route=(OTHER,)), 1.0)
    assert router.nodes() == [where]
    router.take(Announce(KEY, where, leaving=True, route=(THIRD, OTHER)), 1.0)
    assert router.nodes() == []


def test_the_shortest_way_to_an_origin_is_taken_and_another_when_that_is_silent() -> None:
    router = Router(1, ())
    near, far = parse_peer("10.0.0.2:3017"), parse_peer("10.0.0.3:3017")
    router.take(Announce(KEY, near, route=(OTHER,)), 0.0)
    router.take(Announce(KEY, far, route=(OTHER, THIRD)), 0.0)
    assert router.nodes() == [near]
    router.take(Announce(KEY, far, route=(OTHER, THIRD)), TOLERANCE + 1)
    assert far in router.nodes()


def test_ways_as_long_as_the_shortest_are_all_taken() -> None:
    router = Router(1, ())
    addresses = [parse_peer(f"10.0.0.{number}:3017") for number in (2, 3)]
    for number, address in enumerate(addresses, start=5):
        router.take(Announce(KEY, address, route=(OTHER, id_of(number))), 0.0)
    assert router.nodes() == addresses


def test_an_origin_that_is_not_heard_of_is_forgotten_though_its_router_is() -> None:
    router = Router(1, ())
    where = parse_peer("10.0.0.2:3017")
    router.take(Announce(KEY, where, route=(THIRD, OTHER)), 0.0)
    for second in range(1, 18):
        router.take(Announce(KEY, where, route=(OTHER,)), float(second))
    assert [told(passed) for passed in router.tick(TOLERANCE + 0.5)] == [(True, (THIRD, OTHER, OWN))]
    assert router.nodes() == [where]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uwsgirouter.model.ways.WAYS_MAX", 100)
    ways = Ways(TOLERANCE)
    for number in range(1000):
        ways.hear(Announce(KEY, parse_peer("10.0.0.2:3017"), route=(id_of(number),)), 0.0)
    assert sum(1 for number in range(1000) if list(ways.routers(KEY, id_of(number)))) == 100
    assert ways.expire(TOLERANCE + 1) == [KEY] * 100
    assert vars(ways) == vars(Ways(TOLERANCE)), "nothing is left"


# -- networks ---------------------------------------------------------------------------------------------------------


class Router:
    """All of a master that has to do with it: the registry, and what it hears and tells."""

    def __init__(self, number: int, links: tuple[int, ...]) -> None:
        self.own = id_of(number)
        self.links = links
        self.address = parse_peer(f"10.0.0.{number}:3017")
        self.table = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: 0, TOLERANCE, 30.0)
        self.ways = Ways(TOLERANCE)
        self.passing = Passing(self.table, self.ways, self.own)

    def take(self, announce: Announce, now: float) -> list[Announce]:
        """What it tells because of an announcement."""
        try:
            check_route(announce, self.own)
        except ProtocolError:
            return []
        heard = self.ways.hear(announce, now)
        passed = None
        if heard is not None:
            self.registry.announce(heard, now)
            passed = self.passing.pass_on(announce, now)
        return [*([passed] if passed else []), *self.passing.missing([announce.key])]

    def refuse(self, address: Address, now: float) -> list[Announce]:
        """What it tells because ``address`` refused a connection."""
        for node in list(self.table.nodes.values()):
            if node.address == address:
                self.registry.fail(node.id, now, "refused")
        return self.passing.missing([KEY])

    def tick(self, now: float) -> list[Announce]:
        """What it tells because time has passed."""
        self.registry.expire(now)
        return self.passing.missing([*self.ways.expire(now), KEY])

    def nodes(self) -> list[Address]:
        """Those that get requests, of any level."""
        slot = self.table.slots.get(KEY)
        return [node.address for node in slot.nodes if node.state in SERVING] if slot else []

    def choices(self) -> list[Address]:
        """Those that get requests now: the best level."""
        slot = self.table.slots.get(KEY)
        up = [node for node in slot.nodes if node.state in SERVING] if slot else []
        return [node.address for node in up if node.backup == min(node.backup for node in up)]


class Network:
    """Routers that resubscribe to each other; ``links[i]`` are those that router i tells."""

    def __init__(self, links: dict[int, tuple[int, ...]]) -> None:
        self.routers = {number: Router(number, told) for number, told in links.items()}
        self.now = 0.0
        self.datagrams = 0
        self.nodes: dict[int, set[Address]] = {number: set() for number in links}

    def step(self) -> None:
        """Ten seconds: every node announces itself to its router, time passes, all datagrams arrive."""
        for number, nodes in self.nodes.items():
            for node in sorted(nodes):
                self.send(number, Announce(KEY, node))
        for _ in range(10):
            self.now += 1.0
            for number, router in self.routers.items():
                self.spread(number, router.tick(self.now))

    def send(self, number: int, announce: Announce) -> None:
        """A node speaks to router ``number``."""
        self.spread(number, self.routers[number].take(announce, self.now))

    def kill(self, number: int, node: Address) -> None:
        """A node dies without a word; whoever gives it a request sees that."""
        self.nodes[number].discard(node)
        self.spread(number, self.routers[number].refuse(node, self.now))

    def spread(self, number: int, passed: list[Announce]) -> None:
        waiting = deque((number, each) for each in passed)
        while waiting:
            source, each = waiting.popleft()
            data = encode_announce(each._replace(address=self.routers[source].address))
            for receiver in self.routers[source].links:
                self.datagrams += 1
                waiting.extend(
                    (receiver, more) for more in self.routers[receiver].take(decode_announce(data), self.now)
                )

    def walks(self, number: int) -> set[str]:
        """How requests to router ``number`` may end: "served", "nobody" or "circle"."""
        by_address = {router.address: other for other, router in self.routers.items()}
        ends = set()
        paths: list[tuple[int, ...]] = [(number,)]
        while paths:
            path = paths.pop()
            choices = self.routers[path[-1]].choices()
            if not choices:
                ends.add("nobody")
            for choice in choices:
                if choice not in by_address:
                    alive = any(choice in nodes for nodes in self.nodes.values())
                    ends.add("served" if alive else "dead")
                elif by_address[choice] in path:
                    ends.add("circle")
                else:
                    paths.append((*path, by_address[choice]))
        return ends


def test_two_that_point_at_each_other() -> None:
    network = Network({1: (2,), 2: (1,)})
    network.nodes[1].add(NODE.address)
    for _ in range(5):
        network.step()
    assert network.datagrams == 2 * 5, "each announcement goes over, and comes back to be dropped"
    assert network.routers[2].nodes() == [network.routers[1].address]
    assert network.routers[1].nodes() == [NODE.address]
    network.kill(1, NODE.address)
    assert [router.nodes() for router in network.routers.values()] == [[], []]


def test_both_have_nodes_and_lose_them_at_once() -> None:
    """What would send requests to and fro: each believes that the other one serves."""
    network = Network({1: (2,), 2: (1,)})
    nodes = {number: parse_peer(f"127.0.0.1:300{number}") for number in (1, 2)}
    for number, node in nodes.items():
        network.nodes[number].add(node)
    network.step()
    assert [network.walks(number) for number in (1, 2)] == [{"served"}] * 2
    network.kill(1, nodes[1])
    assert network.walks(1) == {"served"}
    assert network.routers[1].choices() == [network.routers[2].address]
    network.kill(2, nodes[2])
    assert [network.walks(number) for number in (1, 2)] == [{"nobody"}] * 2


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["come", "leave", "die", "step"]), st.integers(1, 5), st.integers(1, 2)), max_size=25
)


@settings(max_examples=60, deadline=None)
@given(st.data(), ACTIONS)
def test_any_network_agrees_goes_in_no_circles_and_is_quiet(
    data: st.DataObject, actions: list[tuple[str, int, int]]
) -> None:
    count = data.draw(st.integers(2, 5), label="routers")
    links = {
        number: tuple(
            sorted(data.draw(st.sets(st.integers(1, count), max_size=count), label=f"{number} tells") - {number})
        )
        for number in range(1, count + 1)
    }
    network = Network(links)
    for action, number, which in actions:
        router = 1 + number % count
        node = parse_peer(f"127.0.0.1:{3000 + 10 * router + which}")
        if action == "come":
            network.nodes[router].add(node)
            network.send(router, Announce(KEY, node))
        elif action == "leave" and node in network.nodes[router]:
            network.nodes[router].discard(node)
            network.send(router, Announce(KEY, node, leaving=True))
        elif action == "die" and node in network.nodes[router]:
            network.kill(router, node)
        elif action == "step":
            network.step()
        assert all("circle" not in network.walks(each) for each in links)
    for _ in range(3):
        network.step()
    for number in links:
        reachable = reaching(links, number) | {number}
        expected = {"served"} if any(network.nodes[other] for other in reachable) else {"nobody"}
        assert network.walks(number) == expected
    before = network.datagrams
    network.step()
    origins = sum(1 for nodes in network.nodes.values() if nodes)
    assert network.datagrams - before <= origins * sum(map(len, links.values())), "each link once for each origin"


def reaching(links: dict[int, tuple[int, ...]], number: int) -> set[int]:
    """Who tells ``number``, itself or through others."""
    found: set[int] = set()
    waiting = [number]
    while waiting:
        target = waiting.pop()
        for other, told_by in links.items():
            if target in told_by and other not in found:
                found.add(other)
                waiting.append(other)
    return found


def test_nobody_left_leaves_nothing_behind() -> None:
    network = Network({1: (2, 3), 2: (1, 3), 3: (1, 2)})
    network.nodes[1].add(NODE.address)
    network.step()
    network.nodes[1].clear()
    network.send(1, Announce(KEY, NODE.address, leaving=True))
    for _ in range(3):
        network.step()
    for router in network.routers.values():
        assert router.table.nodes == {}
        assert vars(router.ways) == vars(Ways(TOLERANCE))
        assert router.passing.all() == []


def test_routers_of_an_origin_and_origins_of_a_router_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each announcement looks at all of them: a flood of made-up ones must not make that thousands."""
    monkeypatch.setattr("uwsgirouter.model.ways.ROUTERS_MAX", 3)
    monkeypatch.setattr("uwsgirouter.model.ways.ORIGINS_MAX", 4)
    ways = Ways(TOLERANCE)

    def hear(router: int, origin: int) -> str:
        try:
            ways.hear(Announce(KEY, parse_peer(f"10.0.0.{router}:3017"), route=(id_of(origin),)), 0.0)
        except ProtocolError as error:
            return error.reason
        return ""

    assert [hear(router, 0) for router in range(5)] == [""] * 3 + ["too many routers"] * 2
    assert [hear(0, origin) for origin in range(6)] == [""] * 4 + ["too many routers"] * 2
    assert len(list(ways.routers(KEY, id_of(0)))) == 3
    ways.expire(TOLERANCE + 1)
    assert vars(ways) == vars(Ways(TOLERANCE)), "nothing is left"

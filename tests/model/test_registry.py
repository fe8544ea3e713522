"""The registry's decisions one by one, with the time given by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.model.made import view
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.model import numbers as module
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Gone, Put
from uwsgirouter.model.node import State
from uwsgirouter.model.numbers import COOLING
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY, RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import Address, parse_peer

UP, DOWN, DRAINING = State.UP, State.DOWN, State.DRAINING
TOLERANCE, GRACETIME = 17.0, 30.0


class World:
    """A registry, the sessions under way, and a replica that sees its events."""

    def __init__(self) -> None:
        self.inflight: Counter[int] = Counter()
        self.table = RouteTable(WeightedRoundRobin)
        self.replica = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: self.inflight[id], TOLERANCE, GRACETIME)

    def seen(self, changes: list[Change]) -> list[Happening]:
        """The happenings; the replica takes the events and must agree."""
        for change in changes:
            if change.event is not None:
                self.replica.apply(change.event)
        assert view(self.replica) == view(self.table)
        return [change.happening for change in changes]

    def announce(self, now: float, address: str = "/a", key: bytes = b"k", /, **values: int) -> list[Happening]:
        announce = Announce(key, parse_peer(address), **values)  # type: ignore[arg-type]  # only numbers are passed
        return self.seen(self.registry.announce(announce, now))

    def leave(self, now: float, address: str = "/a", key: bytes = b"k") -> list[Happening]:
        return self.seen(self.registry.announce(Announce(key, parse_peer(address), leaving=True), now))

    def fail(self, id: int, now: float) -> list[Happening]:
        return self.seen(self.registry.fail(id, now))

    def expire(self, now: float) -> list[Happening]:
        return self.seen(self.registry.expire(now))

    def configure(self, now: float, *texts: str) -> list[Happening]:
        return self.seen(self.registry.configure([parse_peer(text) for text in texts], now))

    def stand_by(self, now: float, *texts: str) -> list[Happening]:
        """No static nodes, these fallback nodes."""
        return self.seen(self.registry.configure([], now, [parse_peer(text) for text in texts]))

    def states(self) -> dict[str, State]:
        return {node.address.text: node.state for node in self.table.nodes.values()}

    def id_of(self, address: str) -> int:
        (id,) = [node.id for node in self.table.nodes.values() if node.address.text == address]
        return id


@pytest.fixture
def world() -> World:
    return World()


# -- announcements --------------------------------------------------------------------------------------------------


def test_the_first_node_of_a_key_makes_a_pool(world: World) -> None:
    assert world.announce(10, weight=3, cores=2, modifier1=5) == [Happening.NEW_POOL, Happening.NEW]
    assert world.announce(10, "/b") == [Happening.NEW]
    assert world.announce(10, "/a", b"other") == [Happening.NEW_POOL, Happening.NEW]
    node = world.table.nodes[0]
    assert (node.weight, node.cores, node.modifiers, node.since) == (3, 2, (5, 0), 10)
    assert world.registry.heard(node) == 10
    assert world.registry.numbers == 3


def test_a_change_tells_what_and_where() -> None:
    world = World()
    address = parse_peer("127.0.0.1:3031")
    pool, new = world.registry.announce(Announce(b"k", address), 1.0)
    assert pool == Change(Happening.NEW_POOL, b"k", address, None)
    assert new == Change(Happening.NEW, b"k", address, Put(0, b"k", address, (0, 0), 1, 0, 0, UP, 1.0))


def test_the_same_again_is_no_change(world: World) -> None:
    world.announce(10, weight=3)
    assert world.announce(20, weight=3) == []
    assert world.announce(30, weight=3, load=70) == []
    node = world.table.nodes[0]
    assert (world.registry.heard(node), node.load, node.since) == (30, 70, 10)


@pytest.mark.parametrize("changed", [{"weight": 2}, {"cores": 7}, {"modifier1": 5}, {"modifier2": 1}])
def test_other_values_are(world: World, changed: dict[str, int]) -> None:
    world.announce(10)
    assert world.announce(20, **changed) == [Happening.UPDATED]
    assert world.announce(30, **changed) == []
    assert world.table.nodes[0].since == 10, "it has been up since then"


def test_two_spellings_are_one_node(world: World) -> None:
    world.announce(10, "127.0.0.1:80")
    assert world.announce(11, "127.0.0.1:080") == []
    world.announce(12, "[::1]:80")
    assert world.announce(13, "[0:0::1]:80") == []
    assert len(world.table.nodes) == 2


# -- taking leave ---------------------------------------------------------------------------------------------------


def test_an_idle_node_leaves_at_once(world: World) -> None:
    world.announce(10)
    assert world.leave(11) == [Happening.LEFT]
    assert view(world.table) == ({}, {})
    assert world.leave(12) == []


def test_a_busy_node_drains_until_its_last_session_is_over(world: World) -> None:
    world.announce(10)
    world.inflight[0] = 2
    assert world.leave(11) == [Happening.LEAVING]
    assert world.leave(12) == []
    assert world.table.slots[b"k"].next() is None
    assert world.expire(1000) == [], "a draining node does not expire"
    world.inflight[0] = 1
    assert world.expire(1001) == []
    world.inflight[0] = 0
    assert world.expire(1002) == [Happening.DRAINED]
    assert view(world.table) == ({}, {})


def test_a_second_leave_removes_a_node_that_has_drained(world: World) -> None:
    world.announce(10)
    world.inflight[0] = 1
    world.leave(11)
    world.inflight[0] = 0
    assert world.leave(12) == [Happening.LEFT]
    assert world.expire(100) == []


def test_a_draining_node_that_announces_itself_is_back(world: World) -> None:
    world.announce(10)
    world.inflight[0] = 1
    world.leave(11)
    assert world.announce(12) == [Happening.BACK]
    world.inflight[0] = 0
    assert world.expire(13) == []
    assert world.states() == {"/a": UP}
    assert world.expire(29.5) == [Happening.EXPIRED], "it expires as any other again"


def test_a_failed_node_may_leave(world: World) -> None:
    world.announce(10)
    world.inflight[0] = 1
    world.fail(0, 11)
    assert world.leave(12) == [Happening.LEAVING]
    assert world.fail(0, 13) == [], "it is going anyway"
    world.inflight[0] = 0
    assert world.expire(14) == [Happening.DRAINED]


# -- time and failures ----------------------------------------------------------------------------------------------


def test_a_node_expires_after_the_tolerance_and_not_before(world: World) -> None:
    world.announce(10, "/a")
    world.announce(15, "/b")
    assert world.expire(27) == []
    assert world.expire(27.001) == [Happening.EXPIRED]
    assert world.states() == {"/b": UP}
    world.announce(32, "/b")
    assert world.expire(49) == []
    assert world.expire(49.5) == [Happening.EXPIRED]


def test_the_order_of_age_is_that_of_the_last_announcement(world: World) -> None:
    for number, address in enumerate(["/a", "/b", "/c"]):
        world.announce(number, address)
    world.announce(10, "/a")
    assert world.expire(18.5) == [Happening.EXPIRED]
    assert world.expire(25) == [Happening.EXPIRED]
    assert world.states() == {"/a": UP}


def test_a_shorter_tolerance_counts_from_the_next_look(world: World) -> None:
    world.announce(10)
    world.registry.tolerance = 2
    assert world.expire(12) == []
    assert world.expire(12.5) == [Happening.EXPIRED]


def test_a_failed_node_is_back_with_its_next_announcement(world: World) -> None:
    world.announce(10)
    assert world.fail(0, 11) == [Happening.FAILED]
    assert world.fail(0, 11) == [], "another worker saw the same"
    assert (world.states(), world.table.nodes[0].since) == ({"/a": DOWN}, 11)
    assert world.expire(26) == [], "time alone does not bring it back"
    assert world.announce(26, weight=2) == [Happening.BACK]
    assert (world.states(), world.table.nodes[0].since, world.table.nodes[0].weight) == ({"/a": UP}, 26, 2)


def test_a_failed_node_that_is_silent_expires(world: World) -> None:
    world.announce(10)
    world.fail(0, 11)
    assert world.expire(27.5) == [Happening.EXPIRED]


def test_a_failure_of_nobody_is_nothing(world: World) -> None:
    assert world.fail(7, 1) == []
    world.announce(10)
    world.leave(11)
    assert world.fail(0, 12) == []


# -- configured nodes -----------------------------------------------------------------------------------------------


def test_configured_nodes_never_expire(world: World) -> None:
    assert world.configure(1, "/a", "/b") == [Happening.CONFIGURED] * 2
    assert world.expire(100_000) == []
    assert list(world.table.slots) == [STATIC_KEY]


def test_a_failed_static_node_is_back_after_its_grace_time(world: World) -> None:
    world.configure(1, "/a", "/b")
    assert world.fail(world.id_of("/a"), 100) == [Happening.FAILED]
    assert world.expire(129.9) == []
    assert world.states() == {"/a": DOWN, "/b": UP}
    assert world.expire(130) == [Happening.BACK]
    assert world.states() == {"/a": UP, "/b": UP}
    assert world.expire(200) == []
    assert world.fail(world.id_of("/a"), 300) == [Happening.FAILED]
    assert world.expire(330) == [Happening.BACK]


def test_one_listed_twice_gets_twice_the_requests(world: World) -> None:
    world.configure(1, "/a", "/b", "/a")
    slot = world.table.slots[STATIC_KEY]
    found = Counter(node.address.text for node in (slot.next() for _ in range(30)) if node)
    assert found == {"/a": 20, "/b": 10}


def test_configure_tells_only_the_difference(world: World) -> None:
    world.configure(1, "/a", "/b")
    kept = world.table.nodes[world.id_of("/b")]
    assert world.configure(2, "/a", "/b") == []
    assert world.configure(3, "/b", "/a") == []
    assert world.configure(4, "/b", "/c") == [Happening.DISCARDED, Happening.CONFIGURED]
    assert world.configure(5, "/b", "/c", "/b") == [Happening.CONFIGURED]
    assert world.table.nodes[kept.id] is kept
    assert (kept.weight, kept.since) == (2, 1)
    assert world.configure(6) == [Happening.DISCARDED] * 2
    assert view(world.table) == ({}, {})


def test_a_reload_leaves_a_failed_node_in_its_grace_time(world: World) -> None:
    world.configure(1, "/a", "/b")
    world.fail(world.id_of("/a"), 100)
    world.configure(101, "/a", "/a", "/b")
    assert world.states()["/a"] is DOWN
    assert world.expire(130) == [Happening.BACK]
    assert world.table.nodes[world.id_of("/a")].weight == 2


def test_a_reload_may_remove_a_failed_node(world: World) -> None:
    world.configure(1, "/a", "/b")
    world.fail(world.id_of("/a"), 100)
    assert world.configure(101, "/b") == [Happening.DISCARDED]
    assert world.expire(1000) == []


def test_configured_and_announced_nodes_of_one_address_are_two(world: World) -> None:
    world.configure(1, "/a")
    world.announce(2, "/a")
    assert sorted(world.table.slots) == [STATIC_KEY, b"k"]
    assert world.configure(3) == [Happening.DISCARDED]
    assert world.states() == {"/a": UP}


# -- fallback nodes -------------------------------------------------------------------------------------------------


def test_fallback_nodes_stand_in_the_order_of_the_file(world: World) -> None:
    def order() -> list[str]:
        return [node.address.text for node in world.table.slots[FALLBACK_KEY].nodes]

    assert world.stand_by(1, "/a", "/b", "/c") == [Happening.CONFIGURED] * 3
    assert order() == ["/a", "/b", "/c"]
    assert world.stand_by(2, "/a", "/b", "/c") == []
    kept = world.table.nodes[world.id_of("/a")]
    world.stand_by(3, "/a", "/c", "/b")
    assert order() == ["/a", "/c", "/b"]
    assert world.table.nodes[kept.id] is kept
    assert world.stand_by(4, "/c", "/b") == [Happening.DISCARDED]
    world.stand_by(5, "/b")
    world.stand_by(6, "/d", "/b")
    assert order() == ["/d", "/b"]
    assert [node.address.text for node in world.replica.slots[FALLBACK_KEY].nodes] == ["/d", "/b"]
    world.stand_by(7)
    assert view(world.table) == ({}, {})


def test_a_failed_fallback_node_is_back_after_its_grace_time(world: World) -> None:
    world.stand_by(1, "/a", "/b")
    assert world.fail(world.id_of("/a"), 100) == [Happening.FAILED]
    assert world.expire(129.9) == []
    assert world.expire(130) == [Happening.BACK]
    assert world.states() == {"/a": UP, "/b": UP}


def test_a_static_node_may_be_a_fallback_too(world: World) -> None:
    addresses = [parse_peer("/a")]
    assert world.seen(world.registry.configure(addresses, 1.0, addresses)) == [Happening.CONFIGURED] * 2
    assert world.configure(2, "/a") == [Happening.DISCARDED]
    assert sorted(world.table.slots) == [STATIC_KEY]


# -- numbers --------------------------------------------------------------------------------------------------------


def test_a_number_rests_before_it_is_given_again(world: World) -> None:
    world.announce(10, "/a")
    world.leave(11, "/a")
    world.announce(11 + COOLING - 0.1, "/b")
    assert world.id_of("/b") == 1
    world.announce(11 + COOLING, "/c")
    assert world.id_of("/c") == 0
    assert world.registry.numbers == 2


def test_a_number_is_not_given_again_while_a_session_counts_on_it(world: World) -> None:
    world.announce(10, "/a")
    world.inflight[0] = 1
    assert world.expire(30) == [Happening.EXPIRED]
    world.announce(50, "/b")
    assert world.id_of("/b") == 1
    world.inflight[0] = 0
    world.announce(54, "/c")
    assert world.id_of("/c") == 2, "it rests again from when it was seen in use"
    world.announce(55, "/d")
    assert world.id_of("/d") == 0


def test_a_full_registry_refuses_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNNUMBERED", 2)
    world.announce(1, "/a")
    world.configure(1, "/s")
    assert world.announce(2, "/b") == [Happening.FULL]
    assert world.configure(2, "/s", "/t") == [Happening.FULL]
    assert world.announce(3, "/a") == []
    assert world.leave(4, "/a") == [Happening.LEFT]
    assert world.announce(4, "/b") == [Happening.FULL], "the number still rests"
    assert world.announce(10, "/b") == [Happening.NEW_POOL, Happening.NEW]
    assert world.states() == {"/b": UP, "/s": UP}


def test_nodes_that_come_and_go_for_ever_use_few_numbers(world: World) -> None:
    for number in range(3000):
        now = float(number)
        assert Happening.NEW in world.announce(now, f"/{number}")
        assert world.leave(now + 0.5, f"/{number}") == [Happening.LEFT]
    assert world.registry.numbers <= COOLING + 2


def test_events_of_a_removal() -> None:
    world = World()
    address: Address = parse_peer("/a")
    world.registry.announce(Announce(b"k", address), 1.0)
    assert world.registry.announce(Announce(b"k", address, leaving=True), 2.0) == [
        Change(Happening.LEFT, b"k", address, Gone(0))
    ]

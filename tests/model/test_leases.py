"""Leases of names: what the registry is told when names come, mean something else, and fall silent."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from uwsgirouter.errors import ProtocolError
from uwsgirouter.model import leases as module
from uwsgirouter.model.hearing import Hearing
from uwsgirouter.model.leases import IDLE, RENEWAL, Leases
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, parse_peer

TOLERANCE = 17.0
NOTIFY = parse_peer("127.0.0.1:5000")
SAID = Announce(b"k", parse_peer("App.internal.:3031"), 1, 2, weight=3, cores=4, load=5, notify=NOTIFY)


def shown(announces: list[Announce]) -> list[str]:
    """``+`` or ``-`` and the address."""
    return [("-" if announce.leaving else "+") + announce.address.text for announce in announces]


def known(*hosts: str, said: Announce = SAID) -> Leases:
    """Leases with one name that means ``hosts``, heard of at 100.0."""
    leases = Leases()
    leases.hear(said, 100.0)
    leases.learn("app.internal", hosts, 100.0)
    leases.accepted()
    leases.news()
    return leases


def test_a_name_waits_until_it_is_known_and_then_means_all_its_addresses() -> None:
    leases = Leases()
    assert leases.hear(SAID, 100.0) == []
    assert leases.news() == [("app.internal", True)], "in the one form that it is looked up in"
    assert leases.hear(SAID, 101.0) == []
    assert leases.news() == []
    found = leases.learn("app.internal", ("10.0.0.1", "::1"), 102.0)
    assert found == [
        SAID._replace(address=parse_peer("10.0.0.1:3031"), notify=NOWHERE),
        SAID._replace(address=parse_peer("[::1]:3031"), notify=NOWHERE),
    ]
    assert leases.accepted() == [SAID], "acknowledged once, in its own words"
    assert shown(leases.hear(SAID._replace(load=6), 112.0)) == ["+10.0.0.1:3031", "+[::1]:3031"]
    assert leases.accepted() == []
    assert leases.learn("other", ("10.0.0.9",), 113.0) == []


def test_addresses_join_and_leave_while_it_is_announced() -> None:
    leases = known("10.0.0.1", "10.0.0.2")
    assert shown(leases.learn("app.internal", ("10.0.0.2", "10.0.0.3"), 105.0)) == ["+10.0.0.3:3031", "-10.0.0.1:3031"]
    assert leases.learn("app.internal", ("10.0.0.2", "10.0.0.3"), 106.0) == [], "nobody said that it is there"
    assert shown(leases.hear(SAID, 110.0)) == ["+10.0.0.2:3031", "+10.0.0.3:3031"]
    assert shown(leases.hear(SAID._replace(leaving=True), 111.0)) == ["-10.0.0.2:3031", "-10.0.0.3:3031"]
    assert leases.hear(SAID._replace(leaving=True), 112.0) == []
    assert shown(leases.hear(SAID, 113.0)) == ["+10.0.0.2:3031", "+10.0.0.3:3031"], "the name is still known"
    assert leases.accepted() == [SAID]


def test_new_values_count_for_all_nodes() -> None:
    leases = known("10.0.0.1", "10.0.0.2")
    found = leases.hear(SAID._replace(weight=9), 110.0)
    assert [announce.weight for announce in found] == [9, 9]
    (joined,) = leases.learn("app.internal", ("10.0.0.1", "10.0.0.2", "10.0.0.3"), 111.0)
    assert joined.weight == 9


def test_the_same_within_a_moment_costs_nothing() -> None:
    leases = known("10.0.0.1")
    assert len(leases.hear(SAID, 110.0)) == 1
    assert leases.hear(SAID._replace(load=9, unix=7), 110.0 + RENEWAL / 2) == []
    assert len(leases.hear(SAID._replace(weight=9), 110.0 + RENEWAL / 2)) == 1
    assert len(leases.hear(SAID, 112.0)) == 1


def test_a_name_that_cannot_be_looked_up() -> None:
    leases = Leases()
    leases.hear(SAID, 100.0)
    leases.fail("app.internal", "no such name")
    with pytest.raises(ProtocolError, match=r"cannot resolve App\.internal\.: no such name") as caught:
        leases.hear(SAID, 110.0)
    assert caught.value.reason == "unknown name"
    assert shown(leases.learn("app.internal", ("10.0.0.1",), 111.0)) == ["+10.0.0.1:3031"], "it was announced"
    leases.fail("app.internal", "no answer")
    assert shown(leases.hear(SAID, 120.0)) == ["+10.0.0.1:3031"], "it keeps its last meaning"
    leases.fail("nobody.announced.it", "no answer")


def test_a_silent_lease_ends_and_takes_along_who_joined_late() -> None:
    leases = known("10.0.0.1")
    leases.hear(SAID, 100.0)
    leases.learn("app.internal", ("10.0.0.1", "10.0.0.2"), 115.0)
    assert leases.expire(100.0 + TOLERANCE, TOLERANCE) == []
    assert leases.expire(117.1, TOLERANCE, Hearing(missed=116.0)) == [], "it may have been lost"
    assert shown(leases.expire(117.1, TOLERANCE)) == ["-10.0.0.2:3031"], "the other one expires by itself"
    assert list(leases) == []
    assert leases.news() == []
    leases.expire(117.1 + IDLE, TOLERANCE)
    assert leases.news() == []
    leases.expire(117.2 + IDLE, TOLERANCE)
    assert leases.news() == [("app.internal", False)]
    assert leases.names == {}


def test_two_names_of_one_machine() -> None:
    leases = known("10.0.0.1", "10.0.0.2")
    other = SAID._replace(address=parse_peer("www.internal:3031"))
    leases.hear(other, 100.0)
    leases.learn("www.internal", ("10.0.0.1",), 100.0)
    assert shown(leases.learn("app.internal", ("10.0.0.3",), 101.0)) == ["+10.0.0.3:3031", "-10.0.0.2:3031"]
    assert shown(leases.hear(other._replace(leaving=True), 102.0)) == ["-10.0.0.1:3031"]


def test_ports_and_keys_are_leases_of_their_own() -> None:
    leases = known("10.0.0.1")
    leases.hear(SAID._replace(address=parse_peer("app.internal:4000")), 100.0)
    leases.hear(SAID._replace(key=b"other"), 100.0)
    assert len(list(leases)) == 3
    assert leases.names == {"app.internal": ("10.0.0.1",)}
    assert shown(leases.hear(SAID._replace(leaving=True), 102.0)) == ["-10.0.0.1:3031"]
    assert len(leases.learn("app.internal", ("10.0.0.2",), 103.0)) == 4


def test_a_vassal_is_at_one_place() -> None:
    said = SAID._replace(vassal=b"a.ini")
    leases = known("10.0.0.1", "10.0.0.2", said=said)
    assert shown(leases.hear(said, 110.0)) == ["+10.0.0.1:3031"]
    assert leases.learn("app.internal", ("10.0.0.0", "10.0.0.1"), 111.0) == [], "it is still there"
    assert shown(leases.learn("app.internal", ("10.0.0.3",), 112.0)) == ["+10.0.0.3:3031"], "its node moves along"
    asleep = said._replace(inactive=True)
    assert leases.hear(asleep, 113.0) == [asleep._replace(address=NOWHERE)], "its name needs no look-up"
    stopped = said._replace(cleared=True)
    assert leases.hear(stopped, 114.0) == [stopped._replace(address=NOWHERE)]
    assert list(leases) == []


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_MOST", 2)
    monkeypatch.setattr(module, "LEASES_MOST", 3)
    leases = known("10.0.0.1")

    def hear(name: str, key: bytes, now: float = 100.0) -> str:
        try:
            leases.hear(Announce(key, parse_peer(f"{name}:1")), now)
        except ProtocolError as error:
            return error.reason
        return ""

    assert hear("second", b"k") == ""
    assert hear("third", b"k") == "too many names"
    assert hear("second", b"other") == ""
    assert hear("second", b"more") == "too many names"
    assert hear("second", b"k") == "", "those that are there stay"
    leases.expire(118.0, TOLERANCE)
    assert hear("third", b"k", 118.0) == "too many names", "their names are still looked up"
    leases.expire(119.0 + IDLE, TOLERANCE)
    assert hear("third", b"k", 120.0 + IDLE) == ""


def test_restored_leases_go_on() -> None:
    leases = Leases()
    leases.restore(SAID, ("10.0.0.1", "10.0.0.2"), 50.0)
    leases.restore(SAID, ("10.0.0.9",), 51.0)
    assert leases.news() == [("app.internal", True)]
    assert leases.names == {"app.internal": ("10.0.0.1", "10.0.0.2")}
    assert shown(leases.learn("app.internal", ("10.0.0.2", "10.0.0.3"), 52.0)) == ["+10.0.0.3:3031", "-10.0.0.1:3031"]
    assert leases.accepted() == [], "it was acknowledged by the router before"
    assert shown(leases.expire(68.0, TOLERANCE)) == ["-10.0.0.3:3031"]


# -- any sequence of events -----------------------------------------------------------------------------------------

KEYS, NAMES = [b"k", b"l"], ["one", "two"]
HOSTS = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "::1"]), min_size=1, unique=True).map(tuple)


class World(RuleBasedStateMachine):
    """Nodes as a registry would have them, against what the leases that are there mean."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.leases = Leases()
        self.meaning: dict[str, tuple[str, ...]] = {}
        self.heard: dict[tuple[bytes, str], float] = {}
        self.nodes: dict[tuple[bytes, str], float] = {}
        self.lingering: set[tuple[bytes, str]] = set()

    def take(self, announces: list[Announce]) -> None:
        for announce in announces:
            node = (announce.key, announce.address.host)
            if announce.leaving:
                self.nodes.pop(node, None)
            else:
                self.nodes[node] = self.now

    @rule(key=st.sampled_from(KEYS), name=st.sampled_from(NAMES), weight=st.integers(1, 2))
    def hear(self, key: bytes, name: str, weight: int) -> None:
        announce = Announce(key, parse_peer(f"{name}:1"), weight=weight)
        try:
            self.take(self.leases.hear(announce, self.now))
        except ProtocolError:
            assert name not in self.meaning
        self.heard[key, name] = self.now

    @rule(key=st.sampled_from(KEYS), name=st.sampled_from(NAMES))
    def leave(self, key: bytes, name: str) -> None:
        self.take(self.leases.hear(Announce(key, parse_peer(f"{name}:1"), leaving=True), self.now))
        self.heard.pop((key, name), None)

    @rule(name=st.sampled_from(NAMES), hosts=HOSTS)
    def learn(self, name: str, hosts: tuple[str, ...]) -> None:
        self.take(self.leases.learn(name, hosts, self.now))
        if name in self.leases.names:
            self.meaning[name] = hosts

    @rule(name=st.sampled_from(NAMES))
    def fail(self, name: str) -> None:
        self.leases.fail(name, "no answer")

    @rule(seconds=st.sampled_from([0.5, 5.0, 16.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        # Second by second, as the master does: a node is renewed up to RENEWAL later than its lease was heard of.
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            before = self.due()
            self.nodes = {node: seen for node, seen in self.nodes.items() if self.now - seen <= TOLERANCE}
            self.take(self.leases.expire(self.now, TOLERANCE))
            self.heard = {lease: heard for lease, heard in self.heard.items() if self.now - heard <= TOLERANCE}
            self.meaning = {name: hosts for name, hosts in self.meaning.items() if name in self.leases.names}
            # One that another lease kept alive until that lost it has the rest of its time.
            self.lingering = (self.lingering | (before - self.due())) & set(self.nodes)

    def due(self) -> set[tuple[bytes, str]]:
        return {(key, host) for key, name in self.heard for host in self.meaning.get(name, ())}

    @invariant()
    def the_nodes_are_what_the_leases_mean(self) -> None:
        assert {(lease.announce.key, lease.announce.address.host) for lease in self.leases} == set(self.heard)
        sure = {
            (key, host)
            for (key, name), heard in self.heard.items()
            if self.now - heard <= TOLERANCE - RENEWAL
            for host in self.meaning.get(name, ())
        }
        assert sure <= set(self.nodes)
        assert set(self.nodes) - self.due() <= self.lingering, "nothing is left of what left"


TestWorld = World.TestCase
TestWorld.settings = settings(stateful_step_count=40)


def test_there_is_room_for_so_many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with hundreds of addresses under thousands of keys would be millions of nodes."""
    monkeypatch.setattr(module, "ADDRESSES_MOST", 5)
    leases = known("10.0.0.1", "10.0.0.2", "10.0.0.3")
    other = SAID._replace(key=b"other")
    assert shown(leases.hear(other, 100.0)) == ["+10.0.0.1:3031", "+10.0.0.2:3031"], "as many as there is room for"
    with pytest.raises(ProtocolError, match=r"app\.internal: 5 addresses are used already"):
        leases.hear(SAID._replace(key=b"third"), 100.0)
    assert leases.learn("app.internal", ("10.0.0.1",), 101.0) != []
    assert shown(leases.hear(SAID._replace(key=b"third"), 102.0)) == ["+10.0.0.1:3031"], "others made room"
    for key in (b"k", b"other", b"third"):
        leases.hear(SAID._replace(key=key, leaving=True), 103.0)
    assert leases._addresses == 0

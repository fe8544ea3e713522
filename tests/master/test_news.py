"""News: what became of nodes, as pieces with numbers, and who is out of service, however they change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.log import Log
from uwsgirouter.master.news import KEPT, NODES_AT_ONCE, HeardLog, News
from uwsgirouter.model.changes import Change
from uwsgirouter.model.node import SERVING, State
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

ABLE = (*SERVING, State.INACTIVE)


class Site:
    """A registry, and the news of it."""

    def __init__(self) -> None:
        self.table = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: 0, 1000.0, 15.0)
        self.news = News(self.table)
        self.now = 10.0

    def announce(self, key: bytes, number: int, leaving: bool = False) -> None:
        self.now += 1
        said = Announce(key, parse_peer(f"127.0.0.1:{1000 + number}"), leaving=leaving)
        self._note(self.registry.announce(said, self.now))

    def fail(self, id: int) -> None:
        self.now += 1
        self._note(self.registry.fail(id, self.now, "refused"))

    def _note(self, changes: list[Change]) -> None:
        for change in changes:
            if change.event is not None:
                self.news.node_changed(change.event.id)


def test_what_became_of_a_node() -> None:
    site = Site()
    site.announce(b"a", 1)
    site.news.look()
    site.fail(0)
    site.news.look()
    site.announce(b"a", 1, True)
    site.news.look()
    found = [(piece["event"], piece["was"], piece["state"]) for piece in site.news.last(10)]
    assert found == [(1, None, "up"), (2, "up", "down"), (3, "down", "gone")]
    assert site.news.last(10)[0] | {"at": 0} == {
        "event": 1,
        "at": 0,
        "kind": "node",
        "key": "a",
        "node": "127.0.0.1:1001",
        "state": "up",
        "was": None,
        "order": "ready",
        "why": site.news.last(10)[0]["why"],
    }


def test_only_what_it_is_now_counts() -> None:
    site = Site()
    site.announce(b"a", 1)
    site.news.look()
    for _ in range(5):
        site.fail(0)
        site.announce(b"a", 1)
    site.news.look()
    assert site.news.count == 1, "it is what it was"
    site.announce(b"b", 2)
    site.announce(b"b", 2, True)
    site.news.look()
    assert site.news.count == 1, "it came and went"


def test_many_at_once_are_one_piece() -> None:
    site = Site()
    for number in range(3 * NODES_AT_ONCE // 2):
        site.announce(b"k%d" % number, number)
    site.news.look()
    assert site.news.is_behind
    (piece,) = site.news.last(10)
    assert (piece["kind"], piece["count"], piece["changes"]) == ("nodes", NODES_AT_ONCE, {"new -> up": NODES_AT_ONCE})
    site.news.look()
    assert not site.news.is_behind
    assert site.news.count == 1 + NODES_AT_ONCE // 2, "these are few enough"
    assert site.news.states == {State.UP: 3 * NODES_AT_ONCE // 2}


@given(st.lists(st.tuples(st.sampled_from("anfu"), st.integers(0, 5)), max_size=40))
def test_who_is_out(moves: list[tuple[str, int]]) -> None:
    """After any changes: the states, the nodes and the keys that are out are those of the table."""
    site = Site()
    for move, number in moves:
        key = b"k%d" % (number % 2)
        if move == "a":
            site.announce(key, number)
        elif move == "u":
            site.announce(key, number, True)
        elif move == "f":
            site.fail(number)
        else:
            site.news.look()
    site.news.look()
    nodes = site.table.nodes
    assert +site.news.states == {
        state: count for state in State if (count := sum(node.state is state for node in nodes.values()))
    }
    assert set(site.news.out) == {id for id, node in nodes.items() if node.state not in ABLE}
    unserved = {key for key, slot in site.table.slots.items() if not any(node.state in ABLE for node in slot.nodes)}
    assert set(site.news.unserved) == unserved


def test_a_follower_hears_what_he_missed() -> None:
    news = Site().news
    follower = news.follow(0)
    assert next(follower) is None
    for number in range(KEPT + 5):
        news.add("router", text=str(number))
    missed = next(follower)
    assert missed is not None and (missed["kind"], missed["count"]) == ("missed", 5)
    texts = [piece["text"] for _ in range(KEPT) if (piece := next(follower)) is not None]
    assert texts == [str(number) for number in range(5, KEPT + 5)]
    assert next(follower) is None
    news.add("router", text="later")
    later = next(follower)
    assert later is not None and later["event"] == KEPT + 6


def test_what_is_logged_is_news() -> None:
    class Quiet(Log):
        def _write(self, data: bytes) -> None:
            assert data.endswith(b"\n")

    news = Site().news
    log = HeardLog(Quiet("router"), news)
    log._write = lambda data: None  # type: ignore[method-assign]
    log.say("reloaded")
    log.line("[rule: 0] action")
    assert [piece["text"] for piece in news.last(5)] == ["reloaded"]


def test_nobody_who_can_ask_costs_no_memory_and_who_comes_later_knows_all() -> None:
    site = Site()
    site.news.attend(False)
    site.announce(b"a", 1)
    assert not site.news.is_behind
    site.news.attend(True)
    site.news.look()
    assert site.news.states[State.UP] == 1
    assert site.news.last(9)[-1]["key"] == "a"
    site.news.attend(False)
    assert not site.news.states
    site.fail(0)
    assert not site.news.is_behind

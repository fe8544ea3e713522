"""Nodes that no registry knows: one memory of failures for an address, bounded however many keys come."""

from __future__ import annotations

import gc
from socket import AF_INET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mappers.made import GRACE, World, only, places
from uwsgirouter.errors import BadTarget
from uwsgirouter.mappers import direct
from uwsgirouter.mappers.direct import DIRECT_KEY, parse_target
from uwsgirouter.model.counters import UNNUMBERED
from uwsgirouter.model.node import State
from uwsgirouter.settings.address import Kind, parse_peer

A, B = "127.0.0.1:3031", "127.0.0.1:3032"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"127.0.0.1:4040", [("127.0.0.1:4040", 0, 0)]),
        (b"127.0.0.1:4040,5", [("127.0.0.1:4040", 5, 0)]),
        (b"127.0.0.1:4040,5,7", [("127.0.0.1:4040", 5, 7)]),
        (b"127.0.0.1:4040,005", [("127.0.0.1:4040", 5, 0)]),
        (b"127.0.0.1:4040,255,255", [("127.0.0.1:4040", 255, 255)]),
        (b"[::1]:80,5", [("[::1]:80", 5, 0)]),
        (b":3031", [("127.0.0.1:3031", 0, 0)]),
        (b"0.0.0.0:3031", [("127.0.0.1:3031", 0, 0)]),
        (b"[::]:3031", [("[::1]:3031", 0, 0)]),
        (b"/tmp/a.sock", [("/tmp/a.sock", 0, 0)]),
        (b"/tmp/with space.sock", [("/tmp/with space.sock", 0, 0)]),
        (b"/tmp/a:b.sock,3", [("/tmp/a:b.sock", 3, 0)]),
        (b"/tmp/\xff.sock", [("/tmp/\udcff.sock", 0, 0)]),
        (b"@abstract", [("@abstract", 0, 0)]),
        (b"app.example:80,1", [("app.example:80", 1, 0)]),
        (b"/a|/b,5|127.0.0.1:80", [("/a", 0, 0), ("/b", 5, 0), ("127.0.0.1:80", 0, 0)]),
        (b"/a|/a", [("/a", 0, 0), ("/a", 0, 0)]),
        (b" /a , 5 | /b \n", [("/a", 5, 0), ("/b", 0, 0)]),
        (b"/a||/b", [("/a", 0, 0), ("/b", 0, 0)]),
        (b"|/a| |", [("/a", 0, 0)]),
    ],
)
def test_what_a_target_means(text: bytes, expected: list[tuple[str, int, int]]) -> None:
    assert [(address.text, *modifiers) for address, modifiers in parse_target(text)] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "it is empty"),
        (b" | |\n", "it is empty"),
        (b"127.0.0.1:4040,5,6,", "at most two modifiers from 0 to 255, as in 127.0.0.1:4040,5"),
        (b"127.0.0.1:4040,256", "from 0 to 255"),
        (b"127.0.0.1:4040,-1", "from 0 to 255"),
        (b"127.0.0.1:4040,x", "from 0 to 255"),
        (b"127.0.0.1:4040,1,2,3", "at most two"),
        (b"127.0.0.1:4040,\xc2\xb2", "from 0 to 255"),
        (b"127.0.0.1:4040," + b"0" * 5000, "from 0 to 255"),
        (b"127.0.0.1:http", "a port is a number"),
        (b"127.0.0.1:0", "a port is a number"),
        (b"127.0.0.1:" + b"9" * 5000, "a port is a number"),
        (b"*:80", "only a listener"),
        (b"::1:80", "brackets"),
        (b"/a|127.0.0.1:0|/b", "a port is a number"),
        (b"/a\0b", "NUL"),
        (b",5", "an empty address"),
        (b"/" + b"a" * 200, "at most 107"),
    ],
)
def test_what_is_no_target(text: bytes, said: str) -> None:
    with pytest.raises(BadTarget, match=said):
        parse_target(text)


@given(st.one_of(st.binary(max_size=120), st.text("@/:[]*|,. a%019\n", max_size=40).map(str.encode)))
def test_any_bytes_are_a_target_or_a_bad_one(text: bytes) -> None:
    try:
        found = parse_target(text)
    except BadTarget as error:
        assert str(error)
        return
    assert found
    for address, modifiers in found:
        assert all(0 <= number <= 255 for number in modifiers)
        assert address.is_unix or not address.is_wildcard
        assert address.kind is not Kind.TCP4 or "*" not in address.host


def test_a_node_is_of_no_slot_and_has_no_number() -> None:
    node = only(World().direct.of_target(b"127.0.0.1:4040,5,7"))
    assert (node.key, node.id, node.modifiers, node.state) == (DIRECT_KEY, UNNUMBERED, (5, 7), State.UP)
    assert node.aim() == (AF_INET, ("127.0.0.1", 4040))
    assert len(DIRECT_KEY) > 255, "no request can have this key"


def test_several_take_turns() -> None:
    turns = World().direct.of_target(b"/a|/b|/c")
    assert places(turns, 7) == ["/a", "/b", "/c", "/a", "/b", "/c", "/a"]


def test_the_turn_goes_on_where_it_was() -> None:
    nodes = World().direct
    assert [places(nodes.of_target(b"/a|/b"), 1) for _ in range(4)] == [["/a"], ["/b"], ["/a"], ["/b"]]
    assert places(nodes.of_target(b"/b|/a"), 1) == ["/b"], "another text has turns of its own"


def test_one_given_twice_has_two_turns() -> None:
    assert places(World().direct.of_target(b"/a|/a|/b"), 6) == ["/a", "/a", "/b"] * 2


def test_a_node_that_failed_is_skipped_until_its_grace_time_is_over() -> None:
    world = World()
    turns = world.direct.of_target(b"/a|/b")
    assert turns is not None
    first = turns.next()
    assert first is not None
    world.direct.fail(first)
    assert places(turns, 3) == ["/b"] * 3
    assert turns.next_except([first]) is turns.next()
    world.now += GRACE - 0.1
    assert world.direct.recover() == []
    world.now += 0.1
    assert world.direct.recover() == [first]
    assert world.direct.recover() == []
    assert sorted(places(turns, 2)) == ["/a", "/b"]


def test_the_last_resort_is_one_that_is_down_and_was_not_tried() -> None:
    world = World()
    turns = world.direct.of_target(b"/a|/b")
    assert turns is not None
    a, b = turns.next(), turns.next()
    assert a is not None and b is not None
    assert turns.last_resort(()) is None
    world.direct.fail(b)
    assert turns.last_resort(()) is b
    assert turns.has_up(()) and not turns.has_up([a])
    world.direct.fail(a)
    assert turns.next() is None and not turns.has_up(())
    assert turns.last_resort(()) is a
    assert turns.last_resort([a]) is b
    assert turns.last_resort([a, b]) is None


def test_an_address_has_one_fate_whatever_leads_to_it() -> None:
    world = World(app=["127.0.0.1"])
    spellings = [b"127.0.0.1:80", b"127.0.0.1:080,5", b":80,1,2", b"app:80"]
    nodes = [only(world.direct.resolve(text)) for text in spellings]
    assert len(set(nodes)) == 3, "a node is an address with its modifiers"
    assert nodes[0] is nodes[3]
    elsewhere = only(world.direct.of_target(b"127.0.0.1:81"))
    world.direct.fail(nodes[1])
    assert [node.state for node in nodes] == [State.DOWN] * 4
    assert elsewhere.state is State.UP
    turns = world.direct.of_target(b"127.0.0.1:80,77")
    assert turns is not None
    assert turns.next() is None, "one that is made later as well"
    world.now += GRACE
    assert len(world.direct.recover()) == 1
    assert [node.state for node in nodes] == [State.UP] * 4
    assert only(turns).modifiers == (77, 0)


def test_another_failure_begins_the_grace_time_anew() -> None:
    world = World()
    one, two = only(world.direct.of_target(b"/a")), only(world.direct.of_target(b"/b"))
    world.direct.fail(one)
    world.now += 1
    world.direct.fail(two)
    world.now += 1
    world.direct.fail(one)
    world.now += GRACE - 1
    assert world.direct.recover() == [two]
    world.now += 1
    assert world.direct.recover() == [one]


def test_without_a_grace_time_the_next_second_tries_again() -> None:
    world = World(gracetime=0.0)
    node = only(world.direct.of_target(b"/a"))
    world.direct.fail(node)
    assert node.state is State.DOWN
    assert world.direct.recover() == [node]
    assert node.state is State.UP


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many are remembered in the test."""
    monkeypatch.setattr(direct, "REMEMBERED", 8)
    return 8


def sizes(nodes: direct.DirectNodes) -> tuple[int, int, int]:
    gc.collect()
    return len(nodes._targets), len(nodes._places), len(nodes._down)


def test_what_is_remembered_is_bounded(few: int) -> None:
    world = World()
    for number in range(10 * few):
        only(world.direct.of_target(b"/%d,%d" % (number, number % 256)))
    assert sizes(world.direct) == (few, few, 0)


def test_what_is_down_is_bounded_and_comes_back(few: int) -> None:
    world = World()
    held = world.direct.of_target(b"/held")
    first = only(held)
    world.direct.fail(first)
    for number in range(10 * few):
        world.now += 0.001
        world.direct.fail(only(world.direct.of_target(b"/%d" % number)))
    targets, known, down = sizes(world.direct)
    assert (targets, down) == (few, few)
    assert known <= 2 * few
    assert first.state is State.UP, "the one forgotten may be tried: nobody would bring it back"
    world.now += GRACE
    assert len(world.direct.recover()) == few
    assert all(place.nodes for place in world.direct._places.values())
    assert all(node.state is State.UP for place in world.direct._places.values() for node in place.nodes.values())


def test_so_many_come_back_in_one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "RECOVERED", 10)
    world = World()
    nodes = [only(world.direct.of_target(b"/%d" % number)) for number in range(25)]
    for node in nodes:
        world.direct.fail(node)
    world.now += GRACE
    assert [world.direct.recover() for _ in range(4)] == [nodes[:10], nodes[10:20], nodes[20:], []]


def test_one_that_is_used_is_not_the_one_that_is_forgotten(few: int) -> None:
    world = World()
    turns = world.direct.of_target(b"/used|/other")
    for number in range(10 * few):
        world.direct.of_target(b"/%d" % number)
        assert world.direct.of_target(b"/used|/other") is turns


def test_a_failure_is_known_when_its_target_was_forgotten(few: int) -> None:
    world = World()
    node = only(world.direct.of_target(b"/a"))
    for number in range(2 * few):
        world.direct.of_target(b"/%d" % number)
    world.direct.fail(node)  # a session held it
    turns = world.direct.of_target(b"/a")
    assert turns is not None and turns.next() is None
    world.now += GRACE
    world.direct.recover()
    assert only(turns).state is State.UP


def test_one_failure_costs_the_same_however_many_are_known() -> None:
    """No walk over all nodes: a request with an unknown key is one failed connect, and anybody can send many."""
    world = World()
    for number in range(2000):
        only(world.direct.of_target(b"/%d" % number))
    touched = []

    class Watched(dict):  # type: ignore[type-arg]
        def values(self) -> object:  # type: ignore[override]
            touched.append(self)
            return super().values()

    for place in list(world.direct._places.values()):
        place.nodes = Watched(place.nodes)
    world.direct.fail(only(world.direct.of_target(b"/7")))
    assert len(touched) == 1
    world.now += GRACE
    assert len(world.direct.recover()) == 1
    assert len(touched) <= 3


def test_a_name_is_looked_up_once_and_then_known() -> None:
    world = World(app_example=["10.0.0.1", "::1"])
    assert world.direct.of_target(b"app.example:80,5") is None
    assert world.asked == []
    turns = world.direct.resolve(b"app.example:80,5")
    assert places(turns, 3) == ["10.0.0.1:80", "[::1]:80", "10.0.0.1:80"]
    assert world.direct.of_target(b"app.example:80,5") is turns
    assert world.direct.resolve(b"app.example:80,5") is turns
    assert world.direct.of_target(b"app.example:81") is not None, "another port of a known host"
    assert world.asked == ["app.example"]


def test_names_and_addresses_take_turns_together() -> None:
    world = World(app=["10.0.0.1", "10.0.0.2"])
    turns = world.direct.resolve(b"/a|app:80")
    assert places(turns, 4) == ["/a", "10.0.0.1:80", "10.0.0.2:80", "/a"]
    assert places(world.direct.of_target(b"/a|app:80"), 1) == ["10.0.0.1:80"], "the turn is not lost"


def test_what_a_name_means_now_is_used_and_the_turn_goes_on() -> None:
    world = World(app=["10.0.0.1", "10.0.0.2"])
    first = world.direct.resolve(b"app:80")
    assert places(first, 1) == ["10.0.0.1:80"]
    world.hosts["app"] = ["10.0.0.1", "10.0.0.9"]
    world.now += 31
    assert places(world.direct.of_target(b"app:80"), 1) == ["10.0.0.2:80"], "nobody waits while it is looked up"
    world.run_later()
    assert places(world.direct.of_target(b"app:80"), 2) == ["10.0.0.1:80", "10.0.0.9:80"]
    world.hosts["app"] = ["10.0.0.5"]
    world.now += 31
    world.direct.of_target(b"app:80")
    world.run_later()
    assert places(world.direct.of_target(b"app:80"), 2) == ["10.0.0.5:80"] * 2


def test_a_name_that_means_nothing_is_an_error_for_who_asks() -> None:
    world = World()
    assert world.direct.of_target(b"gone.example:80") is None
    for _ in range(3):
        with pytest.raises(BadTarget, match=r"cannot resolve gone\.example: Name or service not known"):
            world.direct.resolve(b"gone.example:80")
    assert world.asked == ["gone.example"], "not asked again for a moment"
    world.hosts["gone.example"] = ["10.0.0.1"]
    world.now += 4
    assert places(world.direct.resolve(b"gone.example:80"), 1) == ["10.0.0.1:80"]


def test_a_part_that_leads_somewhere_is_enough() -> None:
    world = World(here=["10.0.0.1"])
    for text in (b"gone:80|here:80", b"here:80|gone:80"):
        assert places(world.direct.resolve(text), 2) == ["10.0.0.1:80"] * 2
    assert places(world.direct.resolve(b"gone:80|/a"), 2) == ["/a"] * 2
    with pytest.raises(BadTarget, match="cannot resolve lost"):
        world.direct.resolve(b"gone:80|lost:80")


def test_a_dead_name_among_others_holds_nobody_up_twice() -> None:
    world = World(here=["10.0.0.1"])
    world.direct.resolve(b"gone:80|here:80")
    asked = len(world.asked)
    world.now += 5
    assert world.direct.of_target(b"gone:80|here:80") is not None
    assert len(world.asked) == asked, "it is looked up in the background"
    world.hosts["gone"] = ["10.0.0.2"]
    world.run_later()
    assert sorted(places(world.direct.of_target(b"gone:80|here:80"), 2)) == ["10.0.0.1:80", "10.0.0.2:80"]


def test_node_at_an_address_is_one() -> None:
    nodes = World().direct
    held = nodes.of_target(b"127.0.0.1:80")
    assert nodes.node(parse_peer("127.0.0.1:80")) is only(held)
    assert nodes.node(parse_peer("127.0.0.1:80"), (1, 0)) is not only(held)

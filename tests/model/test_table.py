"""The route table: events are the only way in, and slots exist exactly as long as they have nodes."""

from __future__ import annotations

from dataclasses import replace
from socket import AF_UNIX

from tests.model.made import put, table, view
from uwsgirouter.model.events import Gone
from uwsgirouter.model.node import State
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY


def test_a_node_comes_changes_and_goes() -> None:
    routes = table()
    node = routes.apply(put(1))
    assert node is not None
    assert routes.nodes == {1: node}
    assert routes.slots[b"foo.com"].nodes == [node]
    assert (
        routes.apply(replace(put(1), weight=5, modifiers=(5, 1), cores=4, load=9, state=State.DOWN, since=3.0)) is node
    )
    assert (node.weight, node.modifiers, node.cores, node.load, node.state, node.since) == (
        5,
        (5, 1),
        4,
        9,
        State.DOWN,
        3.0,
    )
    assert routes.apply(Gone(1)) is node
    assert (routes.nodes, routes.slots) == ({}, {})


def test_one_that_went_gets_no_more_requests() -> None:
    routes = table(put(1), put(2), put(3))
    slot = routes.slots[b"foo.com"]
    slot.next()
    routes.apply(Gone(2))
    assert {node.id for node in (slot.next() for _ in range(6)) if node} == {1, 3}


def test_what_is_not_there_can_go_twice() -> None:
    routes = table(put(1))
    assert routes.apply(Gone(2)) is None
    routes.apply(Gone(1))
    assert routes.apply(Gone(1)) is None


def test_a_number_that_means_another_node_replaces_it() -> None:
    """Sessions hold the old node: it must not become the new one under their hands."""
    routes = table(put(1, b"a"))
    old = routes.nodes[1]
    new = routes.apply(put(1, b"b", address="/other"))
    assert new is not old
    assert (old.key, old.address.text) == (b"a", "127.0.0.1:3001")
    assert list(routes.slots) == [b"b"]
    moved = routes.apply(put(1, b"b", address="/third"))
    assert moved is not new
    assert routes.slots[b"b"].nodes == [moved]


def test_nodes_stand_in_their_slot_oldest_first_and_keep_their_place() -> None:
    routes = table(put(3), put(1), put(2), put(1, weight=4), put(4, b"bar"))
    assert [node.id for node in routes.slots[b"foo.com"].nodes] == [3, 1, 2]
    assert view(routes)[1] == {b"foo.com": [1, 2, 3], b"bar": [4]}


def test_two_numbers_may_have_one_address() -> None:
    """For a moment, when a worker hears of the new node before it hears of the old one's end."""
    routes = table(put(1, address="/a"), put(2, address="/a"))
    routes.apply(Gone(1))
    assert [node.id for node in routes.slots[b"foo.com"].nodes] == [2]


def test_clear_forgets_all() -> None:
    routes = table(put(1), put(2, b"bar"))
    routes.clear()
    assert view(routes) == ({}, {})
    routes.apply(put(2))
    assert list(routes.slots) == [b"foo.com"]


def test_available_unless_all_drain() -> None:
    assert not table().available()
    assert table(put(1)).available()
    assert table(put(1, STATIC_KEY, state=State.DOWN)).available(), "its grace time ends by itself"
    assert not table(put(1, state=State.DOWN)).available(), "it announces itself when it is back"
    assert table(put(1, state=State.DOWN), put(2)).available()
    assert not table(put(1, state=State.DRAINING)).available()
    assert table(put(1, state=State.DRAINING), put(2)).available()


def test_fallback_nodes_alone_are_not_enough() -> None:
    assert not table(put(1, FALLBACK_KEY)).available()
    assert table(put(1, FALLBACK_KEY), put(2)).available()
    assert table(put(1, FALLBACK_KEY), put(2, state=State.DOWN)).available(), "the fallback answers for it"


def test_fail_marks_at_once() -> None:
    routes = table(put(1), put(2))
    slot = routes.slots[b"foo.com"]
    first = slot.next()
    assert first is not None
    routes.fail(first)
    assert first.state is State.DOWN
    assert {slot.next() for _ in range(4)} == set(slot.nodes) - {first}


def test_a_vassal_that_fails_is_taken_for_one_that_sleeps() -> None:
    routes = table(replace(put(1), vassal=b"one.ini"))
    routes.fail(routes.nodes[1])
    assert routes.slots[b"foo.com"].sleeping() is routes.nodes[1]
    assert routes.slots[b"foo.com"].next() is None


def test_fail_leaves_a_draining_node_draining() -> None:
    routes = table(put(1, state=State.DRAINING))
    routes.fail(routes.nodes[1])
    assert routes.nodes[1].state is State.DRAINING


def test_fail_of_a_node_that_is_gone_is_harmless() -> None:
    routes = table(put(1))
    node = routes.nodes[1]
    routes.apply(Gone(1))
    routes.fail(node)
    assert routes.slots == {}


def test_what_it_takes_to_dial_is_computed_once() -> None:
    node = table(put(1, address="@app")).nodes[1]
    assert node.target is None
    assert node.aim() == (AF_UNIX, b"\0app\0")
    assert node.target == (AF_UNIX, b"\0app\0")
    assert repr(node) == "<Node 1 b'foo.com' @app up>"

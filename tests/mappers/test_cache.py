"""Nodes by items of a cache: an address, with a modifier, or several that take turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mappers.made import World, only, places
from uwsgirouter.errors import BadTarget
from uwsgirouter.mappers.cache import CacheMapper
from uwsgirouter.model.node import State


def mapper(items: dict[bytes, bytes], strip_port: bool = False, world: World | None = None) -> CacheMapper:
    return CacheMapper(items.get, (world or World()).direct, strip_port)


def test_the_items_of_the_manual() -> None:
    found = mapper({b"example.com:8000": b"127.0.0.1:4040", b"unbit.it": b"127.0.0.1:4040,5"})
    assert only(found.find(b"example.com:8000")).modifiers == (0, 0)
    assert only(found.find(b"unbit.it")).modifiers == (5, 0)
    assert only(found.find(b"unbit.it")).address.text == "127.0.0.1:4040"
    assert found.find(b"example.com") is None
    assert found.find(b"UNBIT.IT") is None, "byte for byte"


@pytest.mark.parametrize(
    ("key", "strip_port", "expected"),
    [
        (b"a:80", True, "/bare"),
        (b"a", True, "/bare"),
        (b"b:80", True, "/with"),
        (b"a:80", False, None),
        (b"c:80", True, None),
    ],
)
def test_strip_port(key: bytes, strip_port: bool, expected: str | None) -> None:
    found = mapper({b"a": b"/bare", b"b": b"/no", b"b:80": b"/with"}, strip_port).find(key)
    assert (places(found, 1)[0] if found is not None else None) == expected


def test_several_take_turns_each_with_its_modifier() -> None:
    turns = mapper({b"a": b"/x,1|/y,2|/x,3"}).find(b"a")
    assert turns is not None
    nodes = [turns.next() for _ in range(6)]
    assert [(node.address.text, node.modifiers[0]) for node in nodes if node] == [("/x", 1), ("/y", 2), ("/x", 3)] * 2


def test_the_item_as_it_is_now_counts() -> None:
    items = {b"a": b"/x"}
    found = mapper(items)
    assert places(found.find(b"a"), 1) == ["/x"]
    items[b"a"] = b"/y"
    assert places(found.find(b"a"), 1) == ["/y"]
    del items[b"a"]
    assert found.find(b"a") is None
    assert found.ask(b"a", ()) is None


def test_keys_with_the_same_value_share_its_nodes() -> None:
    world = World()
    found = mapper({b"a": b"/x|/y", b"b": b"/x"}, world=world)
    world.direct.fail(only(found.find(b"b")))
    assert places(found.find(b"a"), 2) == ["/y", "/y"]
    assert [node.state for node in world.direct.recover()] == []


@pytest.mark.parametrize("value", [b"", b"nonsense:port", b"/x,256", b"/x|:0", b"a\0b"])
def test_an_item_that_is_no_address_names_itself(value: bytes) -> None:
    found = mapper({b"key\xff": value})
    for ask in (found.find, lambda key: found.ask(key, ())):
        with pytest.raises(BadTarget, match=r"the cache has '.*' for key\\xff: "):
            ask(b"key\xff")


def test_a_name_is_looked_up_for_who_asks() -> None:
    world = World(app_example=["10.0.0.1"])
    found = mapper({b"a": b"app.example:80,5", b"b": b"gone.example:80"}, world=world)
    assert found.find(b"a") is None
    assert only(found.ask(b"a", ())).modifiers == (5, 0)
    assert places(found.find(b"a"), 1) == ["10.0.0.1:80"]
    assert found.find(b"b") is None
    with pytest.raises(BadTarget, match=r"gone\.example:80' for b: cannot resolve gone\.example"):
        found.ask(b"b", ())


@given(st.binary(max_size=60))
def test_any_value_is_nodes_or_a_bad_target(value: bytes) -> None:
    try:
        turns = mapper({b"a": value}).find(b"a")
    except BadTarget:
        return
    node = turns.next() if turns is not None else None
    assert node is None or node.state is State.UP

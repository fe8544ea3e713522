"""One key for every request."""

from __future__ import annotations

from collections.abc import Container

from tests.model.made import put, table
from uwsgirouter.mappers.fixed import AskingFixedKeyMapper, FixedKeyMapper
from uwsgirouter.mappers.subscription import SubscriptionMapper
from uwsgirouter.model.node import Node


def test_whatever_the_key_it_asks_for_the_forced_one() -> None:
    routes = table(put(1, b"forced"), put(2, b"other"))
    mapper = FixedKeyMapper(SubscriptionMapper(routes, strip_port=False), b"forced")
    for key in (b"other", b"forced", b"nobody", b"x" * 255):
        assert mapper.find(key) is routes.slots[b"forced"]
    assert not hasattr(mapper, "ask"), "a session would ask in vain"


def test_the_forced_key_is_looked_for_like_any_other() -> None:
    routes = table(put(1, b"forced"))
    assert FixedKeyMapper(SubscriptionMapper(routes, strip_port=True), b"FORCED:80").find(b"x") is not None
    assert FixedKeyMapper(SubscriptionMapper(routes, strip_port=True), b"nobody").find(b"forced") is None


class Asked:
    """A mapper that has to wait."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, Container[Node]]] = []

    def find(self, key: bytes) -> None:
        self.asked.append((key, ()))

    def ask(self, key: bytes, tried: Container[Node]) -> None:
        self.asked.append((key, tried))


def test_a_mapper_that_has_to_wait_is_asked_for_it_too() -> None:
    asked = Asked()
    mapper = AskingFixedKeyMapper(asked, b"forced")
    tried: list[Node] = []
    assert mapper.find(b"a") is None
    assert mapper.ask(b"b", tried) is None
    assert [key for key, _ in asked.asked] == [b"forced", b"forced"]
    assert asked.asked[1][1] is tried

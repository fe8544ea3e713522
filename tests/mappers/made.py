"""A clock to turn, names to resolve, and direct nodes that use both."""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.mappers.direct import DirectNodes, Turns
from uwsgirouter.model.node import Node

GRACE = 30.0


class World:
    """``now`` is the clock; ``hosts`` says what names mean; ``asked`` which were looked up, ``later`` what waits."""

    def __init__(self, gracetime: float = GRACE, **hosts: list[str]) -> None:
        self.now = 1000.0
        self.hosts: dict[str, list[str]] = {name.replace("_", "."): found for name, found in hosts.items()}
        self.asked: list[str] = []
        self.later: list[Callable[[], None]] = []
        self.direct = DirectNodes(gracetime, lambda: self.now, self.look_up, self.later.append)

    def look_up(self, host: str) -> list[str]:
        """As the worker's: hosts, or OSError."""
        self.asked.append(host)
        if host not in self.hosts:
            raise OSError(-2, "Name or service not known")
        return list(self.hosts[host])

    def run_later(self) -> None:
        """Do what was to be done in the background."""
        todo, self.later[:] = list(self.later), []
        for function in todo:
            function()


def only(turns: Turns | None) -> Node:
    """The one node."""
    assert turns is not None
    node = turns.next()
    assert node is not None
    assert turns.next() is node
    return node


def places(turns: Turns | None, count: int) -> list[str]:
    """The addresses of the next ``count`` turns."""
    assert turns is not None
    nodes = [turns.next() for _ in range(count)]
    return [node.address.text for node in nodes if node is not None]

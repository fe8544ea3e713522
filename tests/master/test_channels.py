"""What workers say of nodes reaches the registrar; what is malformed reaches nobody."""

from __future__ import annotations

import pytest

from uwsgirouter.master.channels import hear_of_nodes
from uwsgirouter.master.registrar import Registrar


class Registered(Registrar):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def node_failed(self, id: int, reason: str, now: float) -> None:
        self.heard.append(("failed", id, reason, now))

    def node_faulty(self, id: int, count: int, now: float) -> None:
        self.heard.append(("faulty", id, count, now))

    def node_answered(self, id: int, now: float) -> None:
        self.heard.append(("answered", id, now))

    def node_wanted(self, id: int, now: float) -> None:
        self.heard.append(("wanted", id, now))


@pytest.mark.parametrize(
    ("message", "heard"),
    [
        (["failed", 7, "x" * 500], ("failed", 7, "x" * 100, 9.0)),
        (["faults", 7, 3], ("faulty", 7, 3, 9.0)),
        (["answered", 7], ("answered", 7, 9.0)),
        (["wake", 7], ("wanted", 7, 9.0)),
    ],
)
def test_what_concerns_a_node_goes_to_the_registrar(message: list[object], heard: tuple[object, ...]) -> None:
    registrar = Registered()
    assert hear_of_nodes(registrar, message, 9.0)
    assert registrar.heard == [heard]


@pytest.mark.parametrize(
    "message",
    [
        ["failed"],
        ["failed", "7", "x"],
        ["faults", 7],
        ["faults", 7, "3"],
        ["faults", 7, 3, 1],
        ["answered", None],
        [],
        ["wake", [7]],
    ],
)
def test_what_is_malformed_concerns_nobody(message: list[object]) -> None:
    registrar = Registered()
    assert not hear_of_nodes(registrar, message, 9.0)
    assert registrar.heard == []

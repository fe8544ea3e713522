"""Requests that wait for a vassal: the Emperor is asked to start it, and its announcement lets them go on.

One idea: a session that finds nobody but nodes that are asleep has the master told (``wake``), waits here, and is
called when the nodes have changed. A worker tells the same about one node once a second at most; what the Emperor is
told is the master's to bound. Without ``fastrouter-emperor-socket`` nobody can be woken and nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from uwsgirouter.mappers.base import Candidates
from uwsgirouter.model.node import SERVING, Node, State
from uwsgirouter.model.slot import Slot
from uwsgirouter.settings.settings import Settings


class Waiting(Protocol):
    """A session that waits."""

    def wake(self) -> None:
        """The nodes have changed."""


class Vassals:
    """``tell(id)`` has node ``id`` woken. ``patience``: seconds that a request waits for it."""

    def __init__(self, settings: Settings, tell: Callable[[int], None]) -> None:
        self.patience = settings.number("fastrouter-defer-connect-timeout")
        self._possible = settings.is_set("fastrouter-emperor-socket")
        self._tell = tell
        self._told: set[int] = set()
        self._waiting: dict[Waiting, None] = {}

    def is_asleep(self, slot: Candidates | None, tried: Sequence[Node]) -> bool:
        """Whether nobody of ``slot`` is up and a vassal is worth waiting for, which is told to wake."""
        if not self._possible or not isinstance(slot, Slot) or slot.first((State.INACTIVE,), ()) is None:
            return False
        if slot.first(SERVING, tried) is not None:
            return False
        node = slot.sleeping()
        assert node is not None
        if node.id not in self._told:
            self._told.add(node.id)
            self._tell(node.id)
        return self.patience > 0

    def wait(self, session: Waiting) -> None:
        """Call ``session.wake`` when the nodes change."""
        self._waiting[session] = None

    def forget(self, session: Waiting) -> None:
        """``session`` waits no more."""
        self._waiting.pop(session, None)

    def nodes_changed(self) -> None:
        """Somebody may be up now."""
        waiting, self._waiting = self._waiting, {}
        for session in waiting:
            self._waiting[session] = None
            session.wake()

    def tick(self) -> None:
        """Once a second: tell again who is still wanted."""
        self._told.clear()
        if self._waiting:
            self.nodes_changed()

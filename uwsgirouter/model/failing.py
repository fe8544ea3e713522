"""Failing nodes: those that refuse connections, and those that accept them and do not answer.

One idea: the first kind is out until it announces itself or its grace time is over, the second for some seconds and
never for more than half of the nodes of a key (what counts and for how long: ``ejection.py``). Pure: ``now`` is passed
in. Invariant: whoever is out by this has an end.
"""

from __future__ import annotations

from dataclasses import replace

from uwsgirouter.model.announced import Announced
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.ejection import FAULTS, WINDOW, room, surplus
from uwsgirouter.model.node import SERVING, State
from uwsgirouter.model.roll import Roll
from uwsgirouter.model.table import CONFIGURED_KEYS

FAULTS_TOLD = f"{FAULTS} requests reset, closed or not answered in time within {WINDOW:g} s"
"""Why a node is left alone, for people."""


class Failing:
    """``gracetime``: seconds for which a configured node is out."""

    def __init__(self, roll: Roll, announced: Announced, gracetime: float) -> None:
        self.gracetime = gracetime
        self._roll = roll
        self._announced = announced

    def fail(self, id: int, now: float, reason: str) -> list[Change]:
        """A worker could not connect to node ``id``: out until it announces itself, or its grace time is over."""
        node = self._roll.table.nodes.get(id)
        if node is None or node.state not in (*SERVING, State.EJECTED):
            return []
        if node.key in CONFIGURED_KEYS:
            self._roll.retry[id] = now + self.gracetime
        if self._roll.vassals.stands_by(id):
            return self._announced.sleep(node, self._roll.own(node), now, reason, Happening.FAILED)
        put = replace(self._roll.own(node), state=State.DOWN, since=now)
        return [self._roll.apply(put, Happening.FAILED, reason)]

    def fault(self, id: int, now: float, count: int = 1) -> list[Change]:
        """Node ``id`` accepted ``count`` requests and reset, closed or did not answer in time: too often, it is out.

        That is for some seconds, or until it announces itself, and never for more than half of the nodes of a key.
        """
        ejections = self._roll.ejections
        node = self._roll.table.nodes.get(id)
        if node is None or node.state not in SERVING or not ejections.fault(id, now, count):
            return []
        if not room(*self._serving(node.key)):
            return []
        seconds = ejections.eject(id, now)
        put = replace(self._roll.own(node), state=State.EJECTED, since=now)
        change = self._roll.apply(put, Happening.EJECTED, f"{FAULTS_TOLD}: left alone for {seconds:g} s")
        return [replace(change, detail=f"{seconds:g}")]

    def expire(self, now: float) -> list[Change]:
        """Nodes whose grace time or ejection is over are back."""
        retry = self._roll.retry
        changes = []
        for id in [id for id, end in retry.items() if now >= end]:
            del retry[id]
            changes.append(self._let_back(id, now, "tried again after its grace time"))
        return changes + self._end_ejections(now)

    def _end_ejections(self, now: float) -> list[Change]:
        """Those whose time is over, and those who are too many since others of their slot left or failed."""
        ejections = self._roll.ejections
        ejections.tidy(now)
        changes = [self._let_back(id, now, "tried again, it was left alone for a while") for id in ejections.due(now)]
        out: dict[bytes, list[int]] = {}
        for id in ejections.out():
            out.setdefault(self._roll.table.nodes[id].key, []).append(id)
        for key, ids in out.items():
            back = ids[: surplus(*self._serving(key))]
            changes += [self._let_back(id, now, "tried again, too few others are left") for id in back]
        return changes

    def _let_back(self, id: int, now: float, why: str) -> Change:
        put = replace(self._roll.own(self._roll.table.nodes[id]), state=State.UP, since=now)
        return self._roll.apply(put, Happening.BACK, why)

    def _serving(self, key: bytes) -> tuple[int, int]:
        """How many nodes of ``key`` are up, and how many are ejected."""
        states = [node.state for node in self._roll.table.slots[key].nodes]
        return sum(map(states.count, SERVING)), states.count(State.EJECTED)

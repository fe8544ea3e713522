"""Restored nodes: what goes into a snapshot, and what becomes of it when the router is started again.

One idea: a router that was away knows who was there, and not who is. So nodes that served are given requests at once,
and are unconfirmed until they announce themselves or answer; all of them have as long to announce themselves as if they
had done so at the moment of the restart, however old the snapshot is: who is gone refuses the first connection, and
costs a retry. Times are wall-clock seconds in a snapshot and monotonic ones in the registry. Pure: both are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Put
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.roll import Roll
from uwsgirouter.model.snapshot import SavedNode
from uwsgirouter.model.table import CONFIGURED_KEYS
from uwsgirouter.protocol.subscription import Announce

_WHY = {
    State.UNCONFIRMED: "known from before the restart",
    State.DOWN: "failed before the restart",
    State.INACTIVE: "its vassal is started when it is needed",
}


class Restored:
    """What a snapshot has of ``roll``, and what it brings there."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    def saved(self, now: float, wall: float) -> Iterator[SavedNode]:
        """The announced nodes, without what operators say of them, and without those that are leaving."""
        for node in self._roll.table.nodes.values():
            if node.key not in CONFIGURED_KEYS and node.id not in self._roll.draining:
                yield self._saved(node, self._roll.own(node), wall - now)

    def _saved(self, node: Node, own: Put, offset: float) -> SavedNode:
        announce = Announce(
            own.key,
            own.address,
            *own.modifiers,
            weight=own.weight,
            cores=own.cores,
            load=own.load,
            vassal=own.vassal,
            inactive=own.state is State.INACTIVE,
            backup=own.backup,
            algo=own.algo,
        )
        standing = self._roll.vassals.said(node.id)
        heard = self._roll.silence.heard(node.id)
        return SavedNode(
            announce,
            own.state,
            heard=0.0 if heard is None else _at(heard, offset),
            since=_at(own.since, offset),
            wished=_at(own.algo_since, offset) if own.algo else 0.0,
            standing=0.0 if standing is None else _at(standing, offset),
        )

    def restore(self, nodes: Iterable[SavedNode], now: float, wall: float, standing_tolerance: float) -> list[Change]:
        """Bring back ``nodes``, but those that are known better by now. ``standing_tolerance``: see ``Announced``."""

        def moment(then: float) -> float:
            return min(now, now - (wall - then))

        changes: list[Change] = []
        standing: list[tuple[float, int]] = []
        for saved in nodes:
            if saved.state is State.DRAINING or self._is_known(saved.announce):
                continue
            id = self._roll.numbers.take(now)
            if id is None:
                return [*changes, Change(Happening.FULL, saved.announce.key, saved.announce.address)]
            changes.append(self._bring(id, saved, moment, now))
            if saved.standing or saved.state is State.INACTIVE:
                standing.append((moment(saved.standing), id))
        for said, id in sorted(standing):
            # Nobody heard what was said of it while the router was away.
            self._roll.vassals.stand_by(id, max(said, now - standing_tolerance / 2))
        return changes

    def _is_known(self, announce: Announce) -> bool:
        if self._roll.find(announce.key, announce.address) is not None:
            return True
        return bool(announce.vassal) and self._roll.vassals.find(announce.key, announce.vassal) is not None

    def _bring(self, id: int, saved: SavedNode, moment: Callable[[float], float], now: float) -> Change:
        announce = saved.announce
        state = saved.state if saved.state in (State.DOWN, State.INACTIVE) else State.UNCONFIRMED
        put = Put(
            id,
            announce.key,
            announce.address,
            (announce.modifier1, announce.modifier2),
            announce.weight,
            announce.cores,
            announce.load,
            state,
            now if saved.state is State.EJECTED else moment(saved.since),
            announce.vassal,
            announce.backup,
            announce.algo,
            moment(saved.wished) if announce.algo else 0.0,
        )
        change = self._roll.insert(put, Happening.RESTORED, _WHY[state])
        if state is not State.INACTIVE:
            self._roll.silence.hear(id, now)
        return change

    def answered(self, id: int) -> list[Change]:
        """Node ``id`` answered a request: it is there. It must announce itself all the same, to stay there."""
        node = self._roll.table.nodes.get(id)
        if node is None:
            return []
        own = self._roll.own(node)
        if own.state is not State.UNCONFIRMED:
            return []
        # It has served since then: it need not start slowly.
        return self._roll.update(node, replace(own, state=State.UP), Happening.CONFIRMED, "it answered")


def _at(moment: float, offset: float) -> float:
    return round(moment + offset, 3)

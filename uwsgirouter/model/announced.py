"""Announced nodes: what an announcement, or its absence, does to the node it means.

One idea: a node is there while it says so. One that takes leave drains, one that is silent for too long is removed, and
one whose vassal can be started sleeps instead of both. An announcement means the node of its address, else the one of
its vassal. Pure: ``now`` is passed in.
"""

from __future__ import annotations

from dataclasses import replace

from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Put
from uwsgirouter.model.hearing import PERFECT, Hearing
from uwsgirouter.model.node import SERVING, Node, State
from uwsgirouter.model.roll import Roll
from uwsgirouter.model.vassals import STANDING_TOLERANCE
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import NOWHERE, Address
from uwsgirouter.settings.algorithms import ALGORITHMS

_ANNOUNCED = {
    State.UP: Happening.UPDATED,
    State.UNCONFIRMED: Happening.CONFIRMED,
    State.INACTIVE: Happening.AWAKE,
}
"""What an announcement is for a node in that state; for others it is the end of their failure or their leave."""


class Announced:
    """``tolerance``: seconds of silence that a node is forgiven."""

    def __init__(self, roll: Roll, tolerance: float) -> None:
        self.tolerance = tolerance
        self.standing_tolerance = STANDING_TOLERANCE
        self._roll = roll

    def announce(self, announce: Announce, now: float) -> list[Change]:
        """A datagram that passed every check."""
        node = self._known(announce)
        if announce.leaving:
            return self._leave(node, announce, now) if node is not None else []
        if node is not None and self._repeats(node, announce):
            self._hear(node, announce, now)
            return []
        odd = self._odd_algo(node, announce)
        if announce.inactive or announce.cleared:
            return [*self._stand_by(node, announce, now), *odd]
        if node is None:
            return [*self._welcome(announce, State.UP, now), *odd]
        return [*self._replace_namesake(node, announce, now), *self._refresh(node, announce, now), *odd]

    def note_echo(self, digest: bytes, announce: Announce) -> bool:
        """``announce`` was taken just now: if it says nothing but what its node is, so does what has its digest."""
        node = None if announce.leaving else self._roll.find(announce.key, announce.address)
        if node is None or not self._repeats(node, announce):
            return False
        self._roll.echoes.note(digest, node.id)
        return True

    def hear_echo(self, digest: bytes, now: float) -> bool:
        """Whether this is an echo; its node is there, and nothing else is new."""
        id = self._roll.echoes.find(digest)
        if id is None:
            return False
        self._roll.silence.hear(id, now)
        return True

    @staticmethod
    def _odd_algo(node: Node | None, announce: Announce) -> list[Change]:
        """A wish that nobody can fulfil is told once, and is no reason to refuse the node."""
        if not announce.algo or announce.algo in ALGORITHMS or (node is not None and node.algo == announce.algo):
            return []
        return [Change(Happening.ODD_ALGO, announce.key, announce.address, None, announce.vassal, announce.algo)]

    def _repeats(self, node: Node, announce: Announce) -> bool:
        """Whether ``node``, which has this address, is up and just as ``announce`` says.

        Nearly all announcements are like that: they are worth a short way. (Those of vassals are few, and mean more.)
        """
        return (
            node.state is State.UP
            and not announce.vassal
            and node.weight == announce.weight
            and node.cores == announce.cores
            and node.modifiers == (announce.modifier1, announce.modifier2)
            and node.backup == announce.backup
            and (not announce.algo or announce.algo == node.algo)
            and self._roll.is_plain(node)
        )

    def _known(self, announce: Announce) -> Node | None:
        """The node that an announcement means: the one of its address, else the one of its vassal."""
        node = self._roll.find(announce.key, announce.address)
        if node is None and announce.vassal:
            id = self._roll.vassals.find(announce.key, announce.vassal)
            node = self._roll.table.nodes[id] if id is not None else None
        return node

    def _replace_namesake(self, node: Node, announce: Announce, now: float) -> list[Change]:
        """The vassal that announces ``node`` had another node until now: that one is gone."""
        vassals = self._roll.vassals
        id = vassals.find(announce.key, announce.vassal) if announce.vassal else None
        if id is None or id == node.id:
            return []
        if vassals.stands_by(id):
            vassals.stand_by(node.id, now)
        return [self._roll.remove(self._roll.table.nodes[id], now, Happening.LEFT)]

    def _welcome(self, announce: Announce, state: State, now: float) -> list[Change]:
        id = self._roll.numbers.take(now)
        if id is None:
            return [Change(Happening.FULL, announce.key, announce.address, None, announce.vassal)]
        changes = []
        if announce.key not in self._roll.table.slots:
            changes.append(Change(Happening.NEW_POOL, announce.key, announce.address))
        put = Put(id, announce.key, announce.address, (0, 0), 1, 0, announce.load, state, now)
        put = self._as_announced(put, announce, now)
        if state is State.UP:
            changes.append(self._roll.insert(put, Happening.NEW, "announced"))
        else:
            changes.append(self._roll.insert(put, Happening.NEW_VASSAL, "its vassal is started when it is needed"))
        self._roll.note_sni(id, announce.sni)
        if state is State.UP:
            self._roll.silence.hear(id, now)
        else:
            self._roll.vassals.stand_by(id, now)
        return changes

    def _refresh(self, node: Node, announce: Announce, now: float) -> list[Change]:
        """It announced itself."""
        self._hear(node, announce, now)
        own = self._roll.own(node)
        happening = _ANNOUNCED.get(own.state, Happening.BACK)
        put = self._as_announced(own, announce, now)
        if own.state in SERVING:  # one that is confirmed by this has served before
            why = "" if own.state is State.UP else "announced"
            return self._roll.update(node, replace(put, state=State.UP), happening, why)
        return self._roll.update(node, replace(put, state=State.UP, since=now), happening, "announced")

    def _hear(self, node: Node, announce: Announce, now: float) -> None:
        """It is there."""
        node.load = announce.load
        self._roll.echoes.forget(node.id)
        self._roll.note_sni(node.id, announce.sni)
        self._roll.silence.hear(node.id, now)
        self._roll.draining.discard(node.id)

    def _stand_by(self, node: Node | None, announce: Announce, now: float) -> list[Change]:
        """Its vassal can be started: somebody said so, or the vassal itself when it stopped."""
        if not self._roll.vassals.has_room(None if node is None else node.id):
            return [Change(Happening.FULL, announce.key, announce.address, None, announce.vassal)]
        if node is None:
            return self._welcome(announce, State.INACTIVE, now)
        changes = self._replace_namesake(node, announce, now)
        self._roll.vassals.stand_by(node.id, now)
        own = self._roll.own(node)
        if own.state in SERVING and not announce.cleared:
            # Whoever announces vassals cannot know which of them run; this one does, and says so itself.
            put = replace(own, vassal=announce.vassal)
            return [*changes, *self._roll.update(node, put, Happening.UPDATED)]
        return [*changes, *self.sleep(node, self._as_announced(own, announce, now), now, "its vassal stopped")]

    def sleep(
        self, node: Node, put: Put, now: float, why: str, happening: Happening = Happening.ASLEEP
    ) -> list[Change]:
        """``node``, which is ``put``, runs no more, and the Emperor can start it again."""
        self._roll.silence.unwatch(node.id)
        self._roll.draining.discard(node.id)
        if put.state is State.INACTIVE:
            return self._roll.update(node, put, Happening.UPDATED)
        return self._roll.update(node, replace(put, state=State.INACTIVE, since=now), happening, why)

    def _leave(self, node: Node, announce: Announce, now: float) -> list[Change]:
        own = self._roll.own(node)
        if announce.inactive:
            self._roll.vassals.stand_down(node.id)
            return [self._roll.remove(node, now, Happening.LEFT)] if own.state is State.INACTIVE else []
        if self._roll.vassals.stands_by(node.id):
            return self.sleep(node, own, now, "its vassal unsubscribed")
        sessions = self._roll.inflight(node.id)
        if not sessions:
            return [self._roll.remove(node, now, Happening.LEFT)]
        if node.id in self._roll.draining:
            return []
        self._roll.draining.add(node.id)
        self._roll.silence.unwatch(node.id)
        why = f"unsubscribed, {sessions} session{'' if sessions == 1 else 's'} under way then"
        return [self._roll.apply(replace(own, state=State.DRAINING, since=now), Happening.LEAVING, why)]

    def expire(self, now: float, hearing: Hearing = PERFECT) -> list[Change]:
        """Nodes not heard of, vassals that nobody speaks of any more, and drained nodes."""
        roll = self._roll
        changes: list[Change] = []
        for id in roll.silence.silent(hearing, now, self.tolerance):
            node = roll.table.nodes[id]
            if roll.vassals.stands_by(node.id):
                why = f"its vassal was silent for {self.tolerance:g} s"
                changes += self.sleep(node, roll.own(node), now, why, Happening.EXPIRED)
            else:
                changes.append(roll.remove(node, now, Happening.EXPIRED))
        for id in roll.vassals.overdue(now, self.standing_tolerance):
            roll.vassals.stand_down(id)
            if roll.own(roll.table.nodes[id]).state is State.INACTIVE:
                changes.append(roll.remove(roll.table.nodes[id], now, Happening.FORGOTTEN))
        for id in [id for id in roll.draining if not roll.inflight(id)]:
            changes.append(roll.remove(roll.table.nodes[id], now, Happening.DRAINED))
        return changes

    @staticmethod
    def _as_announced(put: Put, announce: Announce, now: float) -> Put:
        """``put`` with what the announcement says of the node. One that names no algorithm lets an earlier wish be."""
        if announce.algo and announce.algo != put.algo:
            put = replace(put, algo=announce.algo, algo_since=now)
        return replace(
            put,
            address=announce.address if _moved(put.address, announce.address) else put.address,
            modifiers=(announce.modifier1, announce.modifier2),
            weight=announce.weight,
            cores=announce.cores,
            backup=announce.backup,
            vassal=announce.vassal or put.vassal,
        )


def _moved(known: Address, announced: Address) -> bool:
    """Whether an announcement tells another address than the known one (another spelling is none)."""
    return announced != NOWHERE and announced.identity != known.identity

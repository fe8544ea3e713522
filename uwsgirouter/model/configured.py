"""Configured nodes: the static and the fallback nodes that the router's own configuration names.

One idea: the configuration (or what a name in it means now) says all of them at once; what is already so stays as it
is, with its sessions and its failures. Pure: ``now`` is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Put
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.orders import Identity
from uwsgirouter.model.roll import Roll
from uwsgirouter.model.table import FALLBACK_KEY
from uwsgirouter.settings.address import Address


class Configured:
    """The nodes of the slots that no announcement changes."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    def fill(self, key: bytes, addresses: Iterable[Address], now: float) -> list[Change]:
        """The nodes of slot ``key`` are these from now on; one listed twice has twice the weight."""
        wanted: dict[Identity, Put] = {}
        for address in addresses:
            put = wanted.get(address.identity)
            if put is None:
                wanted[address.identity] = Put(-1, key, address, (0, 0), 1, 0, 0, State.UP, now)
            else:
                wanted[address.identity] = replace(put, weight=put.weight + 1)
        changes = [self._roll.remove(node, now, Happening.DISCARDED) for node in self._misplaced(key, list(wanted))]
        for put in wanted.values():
            changes += self._configure(put, now)
        return changes

    def _misplaced(self, key: bytes, wanted: list[Identity]) -> list[Node]:
        """The nodes of slot ``key`` that are not wanted, or (fallback) that stand where another one should."""
        slot = self._roll.table.slots.get(key)
        nodes = list(slot.nodes) if slot else []
        kept = [node for node in nodes if node.address.identity in wanted]
        if key == FALLBACK_KEY:
            in_place = 0
            while in_place < len(kept) and kept[in_place].address.identity == wanted[in_place]:
                in_place += 1
            kept = kept[:in_place]
        return [node for node in nodes if node not in kept]

    def _configure(self, put: Put, now: float) -> list[Change]:
        node = self._roll.find(put.key, put.address)
        if node is not None:
            own = self._roll.own(node)
            return self._roll.update(node, replace(own, weight=put.weight), Happening.CONFIGURED)
        id = self._roll.numbers.take(now)
        if id is None:
            return [Change(Happening.FULL, put.key, put.address)]
        return [self._roll.insert(replace(put, id=id), Happening.CONFIGURED, "configured")]

"""Passing on: what other routers were told of each key, and when they must be told that it is over.

One idea: this router announces a key as long as it has somebody to give requests to, and says so when that ends, for
whatever reason: the last node left, fell silent, refused or was taken out by an operator. That is kept apart for each
origin, since who is reached by way of another router must not be promised to that router. Pure: it looks at the table,
``now`` is passed in; what it gives back is without an address, which depends on who is told.

Invariant: what was passed on and is not there any more is taken back once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uwsgirouter.model.node import SERVING
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.ways import Ways
from uwsgirouter.protocol.forwarding import NEAR_MOST, forwarded
from uwsgirouter.protocol.subscription import Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import NOWHERE, parse_peer

_ANYBODY = parse_peer("127.0.0.1:1")
EVERY = 1.0
"""Seconds in which the same is not passed on twice: many nodes of one key make one announcement of it."""


class Passing:
    """``own`` is this router's id."""

    def __init__(self, table: RouteTable, ways: Ways, own: bytes) -> None:
        self.own = own
        self._table = table
        self._ways = ways
        self._passed: dict[bytes, dict[bytes, tuple[Announce, float]]] = {}
        """By key and origin: what was passed on last, and when."""

    def pass_on(self, announce: Announce, now: float) -> Announce | None:
        """What others are told because ``announce`` was taken; None: nothing.

        That somebody left, :meth:`missing` says.
        """
        passed = None if announce.leaving else forwarded(announce, self.own, NOWHERE)
        if passed is None:
            return None
        before = self._passed.get(announce.key, {}).get(passed.origin)
        if before is not None and now - before[1] < EVERY and _says_the_same(before[0], passed):
            return None
        if not self._is_there(announce.key, passed.origin):
            return None
        self._passed.setdefault(announce.key, {})[passed.origin] = (passed, now)
        return passed

    def missing(self, keys: Iterable[bytes]) -> list[Announce]:
        """What must be taken back because something happened to nodes of ``keys``."""
        found = []
        for key in set(keys).intersection(self._passed):
            for origin in [origin for origin in self._passed[key] if not self._is_there(key, origin)]:
                found.append(self._take_back(key, origin))
        return found

    def all(self) -> list[Announce]:
        """Everything is taken back."""
        return [self._take_back(key, origin) for key in list(self._passed) for origin in list(self._passed[key])]

    def clear(self) -> None:
        """Nobody is told anything any more."""
        self._passed.clear()

    def handed(self) -> list[list[object]]:
        """For a master that takes the place of this one. (An address must stand there, whoever is told.)"""
        return [
            [origin.decode("latin-1"), encode_announce(passed._replace(address=_ANYBODY)).decode("latin-1"), when]
            for origins in self._passed.values()
            for origin, (passed, when) in origins.items()
        ]

    def inherit(self, rows: Iterable[list[Any]]) -> None:
        """Go on as whoever gave :meth:`handed`. Raises :class:`ProtocolError` for what nobody passes on."""
        for origin, text, when in rows:
            passed = decode_announce(text.encode("latin-1"))._replace(address=NOWHERE)
            self._passed.setdefault(passed.key, {})[origin.encode("latin-1")] = (passed, float(when))

    def _take_back(self, key: bytes, origin: bytes) -> Announce:
        passed, _ = self._passed[key].pop(origin)
        if not self._passed[key]:
            del self._passed[key]
        return passed._replace(leaving=True)

    def _is_there(self, key: bytes, origin: bytes) -> bool:
        """Whether requests for ``key`` can be given to nodes that announced to ``origin``."""
        slot = self._table.slots.get(key)
        if slot is None:
            return False
        if origin == self.own:
            return any(node.state in SERVING and node.backup <= NEAR_MOST for node in slot.nodes)
        routers = self._ways.routers(key, origin)
        return any(node.state in SERVING and node.address.identity in routers for node in slot.nodes)


def _says_the_same(one: Announce, two: Announce) -> bool:
    """Of several ways that are as long it does not matter which one is told."""
    return one.hops == two.hops and one._replace(route=two.route) == two

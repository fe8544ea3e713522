"""The federation: what this router hears from other routers, and what it tells them.

One idea: joins who is reached by way of whom (model/ways.py), what must be told (model/passing.py) and the sockets
(resubscription.py), so that the registrar has one place to ask. It knows of nodes what the route table says. A router
that tells nobody anything still hears others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from uwsgirouter.log import Log
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.resubscription import Resubscription
from uwsgirouter.model.passing import Passing
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.ways import Ways
from uwsgirouter.protocol.forwarding import check_route
from uwsgirouter.protocol.subscription import Announce


class Federation:
    """Lives as long as the master, so this router is the same one for others after a reload."""

    def __init__(self, table: RouteTable, log: Log) -> None:
        self._resubscription = Resubscription(log)
        self._ways = Ways(tolerance=17.0)
        self._passing = Passing(table, self._ways, self._resubscription.id)
        self._sender: object = None
        """Who sent the announcement that is being acted upon; whatever comes of it is not told to them."""

    def adopt(self, generation: Generation) -> None:
        """Work by the settings of ``generation``, and with what its names mean now."""
        self._ways.tolerance = generation.settings.seconds("subscription-tolerance")
        self._resubscription.adopt(generation.resubscribe, generation.endpoints)
        if not self._resubscription.is_wanted:
            self._passing.clear()

    @property
    def is_wanted(self) -> bool:
        """Whether other routers are told anything."""
        return self._resubscription.is_wanted

    def concerns(self, announce: Announce) -> bool:
        """Whether ``announce`` came from another router, or has to be told to others; if not, nobody need ask more."""
        return bool(announce.route) or self._resubscription.is_wanted

    def hear(self, announce: Announce, sender: object, now: float) -> Announce | None:
        """What the registry shall take of an announcement; None: nothing.

        :meth:`heard` is to be called when it has, and :meth:`done` in any case. ``sender`` is as recvfrom gives it.
        Raises :class:`ProtocolError` for one that came back, or when too many routers are known.
        """
        check_route(announce, self._resubscription.id)
        self._sender = sender
        return self._ways.hear(announce, now)

    def heard(self, announce: Announce, was_taken: bool, now: float) -> None:
        """``was_taken``: :meth:`hear` gave something for the registry, and it has it."""
        if not self._resubscription.is_wanted:
            return
        passed = self._passing.pass_on(announce, now) if was_taken else None
        if passed is not None:
            self._resubscription.send(passed, self._sender, now)
        if announce.leaving:
            self.changed([announce.key], now)

    def done(self) -> None:
        """Nothing more comes of the announcement."""
        self._sender = None

    def changed(self, keys: Iterable[bytes], now: float) -> None:
        """Something happened to nodes of ``keys``: others hear of those that nobody serves here any more."""
        if self._resubscription.is_wanted:
            for passed in self._passing.missing(keys):
                self._resubscription.send(passed, self._sender, now)

    def tick(self, now: float) -> None:
        """Once a second."""
        self.changed(self._ways.expire(now), now)
        self._resubscription.tick(now)

    def take_leave(self, now: float) -> None:
        """The router stops: others do not count on it any longer, and hear no more of it."""
        for passed in self._passing.all():
            self._resubscription.send(passed, None, now)
        self._resubscription.stop()

    def handed(self) -> dict[str, object]:
        """For a master that takes the place of this one, which is the same router to others."""
        told = self._resubscription
        return {
            "id": told.id.decode(),
            "sent": told.sent,
            "lost": told.lost,
            "ways": self._ways.handed(),
            "passed": self._passing.handed(),
        }

    def inherit(self, rows: Mapping[str, Any]) -> None:
        """Go on as whoever gave :meth:`handed`."""
        told = self._resubscription
        told.id = self._passing.own = str(rows["id"]).encode()
        told.sent, told.lost = int(rows["sent"]), int(rows["lost"])
        self._ways.inherit(rows["ways"])
        self._passing.inherit(rows["passed"])

    def describe(self) -> str:
        """For the stats line; empty when nothing is passed on."""
        return self._resubscription.describe() if self._resubscription.is_wanted else ""

"""Ways: by which nodes that are routers themselves the nodes of other routers are reached.

One idea: what another router passes on names the router that the node itself announced to (its origin) and those on the
way. Of each origin of a key only the shortest ways are taken, so a request never goes to a router that is farther from
the node than this one, and comes back to none; and a router leaves only when the last origin that it stood for did.
Pure: ``now`` is passed in. What uWSGI passes on names nobody: it is taken for a node's own announcement.

Invariant: at most :data:`WAYS_MAX` origins are remembered, :data:`ROUTERS_MAX` routers of each, and
:data:`ORIGINS_MAX` origins of a router under one key; what is looked at for one announcement is no more than that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.forwarding import backup_of
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import Kind

WAYS_MAX = 1 << 18
"""Origins of all keys together; beyond that the one heard of longest ago is forgotten."""
ROUTERS_MAX = 64
"""Routers that are as near to one origin."""
ORIGINS_MAX = 256
"""Origins for which one router stands under one key; there are as many as other routers."""

Identity = tuple[Kind, str, int]
Mark = tuple[bytes, bytes]
"""A key, and the id of the router that its node announced to."""


class Ways:
    """``tolerance``: seconds for which a way holds that is not announced again."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self._ways: OrderedDict[Mark, dict[Identity, tuple[int, float]]] = OrderedDict()
        """Of each origin, by which routers it is reached, how far it is, and when that was heard last."""
        self._origins: dict[tuple[bytes, Identity], dict[bytes, int]] = {}
        """Of each router, for which origins it stands under a key, and how far they are."""

    def hear(self, announce: Announce, now: float) -> Announce | None:
        """What the registry shall take of an announcement that passed other routers; None: nothing.

        Others are given back as they are. Raises :class:`ProtocolError` when there is no room for one.
        """
        if not announce.route:
            return announce
        mark = (announce.key, announce.origin)
        identity = announce.address.identity
        if announce.leaving:
            self._forget(mark, identity)
            return None if self._origins.get((announce.key, identity)) else announce
        ways = self._ways.get(mark, {})
        for other in [other for other, (_, heard) in ways.items() if now - heard > self.tolerance]:
            self._forget(mark, other)
        if any(hops < announce.hops for other, (hops, _) in ways.items() if other != identity):
            return None
        for other in [other for other, (hops, _) in ways.items() if hops > announce.hops and other != identity]:
            self._forget(mark, other)
        self._check_room(mark, identity)
        self._note(mark, identity, announce.hops, now)
        return announce._replace(backup=backup_of(min(self._origins[announce.key, identity].values())))

    def routers(self, key: bytes, origin: bytes) -> Iterable[Identity]:
        """The nodes by which ``origin`` is reached."""
        return self._ways.get((key, origin), {}).keys()

    def expire(self, now: float) -> list[bytes]:
        """Forget what was not heard of for too long; the keys that this concerns."""
        keys = []
        while self._ways:
            mark, ways = next(iter(self._ways.items()))
            if max(heard for _, heard in ways.values()) + self.tolerance >= now:
                break
            keys.append(mark[0])
            self._drop(mark)
        return keys

    def handed(self) -> list[list[object]]:
        """For a master that takes the place of this one."""
        return [
            [
                key.decode("latin-1"),
                origin.decode("latin-1"),
                [[kind.name, host, port, hops, heard] for (kind, host, port), (hops, heard) in ways.items()],
            ]
            for (key, origin), ways in self._ways.items()
        ]

    def inherit(self, rows: Iterable[list[Any]]) -> None:
        """Go on as whoever gave :meth:`handed`."""
        for key, origin, ways in rows:
            for kind, host, port, hops, heard in ways:
                mark = (key.encode("latin-1"), origin.encode("latin-1"))
                self._note(mark, (Kind[kind], host, port), int(hops), float(heard))

    def _check_room(self, mark: Mark, identity: Identity) -> None:
        ways, origins = self._ways.get(mark, {}), self._origins.get((mark[0], identity), {})
        if identity not in ways and len(ways) >= ROUTERS_MAX:
            raise ProtocolError("too many routers", f"{ROUTERS_MAX} pass on what router {mark[1].decode()} serves")
        if mark[1] not in origins and len(origins) >= ORIGINS_MAX:
            raise ProtocolError("too many routers", f"{identity[1]} stands for {ORIGINS_MAX} routers under this key")

    def _note(self, mark: Mark, identity: Identity, hops: int, now: float) -> None:
        self._ways.setdefault(mark, {})[identity] = (hops, now)
        self._ways.move_to_end(mark)
        self._origins.setdefault((mark[0], identity), {})[mark[1]] = hops
        if len(self._ways) > WAYS_MAX:
            self._drop(next(iter(self._ways)))

    def _drop(self, mark: Mark) -> None:
        for identity in list(self._ways[mark]):
            self._forget(mark, identity)

    def _forget(self, mark: Mark, identity: Identity) -> None:
        """This origin is reached by this router no more. Ends with the mark itself, when that was the last way."""
        ways = self._ways.get(mark)
        if ways is None or ways.pop(identity, None) is None:
            return
        if not ways:
            del self._ways[mark]
        origins = self._origins[mark[0], identity]
        del origins[mark[1]]
        if not origins:
            del self._origins[mark[0], identity]

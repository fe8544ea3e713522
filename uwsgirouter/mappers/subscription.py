"""Find nodes by what they announced: the slot whose key is the request's.

Keys are compared byte for byte, as the FastRouter does. A key that is not there is tried once more in lower case and,
with ``fastrouter-strip-port``, without its port. That is all of :class:`SubscriptionMapper`; what else an announced key
may stand for is :class:`WideSubscriptionMapper`'s, so that who does not use it does not pay for it. Both are pure: they
read the table and never yield.
"""

from __future__ import annotations

from collections.abc import Iterator

from uwsgirouter.mappers.key import without_port
from uwsgirouter.mappers.mountpoints import prefixes, split_host
from uwsgirouter.model.node import SERVING, State
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import STATIC_KEY, RouteTable

LABELS_MAX = 4
"""Labels that are taken from a host, one after the other: uWSGI tries five names, the whole one among them."""
_PRESENT = (*SERVING, State.INACTIVE)
"""States of nodes that serve or can be started."""


class SubscriptionMapper:
    """``find(key)`` over the announced nodes of ``table``."""

    def __init__(self, table: RouteTable, strip_port: bool) -> None:
        self._slots = table.slots
        self._strip_port = strip_port

    def find(self, key: bytes) -> Slot | None:
        """The slot for ``key``, or None: nobody announced it."""
        return self._slots.get(key) or self._second_look(key)

    def _second_look(self, key: bytes) -> Slot | None:
        bare = without_port(key) if self._strip_port else key
        for candidate in (bare, key.lower(), bare.lower()):
            slot = self._slots.get(candidate)
            if slot is not None and candidate != STATIC_KEY:
                return slot
        return None


class WideSubscriptionMapper:
    """Several announced keys may serve one request: the most specific one does that has a node which does.

    First the host as it is, in lower case, without its port; then (``dotsplit``) what is left of it from its next dots
    on; last the ``fallback_key``. Of each host, the longest path that is announced comes first (``levels``: how many
    components of it keys may have). A key whose nodes are all out or take leave counts only when no other does.
    """

    def __init__(
        self, table: RouteTable, strip_port: bool, fallback_key: bytes = b"", dotsplit: bool = False, levels: int = 0
    ) -> None:
        self._slots = table.slots
        self._strip_port = strip_port
        self._fallback_key = fallback_key
        self._dotsplit = dotsplit
        self.levels = levels
        """How many components of the path sessions put behind the key."""

    def find(self, key: bytes) -> Slot | None:
        """The slot for ``key`` (host and path, see ``with_path``), or None: nobody announced what serves it."""
        absent = None
        for candidate in self._candidates(key):
            slot = self._slots.get(candidate)
            if slot is None or candidate == STATIC_KEY:
                continue
            if slot.first(_PRESENT, ()) is not None:
                return slot
            absent = absent or slot
        return absent

    def _candidates(self, key: bytes) -> Iterator[bytes]:
        for whole in prefixes(key, self.levels) if self.levels else (key,):
            yield from self._forms(whole)
        if self._dotsplit:
            yield from self._split(key)
        if self._fallback_key:
            yield self._fallback_key

    def _forms(self, key: bytes) -> Iterator[bytes]:
        """The ways to write one host. A path is what it is, so only without paths the whole key is taken for a host."""
        host, path = split_host(key) if self.levels else (key, b"")
        bare = without_port(host) if self._strip_port else host
        yield key
        if bare != host:
            yield bare + path
        lower = host.lower()
        if lower != host:
            yield lower + path
            if bare != host:
                yield bare.lower() + path

    def _split(self, key: bytes) -> Iterator[bytes]:
        """``www.foo.com`` is served by ``.foo.com`` and by ``.com``, each with the path first."""
        host, path = split_host(key) if self.levels else (key, b"")
        for _ in range(LABELS_MAX):
            dot = host.find(b".", 1)
            if dot < 0:
                return
            host = host[dot:]
            for whole in prefixes(host + path, self.levels) if self.levels else (host,):
                yield from self._forms(whole)


def subscription_mapper(
    table: RouteTable, strip_port: bool, fallback_key: bytes = b"", dotsplit: bool = False, levels: int = 0
) -> SubscriptionMapper | WideSubscriptionMapper:
    """The one that is enough."""
    if fallback_key or dotsplit or levels:
        return WideSubscriptionMapper(table, strip_port, fallback_key, dotsplit, levels)
    return SubscriptionMapper(table, strip_port)

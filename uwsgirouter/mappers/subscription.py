"""Find nodes by what they announced: the slot whose key is the request's.

Keys are compared byte for byte, as the FastRouter does. A key that is not there is tried once more in lower case and,
with ``fastrouter-strip-port``, without its port; the last resort is ``fastrouter-subscription-fallback-key``. Pure:
reads the table, never yields.
"""

from __future__ import annotations

from uwsgirouter.mappers.key import without_port
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import STATIC_KEY, RouteTable


class SubscriptionMapper:
    """``find(key)`` over the announced nodes of ``table``."""

    def __init__(self, table: RouteTable, strip_port: bool, fallback_key: bytes = b"") -> None:
        self._slots = table.slots
        self._strip_port = strip_port
        self._fallback_key = fallback_key

    def find(self, key: bytes) -> Slot | None:
        """The slot for ``key``, or None: nobody announced it."""
        return self._slots.get(key) or self._second_look(key)

    def _second_look(self, key: bytes) -> Slot | None:
        bare = without_port(key) if self._strip_port else key
        for candidate in (bare, key.lower(), bare.lower(), self._fallback_key):
            slot = self._slots.get(candidate)
            if slot is not None and candidate != STATIC_KEY:
                return slot
        return None

"""Find nodes in the configuration: ``fastrouter-to``, the same ones for every key. Pure; never yields."""

from __future__ import annotations

from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import STATIC_KEY, RouteTable


class StaticMapper:
    """``find(key)`` gives the slot of the configured nodes, whatever the key."""

    def __init__(self, table: RouteTable) -> None:
        self._slots = table.slots

    def find(self, key: bytes) -> Slot | None:
        """The slot of the static nodes."""
        return self._slots.get(STATIC_KEY)

"""What is counted of nodes and measured of keys, as the master has it: the memory, and what only the master can do.

One idea: nothing of it exists until a configuration wants it, and then it stays as long as the master, over reloads and
workers' deaths. The master writes only what nobody else does: it clears the record of a number that another node gets,
and keeps what nodes that are gone have counted for their key. It must not know how anything is shown.
"""

from __future__ import annotations

import os
from typing import Any

from uwsgirouter.errors import BootError
from uwsgirouter.master.handover import Keep, Rows
from uwsgirouter.master.shared_memory import SharedMemory
from uwsgirouter.model import measures, tallies
from uwsgirouter.model.counters import Counters
from uwsgirouter.model.measures import MEASURES_BYTES, Measures
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.tallies import FAILURES, REQUESTS, RX, TALLIES_BYTES, TX, NodeTallies, Tallies
from uwsgirouter.settings.settings import Settings

_CELLS = {"requests": REQUESTS, "rx": RX, "tx": TX, "failed_connects": FAILURES}

SHOWN = ("fastrouter-stats", "stats", "metrics")
"""The options for whose sake requests are measured."""


def is_shown(settings: Settings) -> bool:
    """Whether anybody can see statistics or metrics."""
    return any(settings.addresses(name) for name in SHOWN)


def is_counted(settings: Settings) -> bool:
    """Whether anybody can see what is counted of nodes."""
    return is_shown(settings) or bool(settings.text("control-socket"))


class Observed:
    """``tallies`` and ``measures`` are None until they are wanted for the first time."""

    def __init__(self, registry: Registry, counters: Counters) -> None:
        self.tallies: Tallies | None = None
        self.measures: Measures | None = None
        self.past_hits: dict[bytes, int] = {}
        """By key: the requests and failed connects of its nodes that are gone."""
        self._files: dict[str, int] = {}
        self._registry = registry
        self._counters = counters

    def prepare(self, settings: Settings) -> None:
        """Before workers with these settings are forked. Raises BootError."""
        try:
            if self.tallies is None and is_counted(settings):
                self._count_in(SharedMemory("tallies", TALLIES_BYTES))
            if self.measures is None and is_shown(settings):
                self._measure_in(SharedMemory("measures", MEASURES_BYTES))
        except OSError as error:
            raise BootError(f"no room for statistics: {error.strerror}") from error

    def _count_in(self, memory: SharedMemory) -> None:
        self.tallies = Tallies(memory.view)
        self._files["tallies"] = memory.descriptor
        self._registry.watch_numbers(self._given_again, self._announced)

    def _measure_in(self, memory: SharedMemory) -> None:
        self.measures = Measures(memory.view)
        self._files["measures"] = memory.descriptor

    # -- another version takes over ---------------------------------------------------------------------------------

    def handed(self, keep: Keep) -> Rows:
        """For the successor."""
        hits = [[key.decode("latin-1"), count] for key, count in self.past_hits.items()]
        files = {name: keep(descriptor) for name, descriptor in self._files.items()}
        return {"files": files, "layout": layout(), "hits": hits}

    def inherit(self, rows: Rows | None, counters_fit: bool) -> None:
        """Take what another version left; nothing of it where something else stands elsewhere in this one."""
        if rows is None:
            return
        known = counters_fit and fits(rows["layout"])
        for name, descriptor in rows["files"].items():
            if descriptor < 0:
                continue
            if known and name == "tallies":
                self._count_in(SharedMemory(name, TALLIES_BYTES, descriptor))
            elif known and name == "measures":
                self._measure_in(SharedMemory(name, MEASURES_BYTES, descriptor))
            else:
                os.close(descriptor)
        if known:
            self.past_hits = {str(key).encode("latin-1"): int(count) for key, count in rows["hits"]}

    # -- for the workers --------------------------------------------------------------------------------------------

    def tallies_of(self, settings: Settings, row: int) -> NodeTallies | None:
        """A worker's own row; None when nobody asks."""
        return self.tallies.row(row) if self.tallies is not None and is_counted(settings) else None

    def measures_of(self, settings: Settings, row: int) -> memoryview | None:
        """A worker's own part; None when nobody asks."""
        return self.measures.part(row) if self.measures is not None and is_shown(settings) else None

    def counted(self, id: int) -> dict[str, int]:
        """What node ``id`` has had until now; empty when nobody counts."""
        if self.tallies is None:
            return {}
        rows = self._counters.used_rows()
        return {name: self.tallies.of(cell, id, rows) for name, cell in _CELLS.items()}

    def gone(self, key: bytes, id: int) -> None:
        """A node of ``key`` was removed."""
        if self.tallies is None:
            return
        if key not in self._registry.table.slots:
            self.past_hits.pop(key, None)
            return
        rows = self._counters.used_rows()
        hits = self.tallies.of(REQUESTS, id, rows) + self.tallies.of(FAILURES, id, rows)
        if hits:
            self.past_hits[key] = self.past_hits.get(key, 0) + hits

    def _given_again(self, id: int) -> None:
        assert self.tallies is not None
        self.tallies.clear(id, self._counters.used_rows())

    def _announced(self, id: int) -> None:
        assert self.tallies is not None
        self.tallies.announced(id, self._counters.used_rows())


def layout() -> dict[str, Any]:
    """Where what is in the memory, for a program of another version that is given it."""
    names = ("KEY_ROWS", "ROW_CELLS", "KEY", "CONNECT", "FIRST_BYTE", "TOTAL", "STATUS", "RX", "TX", "FAILED")
    return {
        "tallies": [tallies.RECORD_CELLS, REQUESTS, RX, TX, FAILURES, tallies.LAST],
        "measures": [getattr(measures, name) for name in names],
        "bounds": [list(measures.CONNECT_BOUNDS), list(measures.LATENCY_BOUNDS)],
        "causes": list(measures.CAUSES),
    }


def fits(theirs: Any) -> bool:
    """Whether memory of that :func:`layout` can be used as ours; there may be causes more."""
    ours = layout()
    if any(ours[part] != theirs.get(part) for part in ("tallies", "measures", "bounds")):
        return False
    return all(one == two for one, two in zip(ours["causes"], theirs["causes"], strict=False))

"""What is counted of nodes and measured of keys, as the master has it: the memory, and what only the master can do.

One idea: nothing of it exists until a configuration wants it, and then it stays as long as the master, over reloads and
workers' deaths. The master writes only what nobody else does: it clears the record of a number that another node gets,
and keeps what nodes that are gone have counted for their key. It must not know how anything is shown.
"""

from __future__ import annotations

import os

from uwsgirouter.errors import BootError
from uwsgirouter.master.handover import Keep, Rows
from uwsgirouter.master.shared_memory import SharedFile
from uwsgirouter.model import counters as ledger
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
        """The descriptors of the memory."""
        self._registry = registry
        self._counters = counters

    def prepare(self, settings: Settings) -> None:
        """Before workers with these settings are forked. Raises BootError."""
        try:
            if self.tallies is None and is_counted(settings):
                self._count(SharedFile("tallies", TALLIES_BYTES))
            if self.measures is None and is_shown(settings):
                self._measure(SharedFile("measures", MEASURES_BYTES))
        except OSError as error:
            raise BootError(f"no room for statistics: {error.strerror}") from error

    def _count(self, file: SharedFile) -> None:
        self._files["tallies"] = file.descriptor
        self.tallies = Tallies(file.memory)
        self._registry.watch_numbers(self._given_again)

    def _measure(self, file: SharedFile) -> None:
        self._files["measures"] = file.descriptor
        self.measures = Measures(file.memory)
        # Only statistics tell what came since an announcement, and each look makes pages of the memory.
        self._registry.watch_numbers(self._given_again, self._announced)

    def handed(self, keep: Keep) -> Rows:
        """For the master that takes the place of this one: the memory, and where what is in it."""
        return {
            "files": {name: keep(descriptor) for name, descriptor in self._files.items()},
            "shape": _shape(),
            "past_hits": [[key.decode("latin-1"), hits] for key, hits in self.past_hits.items()],
        }

    def inherit(self, rows: Rows) -> None:
        """Go on counting; from nothing, where this version has it in other places. Raises OSError."""
        files = {name: int(descriptor) for name, descriptor in rows["files"].items() if descriptor >= 0}
        if rows["shape"] != _shape():
            for descriptor in files.values():
                os.close(descriptor)
            return
        if "tallies" in files:
            self._count(SharedFile("tallies", TALLIES_BYTES, files["tallies"]))
        if "measures" in files:
            self._measure(SharedFile("measures", MEASURES_BYTES, files["measures"]))
        self.past_hits = {str(key).encode("latin-1"): int(hits) for key, hits in rows["past_hits"]}

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


def _shape() -> dict[str, int]:
    """Where what is in the memory: every number that the modules name."""
    found = {}
    for module in (ledger, measures, tallies):
        names = [name for name, value in vars(module).items() if name.isupper() and isinstance(value, int)]
        found.update({f"{module.__name__}.{name}": int(vars(module)[name]) for name in names})
    return found

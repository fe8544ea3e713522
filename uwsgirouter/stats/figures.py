"""Figures: what a picture and the shared memory add up to, computed once for whatever shows it.

One idea: both the JSON and the metrics say the same numbers, so they are added up in one place. What only the kernel
knows of a process it is asked here. It must not know how anything is written.
"""

from __future__ import annotations

import os
import time
from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from uwsgirouter.model import tallies
from uwsgirouter.model.counters import UNNUMBERED, Counter
from uwsgirouter.model.measures import ROW_CELLS, Row, total
from uwsgirouter.model.node import Node, State
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.stats.naming import Named, name
from uwsgirouter.stats.picture import Picture, WorkerFacts

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    """What the kernel says of a process: bytes of memory and seconds of processor time; 0 for one that is gone."""

    resident: int = 0
    cpu: float = 0.0

    @classmethod
    def of(cls, pid: int) -> Process:
        """Ask."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return cls()
        return cls(int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _TICKS)


class Figures:
    """Of ``picture``, at the time of its making."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.now = time.monotonic()
        self.wall = time.time()
        self._rows = picture.counters.used_rows()
        self._living = [worker.row for worker in picture.workers]
        self._numbers = picture.registry.numbers

    # -- workers ----------------------------------------------------------------------------------------------------

    def total(self, counter: int) -> int:
        """The sum of one counter over all workers that ever were."""
        return self.picture.counters.total(counter, self._rows)

    def present(self, counter: int) -> int:
        """The sum over those that live."""
        return self.picture.counters.total(counter, self._living)

    def of_worker(self, worker: WorkerFacts, counter: int) -> int:
        """One worker's counter; its row may have been another's before."""
        return self.picture.counters.read(worker.row, counter)

    def worker_state(self, worker: WorkerFacts) -> str:
        """What it is about."""
        is_cheap = worker.state == "serving" and self.of_worker(worker, Counter.CHEAP)
        return "cheap" if is_cheap else worker.state

    @property
    def is_cheap(self) -> bool:
        """Whether nobody accepts anything, since no node is there."""
        serving = [worker for worker in self.picture.workers if worker.state == "serving"]
        return bool(serving) and all(self.of_worker(worker, Counter.CHEAP) for worker in serving)

    def failures(self) -> dict[str, int]:
        """Failed requests by cause, all causes there are."""
        return {cause.value.word: self.total(Counter.FAILURES + index) for index, cause in enumerate(Cause)}

    # -- nodes ------------------------------------------------------------------------------------------------------

    @cached_property
    def _columns(self) -> list[list[int]]:
        column = self.picture.tallies.column
        if not self._rows:
            return [[0] * self._numbers] * (tallies.LAST + 1)
        return [column(cell, self._rows, self._numbers) for cell in range(tallies.LAST + 1)]

    @cached_property
    def _inflight(self) -> list[int]:
        return self.picture.counters.inflight_column(self._living, self._numbers)

    def tally(self, node: Node) -> tuple[int, int, int, int]:
        """A node's requests, bytes to it, bytes from it, failed connects."""
        requests, rx, tx, failures, _ = self._columns
        return requests[node.id], rx[node.id], tx[node.id], failures[node.id]

    def inflight(self, node: Node) -> int:
        """Its sessions under way."""
        return self._inflight[node.id]

    def in_flight(self) -> int:
        """Sessions under way of all nodes, those that mappers make included."""
        return sum(self._inflight) + self.picture.counters.inflight(UNNUMBERED, self._living)

    def states(self) -> dict[str, int]:
        """How many nodes are in each state."""
        found = Tally(node.state for node in self.picture.registry.table.nodes.values())
        return {state.value: found[state] for state in State}

    # -- keys -------------------------------------------------------------------------------------------------------

    @cached_property
    def named(self) -> Named:
        """What was measured, by key."""
        keys: dict[bytes, list[Row]] = {}
        nameless: list[Row] = [[0] * ROW_CELLS]
        for index in self._rows:
            for key, cells in self.picture.measures.rows(index):
                (nameless if key is None or key == b"other" else keys.setdefault(key, [])).append(cells)
        added = {key: total(rows) for key, rows in keys.items()}
        return name(added, total(nameless), self.picture.keys_most, self.picture.naming)

    def by_key(self) -> Iterator[tuple[str, Row]]:
        """Names and sums, that of the others at last. A text is there once, whatever bytes the keys are."""
        found: dict[str, Row] = {}
        for key, row in self.named.rows.items():
            text = key.decode("utf-8", "backslashreplace")
            found[text] = total([found[text], row]) if text in found else row
        yield from found.items()
        yield "other", self.named.other

"""The memory that the metrics of all workers are in, and the lock that keeps their changes apart.

One idea: one anonymous file, mapped by the master before it forks; a change is a handful of instructions under a
lock of the kernel's on that file (fcntl), which is let go when its holder dies. Waiting for it is waiting for
another worker's few microseconds.
Invariant: a name that had a cell has it for ever, with its number.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from uwsgirouter.model.metrics import CELL_BYTES, Metrics, wrapped
from uwsgirouter.settings.metering import MOST, MetricSpec


class FileLock:
    """A lock between processes. Not between the threads of one: who changes metrics does so in one thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


class MetricMemory:
    """Made once, by the master, before the first fork. Pages that no metric needs cost nothing. Raises OSError."""

    def __init__(self, descriptor: int = -1) -> None:
        self._descriptor = os.memfd_create("uwsgirouter-metrics", os.MFD_CLOEXEC) if descriptor < 0 else descriptor
        os.ftruncate(self._descriptor, MOST * CELL_BYTES)
        self._memory = mmap.mmap(self._descriptor, MOST * CELL_BYTES)
        self._cells = memoryview(self._memory).cast("q")
        self._numbers: dict[bytes, int] = {}
        self._lock = FileLock(self._descriptor)

    def configure(self, specs: Sequence[MetricSpec]) -> Metrics:
        """The metrics of a configuration: those that are new begin with their value, the others go on.

        Raises :class:`OverflowError` when all cells were given away, over many reloads.
        """
        names = [spec.name.encode() for spec in specs]
        new = {name: spec.initial for name, spec in zip(names, specs, strict=True) if name not in self._numbers}
        if len(self._numbers) + len(new) > MOST:
            raise OverflowError(f"more than {MOST} metrics since the router was started; restart it for new ones")
        for name, initial in new.items():
            number = self._numbers[name] = len(self._numbers)
            self._cells[number] = wrapped(initial)
        return Metrics(self._cells, {name: self._numbers[name] for name in names}, self._lock)

    def handed(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """For the program that takes the place of this master."""
        return {"file": keep(self._descriptor), "numbers": [[name.decode(), at] for name, at in self._numbers.items()]}

    @classmethod
    def inherited(cls, rows: Mapping[str, Any]) -> MetricMemory:
        """The memory that was handed over. Raises OSError."""
        if rows["file"] >= 0:
            os.set_inheritable(rows["file"], False)
        memory = cls(rows["file"])
        memory._numbers = {str(name).encode(): int(number) for name, number in rows["numbers"]}
        return memory

    def close(self) -> None:
        """For tests: give it back."""
        self._cells.release()
        self._memory.close()
        os.close(self._descriptor)

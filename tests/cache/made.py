"""Caches for the tests of this package and its neighbours: opened in a directory, with a clock that the test turns."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from uwsgirouter.cache.cache import Cache
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.environment import Role
from uwsgirouter.cache.specs import CacheSpec

PROJECT = Path(__file__).resolve().parents[2]


def spec(name: str = "default", items: int = 10, **others: object) -> CacheSpec:
    """A specification; blocks as many as items."""
    return CacheSpec(name=name, items=items, **{"blocks": items, "where": "router.conf:1", **others})  # type: ignore[arg-type]


class Open:
    """Caches that are open while the block runs. ``said`` is what they logged, ``now`` their clock."""

    def __init__(self, directory: Path, *specs: CacheSpec, role: Role = Role.WORKER) -> None:
        self.said: list[str] = []
        self.now = 1_000_000.0
        self.caches = Caches(specs or (spec(),), str(directory), self.said.append, role, lambda: self.now)

    @property
    def cache(self) -> Cache:
        """The first one."""
        return self.caches.named("")

    def __enter__(self) -> Open:
        return self

    def __exit__(self, type: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.caches.close()


def consistent(cache: Cache) -> None:
    """Every item has one slot and the other way round; ends and blocks are those of the items."""
    table = cache._table
    with cache._env.begin() as txn:
        items = list(table.all(txn))
        slots = list(table.slots(txn))
        free = list(txn.cursor(db=table._free).iternext(values=False))
        ends = {bytes(handle) for _, handle in txn.cursor(db=table._ends)}
        assert sorted(item.slot for item in items) == sorted(slots)
        assert len(set(slots)) + len(set(free)) == len(slots) + len(free)
        assert {int.from_bytes(slot, sys.byteorder) for slot in free} | set(slots) == set(range(len(slots) + len(free)))
        assert len(ends) == table.mortal(txn) == sum(1 for item in items if item.ends)
        assert table.used(txn) == sum(table.blocks(item.value) for item in items)


class Child:
    """Another process with the same cache: ``code`` has ``cache``, and says something with ``tell(text)``.

    What still runs at the end of a test is killed (see conftest.py).
    """

    started: ClassVar[list[Child]] = []

    def __init__(self, directory: Path, what: CacheSpec, code: str) -> None:
        program = f"""
import os, sys, time
from uwsgirouter.cache.caches import Caches
from uwsgirouter.settings.caching import CacheSpec
caches = Caches([{what!r}], {str(directory)!r}, print)
cache = caches.named("")
def tell(text):
    print(text, flush=True)
def hold():
    txn = cache._env.begin(write=True)
    txn.put(b"half", b"written", db=cache._table.items)
    tell("holding")
    time.sleep(100)
{textwrap.dedent(code)}
"""
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )

        self.started.append(self)

    def hear(self) -> str:
        """The next line that it tells."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.close()

    def close(self) -> int:
        """Wait for its end."""
        assert self.process.stdout is not None
        code = self.process.wait(20)
        self.process.stdout.close()
        if self in self.started:
            self.started.remove(self)
        return code

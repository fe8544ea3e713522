"""The memory that limits of all workers count in, and the locks that keep their changes apart.

One idea: one anonymous file, mapped by the master before it forks; a change is a few instructions under a lock of the
kernel's on a byte of that file (fcntl), which is let go when its holder dies. A holder that is stopped must not
stop the others: they wait for :data:`PATIENCE`, then go on without it for :data:`REST`, which may lose a token.
Invariants: the size never changes as long as the master lives; a row is cleared only when its worker is dead.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from uwsgirouter.model import buckets, holds
from uwsgirouter.model.buckets import Buckets
from uwsgirouter.model.counters import ROWS
from uwsgirouter.model.holds import Holds
from uwsgirouter.model.shelf import STRIPES, WAYS

PATIENCE = 0.05
"""Seconds that one waits for a lock at most."""
REST = 1.0
"""Seconds in which a lock that was not had is not waited for."""

_SECRET_BYTES = 32
_SHAPE = [buckets.HEAD_BYTES, buckets.CELL_BYTES, WAYS, STRIPES, ROWS, holds.HEAD_BYTES, holds.CELLS]
"""What says where things are in the memory."""


class StripeLocks:
    """Locks between processes, one a byte of the file. Not between the threads of one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._missed: dict[int, float] = {}

    def enter(self, stripe: int) -> bool:
        """Take a lock; False when its holder does not move."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, stripe)
        except OSError:
            return self._insist(stripe)
        return True

    def leave(self, stripe: int) -> None:
        """Let go of it."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, stripe)

    def _insist(self, stripe: int) -> bool:
        now = time.monotonic()
        if now < self._missed.get(stripe, 0.0):
            return False
        while time.monotonic() - now < PATIENCE:
            os.sched_yield()
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, stripe)
            except OSError:
                continue
            return True
        self._missed[stripe] = now + PATIENCE + REST
        return False


class LimitMemory:
    """Made once, by the master, before the first fork, for the buckets of ``keys`` keys. Raises OSError."""

    def __init__(self, keys: int, descriptor: int = -1, secret: bytes = b"") -> None:
        self._keys = keys
        self._descriptor = os.memfd_create("uwsgirouter-limits", os.MFD_CLOEXEC) if descriptor < 0 else descriptor
        self._secret = secret or os.urandom(_SECRET_BYTES)
        self._locks = StripeLocks(self._descriptor)
        size = holds.MEMORY_BYTES + buckets.memory_bytes(keys)
        os.ftruncate(self._descriptor, size)
        self._map = mmap.mmap(self._descriptor, size)
        self._counts = memoryview(self._map)
        self.buckets = Buckets(self._counts[holds.MEMORY_BYTES :], keys, self._secret, self._locks)

    def holds(self, row: int) -> Holds:
        """What the worker of that row counts with; made by it."""
        return Holds(self._counts, row, self._secret, self._locks)

    def release_row(self, row: int) -> None:
        """The worker of that row is dead: its requests are over. Its pages go back to the kernel."""
        if self._counts[row]:
            self._map.madvise(mmap.MADV_REMOVE, holds.ROWS_AT + row * holds.ROW_BYTES, holds.ROW_BYTES)
            self._counts[row] = 0

    def handed(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """For the program that takes the place of this master."""
        return {"file": keep(self._descriptor), "keys": self._keys, "secret": self._secret.hex(), "shape": _SHAPE}

    @classmethod
    def inherited(cls, rows: Mapping[str, Any]) -> LimitMemory | None:
        """The memory that was handed over; None when what is in it stands elsewhere in this version. Raises OSError."""
        if rows["file"] < 0:  # in the trial of an upgrade
            return cls(int(rows["keys"]))
        os.set_inheritable(rows["file"], False)
        if list(rows["shape"]) == _SHAPE:
            return cls(int(rows["keys"]), rows["file"], bytes.fromhex(rows["secret"]))
        os.close(rows["file"])
        return None

    def close(self) -> None:
        """For tests: give the descriptor back; the memory goes with the last view of it."""
        os.close(self._descriptor)

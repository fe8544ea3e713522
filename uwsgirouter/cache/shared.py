"""Counters and times of use, in memory that all processes share: what a look-up writes, since it cannot write to LMDB.

One idea: a look-up must not become a transaction, so it stores plain words in a mapped file: hits and misses in a row
that belongs to this process alone, and the time of use in the cell of the item's slot. Nobody waits for anybody.
Invariants: a row has one writer, who holds a lock on the row's byte as long as it lives (the kernel lets go of it when
it dies); what it counted stays for the next holder. Two more bytes say who keeps the cache and who is loading it. The
file's room is reserved when it is opened, so that a full memory file system is an error then and never a crash later.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from enum import IntEnum

from uwsgirouter.errors import BootError

ROWS = 512
_CELL = 8
KEEPER = ROWS
"""The lock of the process that keeps the cache of the configuration in force."""
LOADER = ROWS + 1
"""The lock of the process whose run of scripts is not settled yet."""


class Count(IntEnum):
    """The columns of a row."""

    HITS = 0
    MISSES = 1
    FULL = 2


_ROW = len(Count)
_HEAD = ROWS * _ROW * _CELL


class Shared:
    """One cache's file. ``row`` is this process's counters, ``uses`` the time of use of each slot (ns), or empty.

    ``slots`` is how many times of use there must be room for. ``counting``: this process needs a row.
    """

    def __init__(self, path: str, slots: int, counting: bool) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = max(_HEAD + slots * _CELL, os.fstat(self._descriptor).st_size // _CELL * _CELL)
            os.posix_fallocate(self._descriptor, 0, size)
            self._map = mmap.mmap(self._descriptor, size)
        except (OSError, ValueError) as error:
            os.close(self._descriptor)
            raise BootError(f"{path}: no room for {slots} items: {error}") from error
        self._cells = memoryview(self._map).cast("Q")
        self.uses = self._cells[ROWS * _ROW :] if slots else self._cells[:0]
        self.row = self._take_row() if counting else memoryview(bytearray(_ROW * _CELL)).cast("Q")

    def _take_row(self) -> memoryview:
        """A row that nobody holds; beyond the last one this process counts for itself."""
        for row in range(ROWS):
            if self.try_lock(row):
                return self._cells[row * _ROW : (row + 1) * _ROW]
        return memoryview(bytearray(_ROW * _CELL)).cast("Q")

    def try_lock(self, byte: int) -> bool:
        """Take a lock, if no other process has it. It is let go of by :meth:`unlock`, or by this process's end."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return False
        return True

    def unlock(self, byte: int) -> None:
        """Let go of a lock."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)

    def total(self, count: Count) -> int:
        """The sum over all processes, dead ones too."""
        return sum(self._cells[count : ROWS * _ROW : _ROW])

    def close(self) -> None:
        """Let go of the row and the memory."""
        for view in (self.row, self.uses, self._cells):
            view.release()
        self._map.close()
        os.close(self._descriptor)

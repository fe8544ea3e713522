"""Transactions on one cache's file, and what can be done about their errors.

One idea: whoever uses a cache says what it wants of a transaction and what the answer is when there is trouble; that a
look waits for nobody, that writers take turns, and that an error is mended, or is one line in the log a second, is
settled here. An action may be called again after an error: nothing of the failed try is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import lmdb

from uwsgirouter.cache.environment import File
from uwsgirouter.cache.room import Room
from uwsgirouter.cache.table import Txn
from uwsgirouter.errors import RouterError

T = TypeVar("T")

_TRIES = 4


class CacheTrouble(RouterError):
    """The cache cannot do what it was asked; ``str()`` says why."""


class CacheFull(CacheTrouble):
    """There is no room, and the policy makes none."""


class Access:
    """``name`` is the cache's; ``complain(text, now)`` gets what must be told."""

    def __init__(self, name: str, file: File, room: Room, complain: Callable[[str, float], None]) -> None:
        self._name = name
        self._env = file.env
        self._room = room
        self._complain = complain
        # LMDB's lock is one for threads, too, and lmdb waits for it with the interpreter's lock held.
        self._mutex = threading.Lock()

    def look(self, action: Callable[[Txn], T], failed: T) -> T:
        """A read transaction; ``failed`` is the answer when there is trouble. Does not wait."""
        for attempt in range(1, _TRIES + 1):
            try:
                with self._env.begin() as txn:
                    return action(txn)
            except lmdb.Error as error:
                if attempt == _TRIES or not self._mend(error):
                    self._tell(error)
                    break
        return failed

    def attempt(self, action: Callable[[Txn], T], failed: T) -> T:
        """A write transaction; ``failed`` is the answer when there is trouble."""
        try:
            return self.write(action)
        except CacheTrouble as error:
            self._complain(str(error), time.monotonic())
            return failed

    def write(self, action: Callable[[Txn], T]) -> T:
        """A write transaction, after those of others that are under way. Raises :class:`CacheTrouble`."""
        for attempt in range(1, _TRIES + 1):
            try:
                with self._mutex, self._env.begin(write=True) as txn:
                    return action(txn)
            except lmdb.Error as error:
                if attempt == _TRIES or not self._mend(error):
                    raise CacheTrouble(f"cache {self._name}: {error}") from error
        raise AssertionError("the last try returned or raised")

    def sync(self) -> None:
        """Write what the kernel holds to the disk. Waits for it."""
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            self._tell(error)

    def check_readers(self) -> int:
        """Take back the places of look-ups whose process is dead; how many."""
        try:
            return self._env.reader_check()
        except lmdb.Error as error:
            self._tell(error)
            return 0

    def _mend(self, error: lmdb.Error) -> bool:
        """What can be done about an error before trying again; whether that may help."""
        if isinstance(error, lmdb.MapResizedError):
            self._env.set_mapsize(0)
            return True
        if isinstance(error, (lmdb.MapFullError, lmdb.ReadersFullError)):
            self.check_readers()
            return isinstance(error, lmdb.ReadersFullError) or self._relieve()
        return False

    def _relieve(self) -> bool:
        """Have the policy make room in a transaction of its own: what one frees, only a later one can use."""
        try:
            with self._mutex, self._env.begin(write=True) as txn:
                return self._room.relieve(txn)
        except lmdb.Error:
            return False  # the error that led here is told

    def _tell(self, error: lmdb.Error) -> None:
        self._complain(f"cache {self._name}: {error}", time.monotonic())

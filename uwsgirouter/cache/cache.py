"""One named cache, as uWSGI means it: bytes to bytes, with an end of life, a bounded size and numbers to count with.

One idea: a look-up is one read of LMDB and never waits for anybody; everything else is one write transaction, and
writers wait for each other. What goes wrong at run time (a full disk, a damaged page) is a miss or a False, and a line
in the log once a second at most: a client must not feel it. May be used by several threads; not by forked children.
What is done about errors is in access.py, about a full cache in room.py, about runs of scripts in loading.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from struct import Struct

import lmdb

from uwsgirouter.cache.access import Access, CacheFull, CacheTrouble
from uwsgirouter.cache.base import NamedCache, quotient, wrapped
from uwsgirouter.cache.environment import File
from uwsgirouter.cache.item import HEADER, KEY_MOST, Item, handle_of, unpack_header
from uwsgirouter.cache.loading import Loading, pending, settle, undo
from uwsgirouter.cache.room import Room
from uwsgirouter.cache.shared import KEEPER, LOADER, Count
from uwsgirouter.cache.specs import CacheSpec
from uwsgirouter.cache.table import Txn
from uwsgirouter.log import Throttle

_NUMBER = Struct("<q")
_MODIFIED = b"modified"


class Cache(NamedCache):
    """``spec`` says what it takes. Keys and values are bytes, durations seconds, 0 for as long as the cache says."""

    def __init__(self, spec: CacheSpec, file: File, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self.spec = spec
        self._file = file
        self._env = file.env
        self._table = file.table
        self._shared = file.shared
        self._row = file.shared.row
        self._uses = file.shared.uses if spec.purge_lru else None
        throttle = Throttle(say, 1)
        self._room = Room(spec, file.table, file.shared, lambda text: throttle(text, time.monotonic()))
        self._access = Access(spec.name, file, self._room, throttle)
        self._clock = clock
        self._loading: Loading | None = None
        self._pending = 0

    # -- looking ----------------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The value, or None. Does not wait, does not raise."""
        try:
            txn = self._env.begin(self._table.items)
            record = txn.get(key if len(key) <= KEY_MOST else handle_of(key))
            txn.abort()
        except lmdb.Error:
            return self._look_again(key)
        if record is not None:
            ends, slot, run, length = unpack_header(record)
            if (not ends or ends > self._clock() * 1000) and not (run and self._loading and self._is_former(run)):
                self._row[Count.HITS] += 1
                if self._uses is not None:
                    self._uses[slot] = time.time_ns()
                return record[HEADER.size + length :]
        self._row[Count.MISSES] += 1
        return None

    def timed(self, key: bytes) -> tuple[bytes, float] | None:
        """As :meth:`get`, with the end of its life (seconds since 1970, 0: none)."""
        item = self._access.look(lambda txn: self._live(txn, handle_of(key)), None)
        self._row[Count.MISSES if item is None else Count.HITS] += 1
        self._use(item)
        return None if item is None else (item.value, item.ends / 1000)

    def exists(self, key: bytes) -> bool:
        """Whether there is a value; it does not count as a use."""
        return self._access.look(lambda txn: self._live(txn, handle_of(key)) is not None, False)

    def num(self, key: bytes) -> int:
        """The number that inc and its like count with; 0 for an item that is none, or is not there."""
        value = self.get(key)
        return _NUMBER.unpack(value)[0] if value is not None and len(value) == _NUMBER.size else 0

    def keys(self) -> list[bytes]:
        """Every key."""
        return self._access.look(lambda txn: [item.key for item in self._every(txn)], [])

    def items(self) -> list[tuple[bytes, bytes, float]]:
        """Every key with its value and its end of life (seconds since 1970, 0: none)."""
        return self._access.look(
            lambda txn: [(item.key, item.value, item.ends / 1000) for item in self._every(txn)], []
        )

    def stats(self) -> dict[str, object]:
        """What uWSGI's stats say of a cache; last_modified_at is 0 unless the cache keeps it."""
        spec, total = self.spec, self._shared.total
        items, used, mortal, modified = self._access.look(self._figures, (0, 0, 0, 0))
        return {
            "name": spec.name,
            "items": items,
            "max_items": spec.items,
            "used_blocks": used,
            "blocks": spec.blocks,
            "blocksize": spec.blocksize,
            "keysize": spec.keysize,
            "hits": total(Count.HITS),
            "miss": total(Count.MISSES),
            "full": total(Count.FULL),
            "expiring": mortal,
            "last_modified_at": modified // 1000,
            "store": spec.store,
        }

    # -- changing ---------------------------------------------------------------------------------------------------

    def set(self, key: bytes, value: bytes, expires: int = 0) -> bool:
        """Add an item; False when it is there already, too large, or there is no room for it."""
        return self._store(key, value, expires, replacing=False)

    def update(self, key: bytes, value: bytes, expires: int = 0) -> bool:
        """Add an item or replace it; False when it is too large or there is no room for it."""
        return self._store(key, value, expires, replacing=True)

    def delete(self, key: bytes) -> bool:
        """Whether there was such an item."""
        return self._access.attempt(lambda txn: self._remove(txn, handle_of(key)), False)

    def clear(self) -> bool:
        """Remove every item."""
        return self._access.attempt(self._clear, False)

    def inc(self, key: bytes, by: int = 1, expires: int = 0) -> bool:
        """Add to a number; one that is not there begins at math_initial. False for an item that is no number."""
        return self._calculate(key, lambda number: number + by, expires)

    def dec(self, key: bytes, by: int = 1, expires: int = 0) -> bool:
        """Subtract, as :meth:`inc` adds."""
        return self._calculate(key, lambda number: number - by, expires)

    def mul(self, key: bytes, by: int = 2, expires: int = 0) -> bool:
        """Multiply, as :meth:`inc` adds."""
        return self._calculate(key, lambda number: number * by, expires)

    def div(self, key: bytes, by: int = 2, expires: int = 0) -> bool:
        """Divide (towards zero; by zero it gives 0), as :meth:`inc` adds."""
        return self._calculate(key, lambda number: quotient(number, by), expires)

    def load(self, items: Iterable[tuple[bytes, bytes]], expires: int = 0, replacing_all: bool = False) -> int:
        """Add or replace many in one step, or none; how many. ``replacing_all``: nothing else stays.

        Raises :class:`CacheTrouble` (and :class:`CacheFull`).
        """
        every = list(items)
        if not all(self._takes(key, value) for key, value in every):
            raise CacheTrouble(f"a key or a value is empty, or too long for {self.spec.name}")
        if len(every) > self.spec.items:
            raise CacheFull(f"{len(every)} items are more than the {self.spec.items} that {self.spec.name} holds")

        def action(txn: Txn) -> int:
            if replacing_all:
                self._clear(txn)
            for number, (key, value) in enumerate(every):
                if not self._put(txn, key, value, self._ends(expires), replacing=True):
                    raise CacheFull(f"{self.spec.name} is full: {number} of {len(every)} items found room")
            return len(every)

        return self._access.write(action)

    # -- upkeep -----------------------------------------------------------------------------------------------------

    def sweep(self) -> int:
        """Remove items whose life is over, up to 1000 in one step; how many."""
        due = self._access.look(lambda txn: bool(self._table.ended(txn, self._now(), 1)), False)
        return self._access.attempt(lambda txn: self._room.sweep(txn, self._now()), 0) if due else 0

    def sync(self) -> None:
        """Write a store to the disk. Waits for it."""
        self._access.sync()

    def check_readers(self) -> int:
        """Take back the places of look-ups whose process is dead; how many."""
        return self._access.check_readers()

    # -- loading (see loading.py) -----------------------------------------------------------------------------------

    def begin_loading(self, joining: bool) -> None:
        """From now on this thread loads. Raises :class:`CacheTrouble`."""
        if not joining and self._shared.try_lock(LOADER):
            self._access.write(lambda txn: undo(self._table, txn))  # of a run whose process was killed
        self._loading = self._access.write(lambda txn: Loading(self._table, txn, joining))

    def end_loading(self, done: bool) -> None:
        """The run is over: it is pending now, or nothing of it stays."""
        loading, self._loading = self._loading, None
        self._table.journaling = False
        if loading is None or loading.joining:
            return
        if done:
            self._pending = loading.run
            self.settle()
        else:
            self._access.attempt(lambda txn: undo(self._table, txn), False)
            self._shared.unlock(LOADER)

    def settle(self) -> bool:
        """Settle this process's run, if no other process keeps the cache; False while one does.

        The keeper of the configuration that was in force lives until another one is.
        """
        if not self._pending:
            return True
        if not self._shared.try_lock(KEEPER):
            return False
        self._access.attempt(lambda txn: settle(self._table, txn, self._pending), None)
        self._pending = 0
        self._shared.unlock(LOADER)
        return True

    def recover(self) -> bool:
        """Undo a run that is pending and whose process is gone (a reload that failed); whether there was one."""
        if (
            self._pending
            or not self._access.look(lambda txn: pending(self._table, txn), 0)
            or not self._shared.try_lock(LOADER)
        ):
            return False
        undone = self._access.attempt(lambda txn: undo(self._table, txn), False)
        self._shared.unlock(LOADER)
        return undone

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _ends(self, expires: int) -> int:
        """The end of a life that begins now; a negative duration is none, as in uWSGI (there it is a huge one)."""
        seconds = expires or self.spec.expires
        return self._now() + seconds * 1000 if seconds > 0 else 0

    def _is_former(self, run: int) -> bool:
        """Whether an item of that run is not there for this thread, because it is loading."""
        loading = self._loading
        return loading is not None and loading.is_former(run) and loading.is_own()

    def _is_live(self, item: Item, now: int) -> bool:
        return (not item.ends or item.ends > now) and not self._is_former(item.run)

    def _live(self, txn: Txn, handle: bytes) -> Item | None:
        item = self._table.find(txn, handle)
        return item if item is not None and self._is_live(item, self._now()) else None

    def _every(self, txn: Txn) -> Iterator[Item]:
        now = self._now()
        return (item for item in self._table.all(txn) if self._is_live(item, now))

    def _figures(self, txn: Txn) -> tuple[int, int, int, int]:
        table = self._table
        return table.count(txn), table.used(txn), table.mortal(txn), table.number(txn, _MODIFIED)

    def _store(self, key: bytes, value: bytes, expires: int, replacing: bool) -> bool:
        if not self._takes(key, value):
            return False
        return self._access.attempt(lambda txn: self._put(txn, key, value, self._ends(expires), replacing), False)

    def _takes(self, key: bytes, value: bytes) -> bool:
        return 0 < len(key) <= self.spec.keysize and 0 < len(value) <= self.spec.value_most

    def _calculate(self, key: bytes, step: Callable[[int], int], expires: int) -> bool:
        def action(txn: Txn) -> bool:
            old = self._live(txn, handle_of(key))
            if old is not None and len(old.value) != _NUMBER.size:
                return False
            number = self.spec.math_initial if old is None else _NUMBER.unpack(old.value)[0]
            ends = self._ends(expires) if old is None else old.ends
            return self._put(txn, key, _NUMBER.pack(wrapped(step(number))), ends, replacing=True)

        return self._takes(key, bytes(_NUMBER.size)) and self._access.attempt(action, False)

    def _put(self, txn: Txn, key: bytes, value: bytes, ends: int, replacing: bool) -> bool:
        table, now, handle = self._table, self._now(), handle_of(key)
        old = table.find(txn, handle)
        if old is not None and not replacing and self._is_live(old, now):
            return False
        loading = self._loading if self._loading is not None and self._loading.is_own() else None
        # Whatever makes room may take the old item away, and then the need is another one.
        while not table.fits(txn, *(need := self._need(value, old))):
            self._use(old)
            if not (loading is not None and loading.give_way(table, txn)) and not self._room.make(txn, *need, now):
                return False
            old = table.find(txn, handle)
        item = Item(ends, 0, 0 if loading is None else loading.run, key, value)
        item = table.insert(txn, handle, item) if old is None else table.replace(txn, handle, old, item)
        self._use(item)
        self._touch(txn)
        return True

    def _need(self, value: bytes, old: Item | None) -> tuple[int, int]:
        """Items and blocks more than there are now."""
        table = self._table
        return (1, table.blocks(value)) if old is None else (0, table.blocks(value) - table.blocks(old.value))

    def _use(self, item: Item | None) -> None:
        """It is the most recently used one now."""
        if self._uses is not None and item is not None:
            self._uses[item.slot] = time.time_ns()

    def _remove(self, txn: Txn, handle: bytes) -> bool:
        item = self._table.find(txn, handle)
        if item is None:
            return False
        live = self._is_live(item, self._now())
        if live or not self._loading:
            self._table.remove(txn, handle, item)
            self._touch(txn)
        return live

    def _clear(self, txn: Txn) -> bool:
        self._table.clear(txn)
        self._touch(txn)
        return True

    def _touch(self, txn: Txn) -> None:
        if self.spec.lastmod:
            self._table.set_number(txn, _MODIFIED, self._now())

    def _look_again(self, key: bytes) -> bytes | None:
        """The slow way, with another try; an empty key comes here too."""
        item = self._access.look(lambda txn: self._live(txn, handle_of(key)), None)
        self._row[Count.MISSES if item is None else Count.HITS] += 1
        return None if item is None else item.value

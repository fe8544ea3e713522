"""The trees of one cache's file, and what keeps them true to each other inside a write transaction.

One idea: an item has a slot, a small number that is its place in memory that is not LMDB's (when it was last used), so
slots are given out, taken back and used again here. Trees: items (handle to record), slots (slot to handle), free
(slots to use again), ends (end of life and slot to handle, in the order of time), undo (handle to the record that it
had before a run of scripts, empty for none), meta. It knows no policy and no clock. Invariants: every item has one slot
and every slot in use one item; ``used`` is the sum of the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TypeAlias

import lmdb

from uwsgirouter.cache.item import Item, decode, encode
from uwsgirouter.cache.specs import CacheSpec

Txn: TypeAlias = "lmdb.Transaction[bytes]"

_SLOT = Struct("=I")
_END = Struct(">QI")
_NUMBER = Struct("<q")
_TREES = {b"items": False, b"slots": True, b"free": True, b"ends": False, b"undo": False, b"meta": False}
"""Name to whether the keys are numbers."""
TREES = len(_TREES)


class Table:
    """The trees. While ``journaling``, the record that a handle had at first goes to the tree for undoing."""

    def __init__(self, env: lmdb.Environment, spec: CacheSpec) -> None:
        self.items, self._slots, self._free, self._ends, self._undo, self._meta = _opened(env)
        self.journaling = False
        self._spec = spec

    # -- reading ----------------------------------------------------------------------------------------------------

    def find(self, txn: Txn, handle: bytes) -> Item | None:
        """The item, whether its life is over or not. An empty handle is nobody's."""
        record = txn.get(handle, db=self.items) if handle else None
        return None if record is None else decode(handle, record)

    def all(self, txn: Txn) -> Iterator[Item]:
        """Every item, by its handle."""
        for handle, record in txn.cursor(db=self.items):
            yield decode(handle, record)

    def count(self, txn: Txn) -> int:
        """How many items there are."""
        return txn.stat(self.items)["entries"]

    def mortal(self, txn: Txn) -> int:
        """How many items have an end."""
        return txn.stat(self._ends)["entries"]

    def slots(self, txn: Txn) -> Iterator[int]:
        """The slots in use."""
        for key in txn.cursor(db=self._slots).iternext(keys=True, values=False):
            yield _SLOT.unpack(key)[0]

    def at_slot(self, txn: Txn, slot: int) -> bytes | None:
        """The handle of the item in a slot."""
        return txn.get(_SLOT.pack(slot), db=self._slots)

    def ended(self, txn: Txn, now: int, most: int) -> list[bytes]:
        """The handles of at most so many items whose life is over, the earliest first. ``now`` in ms."""
        found: list[bytes] = []
        for key, handle in txn.cursor(db=self._ends):
            if _END.unpack(key)[0] > now or len(found) == most:
                break
            found.append(handle)
        return found

    def number(self, txn: Txn, name: bytes) -> int:
        """A number of meta, 0 when it was never written."""
        text = txn.get(name, db=self._meta)
        return 0 if text is None else int(_NUMBER.unpack(text)[0])

    def text(self, txn: Txn, name: bytes) -> str:
        """A text of meta."""
        return (txn.get(name, db=self._meta) or b"").decode()

    def used(self, txn: Txn) -> int:
        """Blocks in use: one an item, unless it may have several."""
        return self.number(txn, b"used") if self._spec.bitmap else self.count(txn)

    def blocks(self, value: bytes) -> int:
        """Blocks that a value takes."""
        return -(-len(value) // self._spec.blocksize) if self._spec.bitmap else 1

    def fits(self, txn: Txn, items: int, blocks: int) -> bool:
        """Whether there is room for so many more."""
        spec = self._spec
        if items and self.count(txn) + items > spec.items:
            return False
        return not spec.bitmap or blocks <= 0 or self.used(txn) + blocks <= spec.blocks

    # -- writing ----------------------------------------------------------------------------------------------------

    def set_number(self, txn: Txn, name: bytes, value: int) -> None:
        """Write a number of meta."""
        txn.put(name, _NUMBER.pack(value), db=self._meta)

    def set_text(self, txn: Txn, name: bytes, text: str) -> None:
        """Write a text of meta."""
        txn.put(name, text.encode(), db=self._meta)

    def insert(self, txn: Txn, handle: bytes, item: Item) -> Item:
        """Add an item that is not there; it gets a slot of its own."""
        self._note(txn, handle)
        item = item._replace(slot=self._take_slot(txn))
        txn.put(handle, encode(item), db=self.items)
        txn.put(_SLOT.pack(item.slot), handle, db=self._slots)
        if item.ends:
            txn.put(_END.pack(item.ends, item.slot), handle, db=self._ends)
        self._account(txn, self.blocks(item.value))
        return item

    def replace(self, txn: Txn, handle: bytes, old: Item, item: Item) -> Item:
        """Put an item into the place of ``old``, which has the same handle."""
        self._note(txn, handle)
        item = item._replace(slot=old.slot)
        txn.put(handle, encode(item), db=self.items)
        if old.ends != item.ends:
            if old.ends:
                txn.delete(_END.pack(old.ends, old.slot), db=self._ends)
            if item.ends:
                txn.put(_END.pack(item.ends, item.slot), handle, db=self._ends)
        self._account(txn, self.blocks(item.value) - self.blocks(old.value))
        return item

    def remove(self, txn: Txn, handle: bytes, item: Item) -> None:
        """Take an item out."""
        self._note(txn, handle)
        slot = _SLOT.pack(item.slot)
        txn.delete(handle, db=self.items)
        txn.delete(slot, db=self._slots)
        txn.put(slot, b"", db=self._free)
        if item.ends:
            txn.delete(_END.pack(item.ends, item.slot), db=self._ends)
        self._account(txn, -self.blocks(item.value))

    def clear(self, txn: Txn) -> None:
        """Take every item out."""
        if self.journaling:
            for handle, record in txn.cursor(db=self.items):
                txn.put(handle, record, overwrite=False, db=self._undo)
        for tree in (self.items, self._slots, self._free, self._ends):
            txn.drop(tree, delete=False)
        if self._spec.bitmap:
            self.set_number(txn, b"used", 0)

    def journal(self, txn: Txn) -> list[tuple[bytes, Item | None]]:
        """Each handle that was changed while journaling, with what it was."""
        return [(handle, decode(handle, record) if record else None) for handle, record in txn.cursor(db=self._undo)]

    def forget_journal(self, txn: Txn) -> None:
        """What was changed stays as it is."""
        txn.drop(self._undo, delete=False)

    def _take_slot(self, txn: Txn) -> int:
        """The one freed last, else the first one that never was used: both trees together hold those that were."""
        cursor = txn.cursor(db=self._free)
        if not cursor.last():
            return txn.stat(self._slots)["entries"]
        (slot,) = _SLOT.unpack(cursor.key())
        cursor.delete()
        return int(slot)

    def _account(self, txn: Txn, blocks: int) -> None:
        if self._spec.bitmap and blocks:
            self.set_number(txn, b"used", self.number(txn, b"used") + blocks)

    def _note(self, txn: Txn, handle: bytes) -> None:
        if self.journaling:
            txn.put(handle, txn.get(handle, b"", db=self.items), overwrite=False, db=self._undo)


def _opened(env: lmdb.Environment) -> list[lmdb._Database]:
    """The trees; made if they are not there. It waits for who writes just then: lmdb lets no reader open a tree."""
    with env.begin(write=True) as txn:
        return [env.open_db(name, txn, integerkey=number) for name, number in _TREES.items()]

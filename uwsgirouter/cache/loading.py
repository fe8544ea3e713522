"""A run of scripts over the caches: what it sets replaces what the run before it set, as a whole or not at all.

One idea: items live on over a reload, but the configuration and its scripts must count as they are now. So an item that
was set while scripts are loaded carries the number of the run. To the next run the items of former runs are not there
(it sets them anew), for everybody else they are; when the run is done, those it did not set again go; when it fails,
all is put back. What was set at any other time belongs to no run, and stays.

Only the thread that loads has this view: a thread that a script started sets items like anybody else.
"""

from __future__ import annotations

import threading

from uwsgirouter.cache.item import Item, decode, handle_of
from uwsgirouter.cache.table import Table, Txn

TRIED = b"tried"
DONE = b"run"
_FIRST = 1
"""The run of those who join before there was any."""


class Loading:
    """One run over one cache. ``joining``: it adds to the last run that was done, and replaces nothing at its end.

    Runs are counted as they begin, so that what a run left behind that was killed is older than the next one.
    """

    def __init__(self, table: Table, txn: Txn, joining: bool) -> None:
        self.thread = threading.get_ident()
        self.joining = joining
        self._former: list[bytes] | None = None
        if joining:
            self.run = table.number(txn, DONE) or _FIRST
            return
        self.run = max(table.number(txn, TRIED), _FIRST) + 1
        table.set_number(txn, TRIED, self.run)
        table.journal = {}

    def is_own(self) -> bool:
        """Whether the thread that asks is the one that loads."""
        return threading.get_ident() == self.thread

    def is_former(self, item: Item) -> bool:
        """Whether a run before this one set the item."""
        return 0 < item.run < self.run

    def give_way(self, table: Table, txn: Txn) -> bool:
        """In a full cache a former item goes before the run is done; whether there was one."""
        if self._former is None:
            self._former = [handle_of(item.key) for item in table.all(txn) if self.is_former(item)]
        while self._former:
            handle = self._former.pop()
            item = table.find(txn, handle)
            if item is not None and self.is_former(item):
                table.remove(txn, handle, item)
                return True
        return False

    def finish(self, table: Table, txn: Txn) -> None:
        """The run is done: what it did not set again goes."""
        table.journal = None
        if self.joining:
            return
        table.set_number(txn, DONE, self.run)
        for item in [item for item in table.all(txn) if self.is_former(item)]:
            table.remove(txn, handle_of(item.key), item)

    def undo(self, table: Table, txn: Txn) -> None:
        """The run failed: what it changed becomes what it was, unless somebody else has changed it since."""
        journal, table.journal = table.journal or {}, None
        for handle in journal:
            now = table.find(txn, handle)
            if now is not None and now.run == self.run:
                table.remove(txn, handle, now)
        for handle, record in journal.items():
            if record is not None and table.find(txn, handle) is None:
                item = decode(handle, record)
                if table.fits(txn, 1, table.blocks(item.value)):
                    table.insert(txn, handle, item)

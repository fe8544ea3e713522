"""A run of scripts over the caches: what it sets replaces what the run before it set, as a whole or not at all.

One idea: items live on over a reload, but the configuration and its scripts must count as they are now. So an item that
was set while scripts are loaded carries the number of the run. To the next run the items of former runs are not there
(it sets them anew), for everybody else they are. A run that was loaded is *pending* until its configuration is in
force: then what it did not set again goes; until then all that it changed can be put back, by whoever finds that its
process is gone, since what was before stands in the file. What was set at any other time belongs to no run, and stays.

Only the thread that loads has this view: a thread that a script started sets items like anybody else.
"""

from __future__ import annotations

import threading

from uwsgirouter.cache.item import handle_of
from uwsgirouter.cache.table import Table, Txn

_TRIED = b"tried"
_DONE = b"run"
_PENDING = b"pending"
_FIRST = 1
"""The run of those who join before there was any."""


class Loading:
    """One run over one cache. ``joining``: it adds to the run of another process, and ends nothing.

    Runs are counted as they begin, so that what one left behind that was killed is older than the next one.
    """

    def __init__(self, table: Table, txn: Txn, joining: bool) -> None:
        self.joining = joining
        self._thread = threading.get_ident()
        self._former: list[bytes] | None = None
        if joining:
            self.run = pending(table, txn) or table.number(txn, _DONE) or _FIRST
        else:
            self.run = max(table.number(txn, _TRIED), _FIRST) + 1
            table.set_number(txn, _TRIED, self.run)
            table.set_number(txn, _PENDING, self.run)
        table.journaling = pending(table, txn) != 0

    def is_own(self) -> bool:
        """Whether the thread that asks is the one that loads."""
        return threading.get_ident() == self._thread

    def is_former(self, run: int) -> bool:
        """Whether an item of that run was set by a run before this one."""
        return 0 < run < self.run

    def give_way(self, table: Table, txn: Txn) -> bool:
        """In a full cache a former item goes before the run is settled; whether there was one."""
        if self._former is None:
            self._former = [handle_of(item.key) for item in table.all(txn) if self.is_former(item.run)]
        while self._former:
            handle = self._former.pop()
            item = table.find(txn, handle)
            if item is not None and self.is_former(item.run):
                table.remove(txn, handle, item)
                return True
        return False


def pending(table: Table, txn: Txn) -> int:
    """The run that is not settled, 0 when there is none."""
    return table.number(txn, _PENDING)


def settle(table: Table, txn: Txn, run: int) -> None:
    """The run's configuration is in force: what it did not set again goes."""
    if pending(table, txn) != run:
        return  # another run began meanwhile, and settles both
    for item in [item for item in table.all(txn) if 0 < item.run < run]:
        table.remove(txn, handle_of(item.key), item)
    table.set_number(txn, _DONE, run)
    _end(table, txn)


def undo(table: Table, txn: Txn) -> bool:
    """Whatever is pending failed: what it changed becomes what it was, unless somebody else has changed it since."""
    run = pending(table, txn)
    if not run:
        return False
    table.journaling = False
    before = table.journal(txn)
    for handle, _ in before:
        now = table.find(txn, handle)
        if now is not None and now.run == run:
            table.remove(txn, handle, now)
    for handle, item in before:
        if item is not None and table.find(txn, handle) is None and table.fits(txn, 1, table.blocks(item.value)):
            table.insert(txn, handle, item)
    _end(table, txn)
    return True


def _end(table: Table, txn: Txn) -> None:
    table.set_number(txn, _PENDING, 0)
    table.forget_journal(txn)

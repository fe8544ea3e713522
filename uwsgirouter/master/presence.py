"""What the service manager and ``ps`` are shown of the router.

One idea: whether it is ready, and what it has, is said in one place for all who ask from outside without a word to the
master. It decides nothing. Invariant: the manager is told that the router is ready only while nothing is under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from setproctitle import setproctitle

from uwsgirouter import __version__
from uwsgirouter.master.fleet import Life
from uwsgirouter.model.counters import Counter
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.master.supervisor import Supervisor


class Presence:
    """Of ``master``, by way of its notifier."""

    def __init__(self, master: Supervisor) -> None:
        self._master = master

    def look(self, now: float) -> None:
        """Each pass of the loop."""
        master, told = self._master, self._master.notifier
        told.look(now)
        if master.is_stopping or master.reload.incoming is not None or master.upgrade.is_pending:
            return
        current = master.reload.current
        if told.is_reloading or (not told.is_ready and master.fleet.ready(current.index, current.target)):
            told.ready(self.describe())

    def tick(self) -> None:
        """Once a second."""
        if not self._master.is_stopping:
            self._master.notifier.tick(self.describe())

    def describe(self) -> str:
        """One line for people who look at the service."""
        master = self._master
        serving = sum(member.life is Life.SERVING for member in master.fleet.members.values())
        sessions = master.counters.total(Counter.SESSIONS, master.fleet.rows())
        others = len(master.fleet.members) - serving
        leaving = f" ({others} more come or go)" if others else ""
        return (
            f"version {__version__}: {serving} workers{leaving}, {len(master.table.nodes)} nodes, {sessions} sessions"
        )


def show(settings: Settings) -> None:
    """What ``ps`` says of the master."""
    setproctitle(f"uwsgirouter: master [{settings.source or 'command line'}]")

"""What each signal asks of the master, and the words in which it is told.

One idea: signals are an interface for people, so what they mean stands in one place (docs/signals.md is its page); how
it is done is the supervisor's to know. USR1's report of what the router knows is made here as well. Nothing here waits,
and it is called at the loop's own time.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from uwsgirouter.master.crew import FAST_STOP
from uwsgirouter.master.fleet import Life
from uwsgirouter.master.log_rotation import reopen
from uwsgirouter.master.report import describe

if TYPE_CHECKING:
    from uwsgirouter.master.supervisor import Supervisor


class SignalOrders:
    """The orders to ``master``."""

    def __init__(self, master: Supervisor) -> None:
        self._master = master

    def by_number(self) -> dict[int, Callable[[], None]]:
        """What to call for each signal."""
        return {
            signal.SIGHUP: self._reload,
            signal.SIGTERM: self._stop_gracefully,
            signal.SIGQUIT: self._stop_gracefully,
            signal.SIGINT: self._stop_fast,
            signal.SIGUSR1: self._reopen_and_report,
            signal.SIGUSR2: self._upgrade,
            signal.SIGTTIN: lambda: self._master.resize(+1),
            signal.SIGTTOU: lambda: self._master.resize(-1),
            signal.SIGWINCH: self._master.rest,
        }

    def _reload(self) -> None:
        self._master.log.say("SIGHUP: reloading")
        self._master.notifier.reloading()
        self._master.begin_reload(time.monotonic())

    def _stop_gracefully(self) -> None:
        mercy = self._master.settings.seconds("reload-mercy")
        if not self._master.is_stopping:
            self._master.log.say(f"stopping: sessions have {mercy:g} seconds to finish")
            self._master.stop(mercy, Life.DRAINING, "drain", True)

    def _stop_fast(self) -> None:
        self._master.log.say("SIGINT: stopping at once")
        self._master.stop(FAST_STOP, Life.STOPPING, "stop")

    def _upgrade(self) -> None:
        self._master.notifier.reloading()
        self._master.upgrade.ask()

    def _reopen_and_report(self) -> None:
        master = self._master
        reopen(master, "SIGUSR1")
        rejects, dropped = master.registrar.describe_rejects(), master.looking.lines_dropped()
        master.log.say(describe(master.counters, master.table, master.fleet.rows(), rejects, dropped))
        passed_on = master.registrar.describe_passed()
        if passed_on:
            master.log.say(passed_on)

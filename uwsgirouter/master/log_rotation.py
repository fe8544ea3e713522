"""The error log: opening it again, and beginning another one when it is large (``log-maxsize``).

One idea: all processes write to one descriptor's file, so whoever renames it must give everybody the new one; that is
the master, for the operator (USR1) and by itself. It must not know what is written. Nothing here waits.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from uwsgirouter.errors import BootError
from uwsgirouter.master import process
from uwsgirouter.master.log_writers import unused

if TYPE_CHECKING:
    from uwsgirouter.master.supervisor import Supervisor

_DESCRIPTOR = 2


def reopen(master: Supervisor, why: str) -> None:
    """Every process writes to a log of the same name from now on, and the logger to files of the same names."""
    path = process.log_path(master.settings)
    if not path:
        master.attendants.reopen_log(is_new=False)  # the logger has files of its own
        return
    try:
        process.redirect_log(process.open_log(path))
    except BootError as error:
        master.log.say(f"{why}: {error}; the old log stays")
        return
    master.crew.reopen_log()
    master.attendants.reopen_log()
    master.log.say(f"{why}: log reopened")


class Rotation:
    """The error log of ``master``, looked at once a second."""

    def __init__(self, master: Supervisor) -> None:
        self._master = master
        self._next = 0
        """The size at which it is tried again, after a renaming that failed."""

    def tick(self) -> None:
        """Rename it when it is larger than log-maxsize, and begin another."""
        settings = self._master.settings
        most, path = settings.number("log-maxsize"), process.log_path(settings)
        if not most or not path:
            return
        status = os.fstat(_DESCRIPTOR)
        if not stat.S_ISREG(status.st_mode) or status.st_size <= max(most, self._next):
            return
        backup = settings.text("log-backupname") or unused(f"{path}.{int(time.time())}")
        try:
            if os.path.samestat(os.stat(path), status):
                os.rename(path, backup)
        except OSError as error:
            self._next = status.st_size + most
            self._master.log.say(f"cannot rename the log {path} to {backup}: {error.strerror}")
            return
        self._next = 0
        reopen(self._master, f"the log has {status.st_size} bytes and is {backup} now")

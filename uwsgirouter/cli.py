"""The ``uwsgirouter`` command: arguments to settings to the master.

The only place of the daemon that prints for people and calls ``sys.exit``. Exit status: 0 done, 1 a fault of the
configuration or of the machine, 2 a command line that cannot be understood. The master is imported only to run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from uwsgirouter import __version__, compiled
from uwsgirouter.errors import BadHandover, BootError, ConfigError, ConfigErrors, RouterError
from uwsgirouter.local.requirements import means_for
from uwsgirouter.protocol.handover import HANDOVER, TRIAL
from uwsgirouter.rules.loading import load_rules
from uwsgirouter.settings import report
from uwsgirouter.settings.application import is_served
from uwsgirouter.settings.arguments import UsageError
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings

FAULT = 1
MISUSE = 2


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command. ``argv`` is without the program's name."""
    try:
        sys.exit(_command(sys.argv[1:] if argv is None else argv))
    except UsageError as error:
        _complain(error)
        print("uwsgirouter: see uwsgirouter --help", file=sys.stderr)
        sys.exit(MISUSE)
    except (ConfigError, BootError, BadHandover) as error:
        _complain(error)
        sys.exit(FAULT)


def _command(argv: Sequence[str]) -> int:
    if TRIAL in os.environ:
        from uwsgirouter.master.trial import attempt

        return attempt(argv, os.environ.pop(TRIAL))
    if HANDOVER in os.environ:
        from uwsgirouter.master.run import succeed

        return succeed(argv, os.environ.pop(HANDOVER))
    source = Source.of_process(argv)
    if "help" in source.commands:
        print(report.help_text(), end="")
        return 0
    if "version" in source.commands:
        print(f"uwsgirouter {__version__} ({compiled.describe()})")
        return 0
    settings = source.load()
    if "check" in source.commands:
        _warn(settings)
        if is_served(settings):
            means_for(settings)
        rules = load_rules(settings, lambda text: print(f"uwsgirouter: warning: {text}", file=sys.stderr))
        for line in rules.describe() if rules else ():
            print(line)
        print(report.check_text(settings, source.inherits_sockets), end="")
        return 0
    if "show-config" in source.commands:
        _warn(settings)
        print(report.show_config(settings), end="")
        return 0
    from uwsgirouter.master.run import run

    return run(source, settings)


def _warn(settings: Settings) -> None:
    """The notices, where no log will carry them."""
    for notice in settings.notices:
        print(f"uwsgirouter: warning: {notice}", file=sys.stderr)


def _complain(error: RouterError) -> None:
    for one in error.errors if isinstance(error, ConfigErrors) else [error]:
        print(f"uwsgirouter: error: {one}", file=sys.stderr)

"""From settings to a running master: the start-up steps in their order, and the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from uwsgirouter import __version__, compiled
from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import process
from uwsgirouter.master.handover import read_handover
from uwsgirouter.master.succession import settings_in_force
from uwsgirouter.master.supervisor import Supervisor
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings

CANNOT_START = 1
"""Exit status when an address, a user or a file that start-up needs is not to be had."""


def run(source: Source, settings: Settings) -> int:
    """Run the router by ``settings`` until it is stopped; ``source`` is read again at each reload."""
    log = Log("uwsgirouter")
    try:
        supervisor = _prepare(source, settings, log)
    except BootError as error:
        log.say(str(error))
        return CANNOT_START
    return supervisor.run()


def succeed(argv: Sequence[str], word: str) -> int:
    """Go on where another version of this program was in this process; ``word`` is what it left (master/handover.py).

    Returns the exit status. Raises ConfigError, BadHandover and BootError for what the trial would have refused.
    """
    log = Log("uwsgirouter")
    left = read_handover(int(word))
    told = left["source"]
    source = Source(argv, cwd=told["cwd"], stdin=told["stdin"] or sys.stdin.read, started=told["started"])
    settings = settings_in_force(left["settings"])
    process.set_environment(settings.texts("env"))
    _return_to(left["directory"], log)
    version = left["program"]
    log.line(
        f"*** uwsgirouter {__version__} (pid: {os.getpid()}, {compiled.describe()}) goes on where {version} was ***"
    )
    supervisor = Supervisor(source, settings, log, left)
    supervisor.succeed(left)
    return supervisor.run()


def _return_to(directory: int, log: Log) -> None:
    try:
        os.fchdir(directory)
    except OSError as error:
        log.say(f"cannot return to the working directory: {error.strerror}")
    os.close(directory)


def _prepare(source: Source, settings: Settings, log: Log) -> Supervisor:
    """What needs rights comes first, then the rights go."""
    process.set_environment(settings.texts("env"))
    process.enter_directory(settings.text("chdir"))
    process.limit_descriptors(settings.optional_number("max-fd"))
    if settings.text("daemonize"):
        process.daemonize(settings.text("daemonize"))
    elif settings.text("logto"):
        process.redirect_log(process.open_log(settings.text("logto")))
    log.line(f"*** Starting uwsgirouter {__version__} (pid: {os.getpid()}, {compiled.describe()}) ***")
    user, group = settings.optional_number("uid"), settings.optional_number("gid")
    process.own_log(settings, user, group)
    supervisor = Supervisor(source, settings, log)
    process.write_pid_file(settings.text("pidfile"))
    process.drop_privileges(user, group)
    supervisor.boot()
    return supervisor

"""From settings to a running master: the start-up steps in their order, and the exit status."""

from __future__ import annotations

import os

from uwsgirouter import __version__, compiled
from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import process
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

"""The local instance as a duty: which program, with which sockets and which environment.

One idea: gunicorn runs as a program of its own (exec), so that the application shares nothing with the master but the
listening sockets. Those are passed in systemd's way, from descriptor 3 on. What it serves is in local/.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from uwsgirouter.local.blueprint import Blueprint, Mounted
from uwsgirouter.local.launch import command
from uwsgirouter.local.requirements import means_for
from uwsgirouter.log import printable
from uwsgirouter.master import process
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.line import FIRST_PASSED, Line, execute
from uwsgirouter.master.sockets import Endpoints
from uwsgirouter.protocol.messages import Message
from uwsgirouter.settings import application
from uwsgirouter.settings.settings import Settings

NAME = "local instance"
READY_WITHIN = 300.0
"""Seconds that a heavy application has to be loaded."""
SLACK = 5.0
"""Seconds that gunicorn gets beside those of its requests."""

_FOREIGN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "GUNICORN_PID", "GUNICORN_FD", "SCRIPT_NAME")
"""Variables that speak of the router itself, or that gunicorn would take for orders."""


def local_instance(settings: Settings, endpoints: Endpoints, reload: Callable[[str], None]) -> Duty:
    """The duty; ``reload(reason)`` is called when the application asks for one. Raises BootError."""
    means = means_for(settings)
    seen: dict[str, object] = {}

    def body(line: Line) -> int:
        passed = [bound.sock.fileno() for bound in endpoints.application]
        blueprint = _blueprint(settings, means.gunicorn, FIRST_PASSED + len(passed))
        execute(command(means.python, blueprint), _environment(settings, len(passed)), [*passed, line.fileno()])

    def hear(message: Message) -> None:
        if message[0] != "changed" or len(message) != 3:
            return
        path = printable(str(message[1]).encode("utf-8", "replace"))
        if seen.get(path) != message[2]:  # each of its processes tells
            seen[path] = message[2]
            reload(f"{path} changed")

    mercy = settings.seconds("reload-mercy") + SLACK
    sockets = tuple(endpoints.application)
    return Duty(NAME, body, hear, program=True, sockets=sockets, ready_within=READY_WITHIN, mercy=mercy, rests=True)


def _environment(settings: Settings, sockets: int) -> dict[str, str]:
    """Ours, with ``env`` as it is configured now."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    for variable in settings.texts("env"):
        name, _, value = variable.partition("=")
        environment[name] = value
    environment.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(sockets))
    return environment


def _blueprint(settings: Settings, found: str, line: int) -> Blueprint:
    apps = application.apps(settings)
    return Blueprint(
        apps=tuple(Mounted(app.mount, app.target, app.is_file, app.callable) for app in apps),
        manage_script_name=settings.flag("manage-script-name"),
        processes=settings.number("processes"),
        threads=settings.number("threads"),
        greenlets=settings.optional_number("gevent") or 0,
        lazy=settings.flag("lazy-apps"),
        harakiri=settings.optional_number("harakiri") or 0,
        max_requests=settings.optional_number("max-requests") or 0,
        autoreload=settings.number("py-autoreload"),
        pythonpath=settings.texts("pythonpath"),
        mercy=max(1, round(settings.seconds("reload-mercy"))),
        log=process.log_path(settings),
        line=line,
        found=found,
    )

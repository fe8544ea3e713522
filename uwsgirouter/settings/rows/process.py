"""Options of the processes: users, files, the environment."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

ROWS = (
    Option(
        "uid",
        "process",
        Type.USER,
        "run as this user once the sockets are bound",
        reloadable=False,
    ),
    Option(
        "gid",
        "process",
        Type.GROUP,
        "run as this group once the sockets are bound",
        reloadable=False,
    ),
    Option(
        "pidfile",
        "process",
        Type.PATH,
        "write the master's process id to this file",
        aliases=("safe-pidfile",),
    ),
    Option(
        "vacuum",
        "process",
        Type.BOOL,
        "remove the unix sockets and the pidfile at the end",
        default="false",
    ),
    Option(
        "chdir",
        "process",
        Type.PATH,
        "change to this directory after the sockets are bound",
    ),
    Option(
        "daemonize",
        "process",
        Type.PATH,
        "go to the background and log to this file",
        aliases=("-d",),
    ),
    Option(
        "logto",
        "process",
        Type.PATH,
        "log to this file instead of standard error; USR1 opens it again",
    ),
    Option(
        "max-fd",
        "process",
        Type.INT,
        "limit of open files of each process; it bounds the number of sessions",
        low=64,
        high=1 << 20,
    ),
    Option(
        "touch-reload",
        "process",
        Type.PATH,
        "reload when this file changes",
        repeatable=True,
    ),
    Option(
        "reload-mercy",
        "process",
        Type.SECONDS,
        "how long sessions may go on after a reload or a graceful stop; what is left then is cut",
        unit="seconds",
        low=0,
        default="60",
    ),
    Option(
        "upgrade-timeout",
        "process",
        Type.SECONDS,
        "how long the installed version may take to show, after USR2, that it can take over",
        unit="seconds",
        low=1,
        default="60",
    ),
    Option(
        "env",
        "process",
        Type.VARIABLE,
        "set an environment variable in the router's processes",
        repeatable=True,
    ),
)

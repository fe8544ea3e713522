"""Options of the local instance: an application beside the router, on the same socket."""

from __future__ import annotations

from uwsgirouter.settings.option import Option, Type

_CALLABLE = "an application or, with () behind the name, a function that makes one"

ROWS = (
    Option(
        "socket",
        "application",
        Type.LISTEN,
        "the local application accepts here (=0 is the first shared-socket); without an application nothing is bound, "
        "and the address is only what fastrouter-use-socket connects to",
        aliases=("uwsgi-socket", "-s"),
        repeatable=True,
    ),
    Option(
        "wsgi-file",
        "application",
        Type.PATH,
        "run the WSGI application in this file beside the router, on the sockets of the socket option (it takes "
        "gunicorn: the extra app)",
    ),
    Option(
        "module",
        "application",
        Type.TEXT,
        "run the WSGI application of this module (module or module:callable) beside the router",
        aliases=("wsgi", "-w"),
    ),
    Option(
        "callable",
        "application",
        Type.TEXT,
        f"the name in the file or module: {_CALLABLE}",
        default="application",
    ),
    Option(
        "mount",
        "application",
        Type.TEXT,
        "run an application under a path: /PATH=FILE or /PATH=MODULE:CALLABLE; without manage-script-name it gets the "
        "requests whose SCRIPT_NAME is the path",
        repeatable=True,
    ),
    Option(
        "manage-script-name",
        "application",
        Type.BOOL,
        "take the path of a mount out of PATH_INFO and put it into SCRIPT_NAME",
        default="false",
    ),
    Option(
        "processes",
        "application",
        Type.INT,
        "processes of the local application",
        aliases=("workers", "-p"),
        low=1,
        high=1024,
        default="1",
    ),
    Option(
        "threads",
        "application",
        Type.INT,
        "threads of each of its processes",
        low=1,
        high=10000,
        default="1",
    ),
    Option(
        "lazy-apps",
        "application",
        Type.BOOL,
        "load the application in each of its processes, instead of once before they are forked",
        aliases=("lazy",),
        default="false",
    ),
    Option(
        "gevent",
        "application",
        Type.INT,
        "run it on gevent (patched before it is loaded, as lazy-apps), with this many requests at once in each process",
        low=1,
        high=1_000_000,
    ),
    Option(
        "pythonpath",
        "application",
        Type.PATH,
        "look for Python modules here first (a pattern names several); it counts for the router's scripts too",
        aliases=("python-path", "pp"),
        repeatable=True,
    ),
    Option(
        "virtualenv",
        "application",
        Type.PATH,
        "run the application with the Python of this virtual environment",
        aliases=("home", "venv", "pyhome", "-H"),
    ),
    Option(
        "harakiri",
        "application",
        Type.INT,
        "a process of the application whose request takes longer is killed and replaced",
        unit="seconds",
        low=1,
    ),
    Option(
        "max-requests",
        "application",
        Type.INT,
        "replace a process of the application after this many requests",
        aliases=("-R",),
        low=1,
    ),
    Option(
        "py-autoreload",
        "application",
        Type.INT,
        "reload (as HUP does) when the file of a module that the application loaded changes, looking every so often",
        aliases=("py-auto-reload", "python-autoreload", "python-auto-reload"),
        unit="seconds",
        low=0,
        default="0",
    ),
)

"""The first thing that runs in the process of the local instance.

One idea: that process may be another Python than the router's (a virtual environment's), so it is started by a line of
code that puts the router's directory on the path, imports this, and leaves the path to the application again. gunicorn
is that of the environment if it has one, else the router's own, which is looked for last. Imports the standard library
alone until :func:`main` is called.
"""

from __future__ import annotations

import os
import sys

from uwsgirouter.local.blueprint import Blueprint

COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from uwsgirouter.local.launch import main; main()"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""What must be on the path to import this."""


def command(python: str, blueprint: Blueprint) -> list[str]:
    """The arguments that start an instance."""
    return [python, "-c", COMMAND, ROOT, blueprint.text()]


def main() -> None:
    """Become the instance. Raises SystemExit at its end."""
    root, text = sys.argv[1:]
    blueprint = Blueprint.parse(text)
    sys.argv[:] = ["uwsgirouter"]
    sys.path.remove(root)
    if "" in sys.path:  # the working directory comes back for the application; gunicorn is not looked for there
        sys.path.remove("")
    if blueprint.found and blueprint.found not in sys.path:
        sys.path.append(blueprint.found)
    import gunicorn
    from gunicorn.config import Config

    if "protocol" not in Config().settings:
        sys.exit(f"gunicorn {gunicorn.__version__} does not speak the uwsgi protocol: version 25 or later is needed")
    from uwsgirouter.local.instance import run

    run(blueprint)

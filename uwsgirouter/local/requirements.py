"""What an application needs of this machine before anything is started: a Python, and gunicorn.

One idea: what is missing is told when the configuration is read (``--check`` tells it too), with the option that asks
for it. Nothing is imported or run.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import sys
from typing import NamedTuple

from uwsgirouter.errors import BootError
from uwsgirouter.settings import application
from uwsgirouter.settings.settings import Settings


class Means(NamedTuple):
    """The Python to run, and where it finds gunicorn if it has none of its own (empty: it has)."""

    python: str
    gunicorn: str


def means_for(settings: Settings) -> Means:
    """What the application of ``settings`` runs with. Raises BootError."""
    home = settings.text("virtualenv")
    python = os.path.join(home, "bin", "python") if home else sys.executable
    if not os.access(python, os.X_OK):
        raise BootError(f"{settings.where('virtualenv')}: virtualenv = {home}: there is no {python}")
    if home and glob.glob(os.path.join(glob.escape(home), "lib", "python*", "site-packages", "gunicorn")):
        return Means(python, "")
    spec = importlib.util.find_spec("gunicorn")
    if spec is None or spec.origin is None:
        name = next(name for name in application.NAMED_BY if settings.is_set(name))
        raise BootError(
            f"{settings.where(name)}: {name} = {settings.text(name)}: an application needs gunicorn, which is not "
            "installed: pip install 'uwsgirouter[app]'"
        )
    return Means(python, os.path.dirname(os.path.dirname(spec.origin)))

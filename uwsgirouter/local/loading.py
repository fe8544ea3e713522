"""Load WSGI applications the way uWSGI names them: a file, or a module, and the name in it.

One idea: a file is run once as a module whose name tells where it came from (``uwsgi_file_`` and the path), so that its
objects can be pickled and its tracebacks read; its directory is not on the path, the working directory is. Whatever
the application's code raises goes up as it is.
"""

from __future__ import annotations

import glob
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

from uwsgirouter.local.blueprint import Mounted

_CALL = re.compile(r"(?P<name>[^()]+)\(\)")


class LoadError(Exception):
    """There is no application where one should be; the text is a whole sentence."""


def prepare_path(directories: Sequence[str]) -> None:
    """Put the working directory and ``pythonpath`` in front; the last one given is the first one looked at."""
    sys.path.insert(0, os.getcwd())
    for pattern in directories:
        for directory in sorted(glob.glob(pattern)) or [pattern]:
            sys.path.insert(0, os.path.abspath(directory))


def load(app: Mounted) -> Callable[..., Any]:
    """The application. Raises LoadError, and anything that its own code raises."""
    module = _run(app.target) if app.is_file else importlib.import_module(app.target)
    found: Callable[..., Any] = _find(module, app)
    if not callable(found):
        raise LoadError(f"{app.callable} in {app.target} is a {type(found).__name__}, not something to call")
    return found


def _find(module: ModuleType, app: Mounted) -> Any:
    made = _CALL.fullmatch(app.callable)
    found: Any = module
    for name in (made["name"] if made else app.callable).split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LoadError(f"{app.target} has no {name!r} (the option callable names the application)") from None
    return found() if made else found


def _run(path: str) -> ModuleType:
    """Run a file of any name as a module."""
    if not os.path.isfile(path):
        raise LoadError(f"{path}: no such file")
    name = "uwsgi_file_" + re.sub(r"[/.]", "_", path)
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

"""Finding the parts: the modules of this package, and packages that add their own.

One idea: a module registers its parts when it is imported, so a new file in one of the directories below is all that a
new part takes. Other packages name a module (or a function that registers) under the entry-point group
``uwsgirouter.rules``; its own parts come first, so nobody replaces one. Invariant: :func:`load` does its work once in
a process.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points

from uwsgirouter.errors import ConfigError
from uwsgirouter.rules import actions, conditions, transforms, variables
from uwsgirouter.rules.base import PARTS, Parts

GROUP = "uwsgirouter.rules"
"""The entry-point group."""

_loaded: set[str] = set()
"""The packages (of ours), and the entry points, that are in."""


def load() -> Parts:
    """All parts. Raises :class:`ConfigError` when a package's entry point cannot be loaded; a later call tries anew."""
    for package in (actions, conditions, transforms, variables):
        if package.__name__ not in _loaded:
            for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
                importlib.import_module(module.name)
            _loaded.add(package.__name__)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        if f"{point.name} = {point.value}" not in _loaded:
            _load_other(point)
            _loaded.add(f"{point.name} = {point.value}")
    return PARTS


def _load_other(point: EntryPoint) -> None:
    before = PARTS.copy()
    try:
        found = point.load()
        if callable(found):
            found()
    except Exception as error:  # whatever a package does when it is imported
        PARTS.restore(before)
        name = f"the entry point {point.name} = {point.value} of the group {GROUP}"
        raise ConfigError(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error

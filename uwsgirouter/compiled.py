"""Which modules of the hot path run as compiled code, and why not when they do not.

One idea: the Python source is the program. Cython may compile the modules below from that very source (with a .pxd file
beside it that only names C types), and the result is used only if it was made from exactly the source that is there;
otherwise, or with ``UWSGIROUTER_PURE`` set, the source itself runs. So a change is never shadowed by an old build, and
the tests can run both. Invariant: :func:`choose` is called before any of these modules is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType

MODULES = (
    "uwsgirouter.protocol.packet",
    "uwsgirouter.model.slot",
    "uwsgirouter.model.tallies",
    "uwsgirouter.balancers.wrr",
    "uwsgirouter.worker.kernel",
    "uwsgirouter.worker.common",
    "uwsgirouter.worker.relay",
    "uwsgirouter.worker.record",
    "uwsgirouter.worker.state",
    "uwsgirouter.worker.session",
    "uwsgirouter.worker.observer",
    "uwsgirouter.worker.measures",
    "uwsgirouter.worker.access",
    "uwsgirouter.worker.arrival",
    "uwsgirouter.worker.listener",
    "uwsgirouter.rules.head",
    "uwsgirouter.rules.writer",
    "uwsgirouter.rules.intake",
    "uwsgirouter.rules.response",
    "uwsgirouter.rules.exchange",
    "uwsgirouter.rules.table",
    "uwsgirouter.worker.routed",
    "uwsgirouter.worker.filter",
)
RECORD = "compiled.json"
"""Written by the build beside this file: the digest of the source of each module that it compiled."""

PACKAGE = os.path.dirname(os.path.abspath(__file__))


class SourceFinder(MetaPathFinder):
    """Finds the hot modules as source, whatever stands beside it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Only for the modules that could be compiled."""
        if fullname not in MODULES:
            return None
        source = source_of(fullname)
        if source.endswith(".pyx"):
            raise ModuleNotFoundError(f"{fullname} exists only in compiled form", name=fullname)
        return spec_from_file_location(fullname, source)


def source_of(module: str, package: str = PACKAGE) -> str:
    """The path of a module's source: Python, or Cython for what has no Python form."""
    path = os.path.join(package, *module.split(".")[1:])
    return path + (".py" if os.path.exists(path + ".py") else ".pyx")


def digest(module: str, package: str = PACKAGE) -> str:
    """What a build of a module depends on, in one word: its source and the C types beside it."""
    summary = hashlib.sha256()
    source = source_of(module, package)
    for path in (source, os.path.splitext(source)[0] + ".pxd"):
        try:
            with open(path, "rb") as file:
                summary.update(file.read())
        except FileNotFoundError:
            continue
    return summary.hexdigest()


def obstacle() -> str:
    """Why the source runs; empty when the compiled modules may."""
    if os.environ.get("UWSGIROUTER_PURE", "") not in ("", "0"):
        return "UWSGIROUTER_PURE is set"
    try:
        with open(os.path.join(PACKAGE, RECORD), encoding="ascii") as file:
            built = json.load(file)
    except (OSError, ValueError):
        return "not compiled at installation"
    changed = [module for module in MODULES if built.get(module) != digest(module)]
    return f"{changed[0]} was changed since it was compiled" if changed else ""


def choose() -> None:
    """Have the source imported unless the compiled modules fit it."""
    if obstacle():
        sys.meta_path.insert(0, SourceFinder())


def describe() -> str:
    """What runs, for ``--version``."""
    reason = obstacle()
    return f"pure Python ({reason})" if reason else "compiled"

"""Conditions that look at the file system: exists, isfile, isdir, islink, isexec.

One idea: one system call a condition, of a name that may come from a client; nothing is opened. A name that no file can
have (a NUL byte in it, too long) is not there. Relative names start where ``chdir`` went, or in the working directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from uwsgirouter.rules.base import Place, Test, condition
from uwsgirouter.rules.paths import inside

Ask = Callable[[bytes], bool]


def _condition(argument: bytes, place: Place, ask: Ask) -> Test:
    name = place.template(argument)
    return lambda exchange: _asked(inside(exchange.directory, name(exchange, None)), ask)


def _asked(path: bytes, ask: Ask) -> bool:
    try:
        return bool(path) and ask(path)
    except (OSError, ValueError):
        return False


@condition("exists")
def exists(argument: bytes, place: Place) -> Test:
    """There is something of that name, behind links."""
    return _condition(argument, place, lambda path: os.access(path, os.F_OK))


@condition("isfile")
def isfile(argument: bytes, place: Place) -> Test:
    """It is a file, behind links."""
    return _condition(argument, place, lambda path: stat.S_ISREG(os.stat(path).st_mode))


@condition("isdir")
def isdir(argument: bytes, place: Place) -> Test:
    """It is a directory, behind links."""
    return _condition(argument, place, lambda path: stat.S_ISDIR(os.stat(path).st_mode))


@condition("islink")
def islink(argument: bytes, place: Place) -> Test:
    """It is a link itself."""
    return _condition(argument, place, lambda path: stat.S_ISLNK(os.lstat(path).st_mode))


@condition("isexec")
def isexec(argument: bytes, place: Place) -> Test:
    """The router may execute it (or enter it: directories count)."""
    return _condition(argument, place, lambda path: os.access(path, os.X_OK))

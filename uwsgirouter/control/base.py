"""What a command of uwsgirouterctl is, and the exit codes they share.

One idea: a command is a row (name, help, arguments, run), so that the table in
:mod:`uwsgirouter.control.main` is all that the parser is made from. A command does not know the others and
does not exit by itself: it returns an :class:`Exit` (or the exit code of a program that it ran) or raises
:class:`Failure`, which ``main`` prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from uwsgirouter.errors import RouterError


class Exit(IntEnum):
    """Exit codes. Those from 6 on mean what they mean in curl, so that scripts need one table only."""

    OK = 0
    TROUBLE = 1
    USAGE = 2
    NO_ADDRESS = 6
    NO_CONNECTION = 7
    BAD_HEAD = 8
    DENIED = 9
    CUT = 18
    HTTP_ERROR = 22
    NOT_WRITTEN = 23
    TIMEOUT = 28
    NOT_SENT = 55
    EMPTY = 52
    RESET = 56
    NO_ROOM = 70
    NOT_FOUND = 78
    NOT_RUN = 126
    NO_COMMAND = 127
    INTERRUPTED = 130


class Failure(RouterError):
    """A command cannot do what it was asked; ``str()`` is for people, ``code`` is the exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class Command(NamedTuple):
    """One command: ``arguments`` declares its options, ``run`` does the work."""

    name: str
    help: str
    description: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def shown(text: object) -> str:
    """Text that cannot do anything to a terminal: what is not printable is escaped."""
    whole = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in whole)


def number(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number from ``low`` to ``high``, both allowed."""

    def convert(text: str) -> int:
        if text.isascii() and text.isdigit() and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {low} to {high}")

    return convert


def seconds(text: str) -> float:
    """An argparse type: a number of seconds over 0, parts of a second allowed."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, over 0 and at most 86400")
    return value

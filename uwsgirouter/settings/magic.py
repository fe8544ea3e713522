"""Magic variables: ``%n`` and its like, replaced in a file's lines as the file is read.

They speak of the file that they stand in; the upper-case ones of the first file that was not an include.
``%%`` is a percent sign and ``%(`` is left for the placeholders. As in uWSGI an unknown letter stands for
nothing; the caller is told which, because people forget to double the sign. The command line has no magic
variables.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import time
from collections.abc import Mapping

from uwsgirouter import __version__

_SIGN = re.compile(r"%(.)")
_OF_FILE = "opsdencx"
STANDARD_INPUT = "-"


def of_process(cwd: str, started: float | None = None) -> dict[str, str]:
    """The variables that no file changes. ``started``: Unix time, the same over reloads."""
    now = time.time() if started is None else started
    uid, gid = os.getuid(), os.getgid()
    return {
        "%": "%",
        "(": "%(",
        "[": "\033",
        "v": cwd,
        "V": __version__,
        "h": socket.gethostname(),
        "t": str(int(now)),
        "T": str(int(now * 1_000_000)),
        "k": str(os.cpu_count() or 1),
        "u": str(uid),
        "U": _user_name(uid),
        "g": str(gid),
        "G": _group_name(gid),
    }


def of_file(given: str, section: str, cwd: str) -> dict[str, str]:
    """The variables of one file. ``given`` is its name as written (``-``: standard input has no path)."""
    if given == STANDARD_INPUT:
        return dict.fromkeys("pSsdecnxi", "") | {"o": given, "x": section}
    path = os.path.join(cwd, given)
    if not os.path.islink(path):
        path = os.path.realpath(path)
    name = os.path.basename(path)
    directory = os.path.dirname(path).rstrip("/") + "/"
    stem, dot, extension = name.rpartition(".")
    found = {
        "o": given,
        "p": path,
        "s": name,
        "d": directory,
        "e": extension if dot else "",
        "n": stem if dot else name,
        "c": os.path.basename(directory[:-1]),
        "x": section,
        "i": _inode(path),
    }
    parts = [part for part in directory.split("/") if part]
    return found | {str(place): part for place, part in enumerate(parts[:10])}


def of_first(variables: Mapping[str, str]) -> dict[str, str]:
    """The upper-case variables, when ``variables`` are those of the first file that is not an include."""
    return {letter.upper(): variables.get(letter, "") for letter in _OF_FILE}


def substitute(text: str, variables: Mapping[str, str]) -> tuple[str, list[str]]:
    """The text with its magic variables replaced, and the letters that are none."""
    unknown: list[str] = []

    def replace(found: re.Match[str]) -> str:
        letter = found[1]
        if letter in variables:
            return variables[letter]
        if not letter.isdigit() and letter.lower() not in _OF_FILE:
            unknown.append(letter)
        return ""

    return _SIGN.sub(replace, text), unknown


def _inode(path: str) -> str:
    try:
        return str(os.stat(path).st_ino)
    except OSError:
        return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)

"""The text of an ini file, cut into lines: section, key, value, line number.

ConfigObj does the cutting, but uWSGI's dialect has repeated keys, keys without a value, repeated sections,
and values in which quotes, ``#`` and ``\\`` mean nothing. So ConfigObj is fed a text in which each key is its
line's number and the three characters that it would interpret are written otherwise, and its answer is
translated back. Nothing is expanded here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from configobj import ConfigObj, ConfigObjError

from uwsgirouter.errors import ConfigError

_BLANK = " \t\r"
_ESCAPES = {"~": "~t", "#": "~h", '"': "~d", "'": "~s"}
_BACK = {code: character for character, code in _ESCAPES.items()}
_EDGE = "|"  # ConfigObj strips more sorts of blanks than uWSGI does
_ENCODE = str.maketrans(_ESCAPES)


@dataclass(frozen=True)
class Line:
    """One ``key = value``; no value for a key alone, and no section before the first header."""

    number: int
    section: str
    key: str
    value: str


def parse(text: str, name: str) -> list[Line]:
    """The lines that are neither blank nor comments, in order. ``name`` is the file's, for errors."""
    keys: dict[str, str] = {}
    sections: dict[str, str] = {}
    plain = [_plain(line, number, name, keys, sections) for number, line in enumerate(text.split("\n"), 1)]
    try:
        parsed = ConfigObj(plain, list_values=False, interpolation=False, raise_errors=True)
    except ConfigObjError as error:  # pragma: no cover - the plain text has no such form
        raise ConfigError(str(error), f"{name}:{error.line_number}") from None
    lines = [_line("", key, parsed[key], keys) for key in parsed.scalars]
    for mark in parsed.sections:
        lines += [_line(sections[mark], key, parsed[mark][key], keys) for key in parsed[mark].scalars]
    return lines


def _plain(raw: str, number: int, name: str, keys: dict[str, str], sections: dict[str, str]) -> str:
    """One line as ConfigObj can read it: ``12 = value``, ``[12]``, or nothing."""
    line = raw.strip(_BLANK)
    if not line or line[0] in ";#":
        return ""
    mark = str(number)
    if line[0] == "[":
        if line[-1] != "]":
            raise ConfigError(f"{line}: a section header ends with ]", f"{name}:{number}")
        sections[mark] = line[1:-1].strip(_BLANK)
        return f"[{mark}]"
    key, _, value = line.partition("=")
    keys[mark] = key.rstrip(_BLANK)
    if not keys[mark]:
        raise ConfigError(f"{line}: no option name before the =", f"{name}:{number}")
    return f"{mark} = {_EDGE}{value.strip(_BLANK).translate(_ENCODE)}{_EDGE}"


def _line(section: str, mark: str, value: str, keys: dict[str, str]) -> Line:
    return Line(int(mark), section, keys[mark], re.sub("~.", lambda found: _BACK[found[0]], value[1:-1]))

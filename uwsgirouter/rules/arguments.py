"""The arguments of actions, taken apart as uWSGI takes them.

One idea: text in, parts out, once for each rule; what an action makes of a part is its own affair. Observed on
uWSGI 2.0.31: ``key=value`` arguments are separated by commas, a backslash makes the next character mean itself, a
key given twice counts the last time.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from uwsgirouter.rules.base import BadRule, Place

_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
DIGITS_MOST = 20


def keyed(
    text: bytes,
    place: Place,
    keys: Sequence[str],
    needed: Sequence[str] = (),
    separator: bytes = b",",
    secret: str = "",
) -> dict[str, bytes]:
    """``key=value,key=value``, the values as they were written. A key that means nothing is told at start and left out.

    ``secret``: the key of a password, of which nothing is told (of one that holds a separator, the rest looks like
    keys). Raises :class:`BadRule` when one of ``needed`` is not there or is empty.
    """
    found: dict[str, bytes] = {}
    for item in _split(text, separator[0]):
        name, equals, value = item.partition(b"=")
        key = name.decode("latin-1")
        if key in keys:
            found[key] = value if equals else b""
        elif item and secret in found and not _close(key, keys):
            place.warn(f"something behind {secret}= means nothing; a {separator.decode()} in a value is written as "
                       f"\\{separator.decode()}")  # fmt: skip
        elif item:
            place.warn(f"{key}= means nothing here{_nearest(key, keys)}")
    missing = [key for key in needed if not found.get(key)]
    if missing:
        raise BadRule(f"{missing[0]}= is missing, expected {','.join(f'{key}=...' for key in needed)}")
    return found


def _split(text: bytes, separator: int) -> list[bytes]:
    items = [bytearray()]
    escaped = False
    for byte in text:
        if byte == separator and not escaped:
            items.append(bytearray())
        elif byte == 0x5C and not escaped:
            escaped = True
        else:
            items[-1].append(byte)
            escaped = False
    return [bytes(item) for item in items]


def _close(key: str, keys: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(key, keys, 1, 0.7)


def _nearest(key: str, keys: Sequence[str]) -> str:
    close = _close(key, keys)
    return f"; did you mean {close[0]}=?" if close else f" (known: {', '.join(keys)})"


def number(text: bytes) -> int:
    """A whole number of 64 bits as C's strtol reads it: leading space, a sign, digits; 0 for anything else."""
    found = _NUMBER.match(text)
    if found is None:
        return 0
    digits = found[1]
    if len(digits) > DIGITS_MOST:
        return _LOW if digits.startswith(b"-") else _HIGH
    return max(_LOW, min(_HIGH, int(digits)))


def small(text: bytes, what: str, most: int = 255) -> int:
    """A constant from 0 to ``most``; nothing is 0. Raises :class:`BadRule`."""
    word = text.strip()
    if not word:
        return 0
    if not word.isdigit() or len(word) > DIGITS_MOST or int(word) > most:
        raise BadRule(f"{what} is {word.decode('latin-1')}, expected a number from 0 to {most}")
    return int(word)


def shown(text: bytes) -> str:
    """Bytes for a message."""
    return text.decode("utf-8", "backslashreplace")

"""What part of a file a client asks for, and whether it has it already.

One idea: the headers Range, If-Range and If-Modified-Since and a file's size and time give a decision; pure. The
first range counts, as in uWSGI 2.0.31 (observed); a range that cannot be understood or met is refused there, so
here.
"""

from __future__ import annotations

import re
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple

_RANGE = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Part(NamedTuple):
    """Bytes ``start`` to before ``end``."""

    start: int
    end: int


def part(header: bytes, size: int) -> Part | None:
    """The part that a Range header names (all of the file when it covers it); None when there is no such part."""
    found = _RANGE.fullmatch(header.partition(b",")[0].strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    return Part(start, end) if start < end else None


def http_date(moment: float) -> bytes:
    """A time as HTTP writes it."""
    return formatdate(int(moment), usegmt=True).encode()


def moment(header: bytes) -> int | None:
    """The time of a header, None for what is no date."""
    try:
        return int(parsedate_to_datetime(header.decode("ascii")).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def is_unchanged(if_modified_since: bytes, modified: float) -> bool:
    """Whether the client has this version of the file."""
    known = moment(if_modified_since) if if_modified_since else None
    return known is not None and int(modified) <= known


def is_same(if_range: bytes, modified: float) -> bool:
    """Whether a part may be sent: there is no If-Range, or it is the file's Last-Modified (files have no ETag here)."""
    return not if_range or moment(if_range) == int(modified)

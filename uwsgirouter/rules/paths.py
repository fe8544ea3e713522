"""Paths: of a URL (decoded and without dot segments, as uWSGI makes PATH_INFO) and of files (relative to where a
request stands).

One idea: pure functions of bytes; no file is looked at. Observed on uWSGI 2.0.31: a path is cut at the first ``#``,
``//`` stays, ``%%`` is a percent sign, a cut-off escape vanishes, an escape of other characters than hexadecimal
digits is a NUL byte. Only dots that stand as such make a dot segment: ``%2e`` is a dot of a name.
"""

from __future__ import annotations

import os
import re

_TOKEN = re.compile(rb"%(?:(%)|([^%].)|.?\Z)|(/)|([^%/]+)", re.DOTALL)
_HEX = re.compile(rb"[0-9a-fA-F]{2}")


def normal(path: bytes) -> bytes:
    """PATH_INFO of a path as it stands in a URL."""
    if path.startswith(b"#"):
        return b"/"
    out = bytearray()
    segments = list(_segments(path.partition(b"#")[0]))
    for index, (segment, written) in enumerate(segments):
        last = index == len(segments) - 1
        if written == b".":
            if last:
                out += b"/"
        elif written == b"..":
            cut = out.rfind(b"/")
            del out[cut + 1 if last else max(cut, 0) :]
        elif index:
            out += b"/" + segment
        else:
            out += segment
    return bytes(out)


def _segments(path: bytes) -> list[tuple[bytes, bytes]]:
    """What stands between slashes: decoded, and as it was written."""
    found = [(bytearray(), bytearray())]
    for token in _TOKEN.finditer(path):
        percent, escape, slash, text = token.groups()
        if slash:
            found.append((bytearray(), bytearray()))
            continue
        decoded, written = found[-1]
        written += token[0]
        if percent:
            decoded += b"%"
        elif escape:
            decoded.append(int(escape, 16) if _HEX.fullmatch(escape) else 0)
        elif text:
            decoded += text
    return [(bytes(decoded), bytes(written)) for decoded, written in found]


def inside(directory: bytes, name: bytes) -> bytes:
    """A file's name as seen from ``directory`` (empty: the working directory)."""
    return os.path.join(directory, name) if directory else name

"""CGI (RFC 3875) without a process: the environment that a program gets, and the head of what it writes.

One idea: a program's head becomes the head of an HTTP answer in chunks, so that whoever reads it knows a body that
broke off from one that is whole. What the client said stays a value: names of variables and headers are checked, and
nothing of the router's own environment is passed on but what :data:`INHERITED` names. Pure.

Invariant: a head that is given out has one status, and none of the headers that are the connection's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from uwsgirouter.errors import ProtocolError

HEAD_MOST = 65536
"""Bytes of a program's head."""

INHERITED = (b"PATH", b"LANG", b"LC_ALL", b"LC_CTYPE", b"TZ", b"LD_LIBRARY_PATH")
"""Variables of the router's own environment that a program gets."""

_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(rb"([2-5][0-9]{2})(?: ([^\0\r\n]*))?")
_PROTOCOL_LINE = re.compile(rb"HTTP/[0-9](?:\.[0-9])? +(.*)")
_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
"""Headers of a connection, which is not the program's."""
_NOT_PASSED = frozenset((b"HTTP_PROXY",))
"""Of a client's making, and yet the name of what libraries take for the operator's proxy."""


def environment(
    variables: Iterable[tuple[bytes, bytes]], program: bytes, own: Mapping[bytes, bytes], software: bytes
) -> dict[bytes, bytes]:
    """What ``program`` (a path) gets for a request. ``own``: the router's own environment.

    SCRIPT_NAME is the path of the URL up to the program's name, PATH_INFO what follows it; where the name is not in the
    path, SCRIPT_NAME is all of it.
    """
    found = {name: own[name] for name in INHERITED if name in own}
    for name, value in variables:
        if _NAME.fullmatch(name) and b"\0" not in value and not name.startswith(b"UWSGI_"):
            found[name] = value
    path = found.get(b"SCRIPT_NAME", b"") + found.get(b"PATH_INFO", b"")
    script, rest = _divided(path, program.rpartition(b"/")[2])
    found[b"GATEWAY_INTERFACE"] = b"CGI/1.1"
    found[b"SERVER_SOFTWARE"] = software
    found[b"REDIRECT_STATUS"] = b"200"  # php-cgi does not answer without it
    found[b"SCRIPT_FILENAME"] = program
    found[b"SCRIPT_NAME"] = script
    found.setdefault(b"QUERY_STRING", b"")
    for name in (*_NOT_PASSED, b"PATH_INFO", b"PATH_TRANSLATED"):
        found.pop(name, None)
    if rest:
        found[b"PATH_INFO"] = rest
        if found.get(b"DOCUMENT_ROOT"):
            found[b"PATH_TRANSLATED"] = found[b"DOCUMENT_ROOT"].rstrip(b"/") + rest
    for name in (b"CONTENT_LENGTH", b"CONTENT_TYPE"):
        if not found.get(name):
            found.pop(name, None)
    if not found.get(b"CONTENT_LENGTH", b"").isdigit():
        found.pop(b"CONTENT_LENGTH", None)
    return found


def _divided(path: bytes, name: bytes) -> tuple[bytes, bytes]:
    """``path`` up to the segment ``name``, and what follows."""
    marked = b"/" + name
    at = (path + b"/").find(marked + b"/") if name else -1
    end = len(path) if at < 0 else at + len(marked)
    return path[:end], path[end:]


@dataclass(frozen=True)
class Head:
    """A program's head. ``length``: what it says of the body, None when it does not."""

    status: bytes
    """``404 Not Found``."""
    headers: tuple[tuple[bytes, bytes], ...]
    length: int | None

    def encode(self) -> bytes:
        """The head of an HTTP answer whose body comes in chunks."""
        lines = [b"HTTP/1.1 " + self.status, *(name + b": " + value for name, value in self.headers)]
        return b"\r\n".join((*lines, b"Transfer-Encoding: chunked\r\n\r\n"))


class HeadReader:
    """Reads one program's head, in any pieces."""

    def __init__(self) -> None:
        self._held = b""
        self.rest = b""
        """What came behind the head."""

    def feed(self, data: bytes) -> Head | None:
        """More bytes; the head when it is whole. Raises :class:`ProtocolError`."""
        before = max(0, len(self._held) - 3)
        self._held += data
        ends = [at for at in (self._held.find(b"\n\n", before), self._held.find(b"\n\r\n", before)) if at >= 0]
        if self._held[:1] == b"\n" or self._held[:2] == b"\r\n":
            raise ProtocolError("bad head", "it is empty")
        if not ends:
            if len(self._held) > HEAD_MOST:
                raise ProtocolError("bad head", f"it is longer than {HEAD_MOST} bytes")
            return None
        end = min(ends)
        block, self._held = self._held, b""
        self.rest = block[end + (2 if block[end + 1 : end + 2] == b"\n" else 3) :]
        return parse(block[:end])


def parse(block: bytes) -> Head:
    """A head without the empty line at its end. Raises :class:`ProtocolError`."""
    lines = [line.removesuffix(b"\r") for line in block.split(b"\n")]
    status, headers = None, []
    own_line = _PROTOCOL_LINE.fullmatch(lines[0])
    if own_line is not None:
        status = _status(own_line[1])
        del lines[0]
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip()
        if not colon or not _TOKEN.fullmatch(name) or b"\0" in value or b"\r" in value:
            raise ProtocolError("bad head", f"it has the line {line[:64]!r}")
        if name.lower() == b"status":
            status = _status(value)
        elif name.lower() not in _HOP:
            headers.append((name, value))
    if status is None:
        moved = any(name.lower() == b"location" for name, _ in headers)
        status = b"302 Found" if moved else b"200 OK"
    return Head(status, tuple(headers), _length(headers))


def _status(text: bytes) -> bytes:
    found = _STATUS.fullmatch(text.strip())
    if found is None:
        raise ProtocolError("bad head", f"its status is {text[:32]!r}")
    if found[2]:
        return found[0]
    try:
        return found[1] + b" " + HTTPStatus(int(found[1])).phrase.encode()
    except ValueError:
        return found[1] + b" Unknown"


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    found = {value for name, value in headers if name.lower() == b"content-length"}
    if not found:
        return None
    value = found.pop()
    if found or not value.isdigit() or len(value) > 18:
        raise ProtocolError("bad head", f"its Content-Length is {value[:32]!r}")
    return int(value)


def chunk(data: bytes) -> bytes:
    """``data`` (not empty) as a chunk."""
    return b"%X\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"

"""The head of an HTTP request, made of a uwsgi request's variables.

One idea: what uWSGI's ``http:`` rule sends (observed on 2.0.31): HTTP/1.0, ``Connection: close``, a header for each
HTTP_ variable, the client's address at the end of X-Forwarded-For. What a client sent stays a value: nothing in it
can end a line, name another length of the body, or say that the body is chunked, since the body that follows is the
plain one that CONTENT_LENGTH announces. Pure.

Invariant: the head has one Content-Length at most and no Transfer-Encoding; every line of it ends with CR LF and
holds no other CR, LF or NUL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from uwsgirouter.errors import ProtocolError

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[^\x00-\x20\x7f]+")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_OWN = frozenset((b"content-length", b"content-type", b"transfer-encoding"))
"""Headers that are made of other variables, or would contradict the body."""
_HOP = frozenset((b"connection", b"keep-alive", b"te", b"trailer"))
_FORWARDED = b"x-forwarded-for"


def request_head(
    variables: Iterable[tuple[bytes, bytes]], target: bytes = b"", host: bytes | None = None, dumb: bool = False
) -> bytes:
    """The head for ``variables`` (the last one of a name counts), with the empty line.

    ``target``: instead of REQUEST_URI; ``host``: instead of HTTP_HOST. ``dumb``: the client's own protocol version and
    its headers about the connection, and no Connection of ours. Raises :class:`ProtocolError` for what would not be one
    request.
    """
    found = dict(variables)
    lines = [_request_line(found, target, dumb)]
    for name, value in _headers(found):
        lower = name.lower()
        if (
            lower in _OWN
            or lower == _FORWARDED
            or (lower in _HOP and not dumb)
            or (lower == b"host" and host is not None)
        ):
            continue
        lines.append(_line(name, value))
    if host is not None:
        lines.append(_line(b"Host", host))
    if found.get(b"CONTENT_TYPE"):
        lines.append(_line(b"Content-Type", found[b"CONTENT_TYPE"]))
    length = _length(found.get(b"CONTENT_LENGTH", b""))
    if length:
        lines.append(b"Content-Length: %d" % length)
    if not dumb:
        lines.append(b"Connection: close")
    before, client = found.get(b"HTTP_X_FORWARDED_FOR", b""), found.get(b"REMOTE_ADDR", b"")
    lines.append(_line(b"X-Forwarded-For", b", ".join(filter(None, (before, client)))))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _request_line(found: dict[bytes, bytes], target: bytes, dumb: bool) -> bytes:
    method = found.get(b"REQUEST_METHOD", b"")
    if not _TOKEN.fullmatch(method):
        raise ProtocolError("bad method", repr(method[:32]))
    target = target or found.get(b"REQUEST_URI", b"")
    if not _TARGET.fullmatch(target):
        raise ProtocolError("bad target", f"{target[:64]!r} cannot be asked for")
    version = found.get(b"SERVER_PROTOCOL", b"") if dumb else b"HTTP/1.0"
    if not _VERSION.fullmatch(version):
        version = b"HTTP/1.0"  # a client that speaks HTTP/2 with the web server
    return b" ".join((method, target, version))


def _headers(found: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    for variable, value in found.items():
        if variable.startswith(b"HTTP_") and len(variable) > 5:
            yield b"-".join(word[:1] + word[1:].lower() for word in variable[5:].split(b"_")), value


def _line(name: bytes, value: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise ProtocolError("bad header", f"the name {name[:64]!r}")
    if b"\r" in value or b"\n" in value or b"\0" in value:
        raise ProtocolError("bad header", f"{name[:64].decode()} holds a line break or a NUL byte")
    return name + b": " + value


def _length(text: bytes) -> int:
    """Bytes of the body. A body of unknown length cannot be sent: nothing would say where it ends."""
    if not text:
        return 0
    if not text.isdigit() or len(text) > 18:
        raise ProtocolError("bad length", f"CONTENT_LENGTH is {text[:32]!r}")
    return int(text)

"""The words behind a status, as uWSGI says them (not always those of today's RFC), and status lines made of them."""

from __future__ import annotations

import re
from http import HTTPStatus

from uwsgirouter.rules.base import Broken

_UNLIKE_PYTHON = {
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    416: "Requested Range Not Satisfiable",
    418: "I'm a teapot",
    422: "Unprocessable Entity",
    509: "Bandwidth Limit Exceeded",
}
_UNKNOWN_THERE = {102, 103, 207, 208, 226, 308, 421, 423, 424, 506, 507, 508, 510}
REASONS: dict[int, bytes] = {
    **{int(status): status.phrase.encode() for status in HTTPStatus if status not in _UNKNOWN_THERE},
    **{status: words.encode() for status, words in _UNLIKE_PYTHON.items()},
}

_VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9])?")
_BARE_MOST = 4
"""A status of at most so many bytes gets the words that belong to its first three."""
_FORBIDDEN = re.compile(rb"[\r\n\0]")


def reason(code: bytes) -> bytes | None:
    """The words for ``404``; None when there are none."""
    return REASONS.get(int(code)) if len(code) == 3 and code.isdigit() else None


def whole_status(status: bytes) -> tuple[int, bytes]:
    """Number and text of ``404``, or of ``404 Not here``. Raises :class:`Broken` for what is no status."""
    code = status[:3]
    if len(code) < 3 or not code.isdigit() or code < b"100":
        raise Broken(f"{status[:32]!r} is no status, expected three digits, and perhaps a space and words")
    if _FORBIDDEN.search(status):
        raise Broken("a status with a line end in it")
    if len(status) <= _BARE_MOST:
        status = b"%s %s" % (code, reason(code) or b"Unknown")
    return int(code), status


def status_line(protocol: bytes, status: bytes) -> bytes:
    """The first line of an answer, without its end; ``protocol`` is the request's."""
    return (protocol if _VERSION.fullmatch(protocol) else b"HTTP/1.0") + b" " + status

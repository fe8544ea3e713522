"""What a client of the metrics asks for: just enough HTTP to answer it rightly.

One idea: a request is its head, and the answer closes the connection, so nothing behind the head matters. Pure: bytes
in, an answer's head out.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEAD_MOST = 8192
"""Bytes that a head may have."""
PATH = "/metrics"

_LINE = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/1\.[01]")


class Request(NamedTuple):
    """``status``: 200 if it is to be answered with the metrics; else what is wrong with it."""

    status: int
    head_only: bool = False
    accept: str = ""


_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
}


def parse(data: bytes) -> Request | None:
    """What ``data`` asks for; None as long as its head has no end."""
    end = re.search(rb"\r?\n\r?\n", data)
    if end is None:
        return Request(431) if len(data) >= HEAD_MOST else None
    lines = data[: end.start()].decode("latin-1").splitlines()
    found = _LINE.fullmatch(lines[0]) if lines else None
    if found is None:
        return Request(400)
    method, target = found.groups()
    head_only = method == "HEAD"
    if target.partition("?")[0] != PATH:
        return Request(404, head_only)
    if method not in ("GET", "HEAD"):
        return Request(405)
    fields = [line.partition(":") for line in lines[1:]]
    accept = ",".join(value.strip() for name, _, value in fields if name.strip().lower() == "accept")
    return Request(200, head_only, accept)


def answer(request: Request, kind: str = "text/plain; charset=utf-8", body: bytes = b"") -> bytes:
    """The head, and the body of what is no answer with metrics."""
    reason = _REASONS[request.status]
    if request.status != 200:
        body = f"{request.status} {reason}: the metrics are at {PATH}\n".encode()
    allow = "Allow: GET, HEAD\r\n" if request.status == 405 else ""
    head = (
        f"HTTP/1.1 {request.status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        f"{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if request.head_only else body)

"""The WSGI application behind both routers: as little Python as can be, so that it costs little.

    GET /             a body of 13 bytes
    GET /bytes/N      a body of N bytes, one reused chunk again and again
    POST /            reads the body in 1 MiB pieces, answers with the number of bytes it got

Loaded by uWSGI from this file, so it imports nothing of the project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

CHUNK = b"\0" * (1 << 20)

HELLO = b"hello, world\n"


def zeros(size: int) -> Iterator[bytes]:
    """``size`` bytes in chunks; no chunk but the last is copied."""
    for _ in range(size // len(CHUNK)):
        yield CHUNK
    if size % len(CHUNK):
        yield CHUNK[: size % len(CHUNK)]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """See the module's docstring."""
    path = environ["PATH_INFO"]
    body: Iterable[bytes] = [HELLO]
    size = len(HELLO)
    if environ["REQUEST_METHOD"] == "POST":
        text = str(swallow(environ["wsgi.input"])).encode()
        body, size = [text], len(text)
    elif path.startswith("/bytes/"):
        size = int(path.removeprefix("/bytes/"))
        body = zeros(size)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(size))])
    return body


def swallow(stream: Any) -> int:
    """Read a request body to its end; the number of bytes."""
    total = 0
    while chunk := stream.read(len(CHUNK)):
        total += len(chunk)
    return total

"""The application of the tests: by its path, a response of any size, one that waits, one that fails in the middle."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

BLOCK = bytes(range(256)) * 256
"""64 KB; a response of N bytes is this one repeated, and cut."""

Start = Callable[[str, list[tuple[str, str]]], object]


def content(size: int) -> Iterator[bytes]:
    """The body of ``/big?size``."""
    while size > 0:
        yield BLOCK[:size]
        size -= len(BLOCK)


def digest(size: int) -> str:
    """SHA-1 of it."""
    summed = hashlib.sha1(usedforsecurity=False)
    for block in content(size):
        summed.update(block)
    return summed.hexdigest()


def wait_for_file(path: str) -> None:
    """Until the test says so by making a file; 20 s at most. ``path.pid`` says who waits."""
    Path(f"{path}.pid").write_text(str(os.getpid()))
    deadline = time.monotonic() + 20
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.005)


def cut(size: int) -> Iterator[bytes]:
    """A body that fails before its last byte."""
    yield from content(size - 1)
    raise RuntimeError("failed in mid-response")


def held(path: str) -> Iterator[bytes]:
    """A body in two parts; the second one waits for the file."""
    yield b"first,"
    wait_for_file(path)
    yield b"second"


def application(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """PATH_INFO says what to do, QUERY_STRING with what."""
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    length = None
    body: Iterable[bytes] = [b"hello"]
    if path == "/big":
        length, body = int(query), content(int(query))
    elif path == "/whole":
        body = [b"".join(content(int(query)))]
    elif path == "/file":
        file = Path(query).open("rb")  # noqa: SIM115 (the server closes it)
        length, body = Path(query).stat().st_size, environ["wsgi.file_wrapper"](file)
    elif path == "/fail":
        raise RuntimeError("failed before the response")
    elif path == "/cut":
        length, body = int(query), cut(int(query))
    elif path == "/held":
        length, body = 12, held(query)
    elif path == "/wait":
        wait_for_file(query)
    elif path == "/echo":
        body = [environ["wsgi.input"].read()]
    elif path == "/pid":
        body = [b"%d" % os.getpid()]
    elif path == "/socket":
        body = [type(environ["gunicorn.socket"]).__name__.encode()]
    if length is None and isinstance(body, list):
        length = len(body[0])
    start_response("200 OK", [("X-Pid", str(os.getpid())), ("Content-Length", str(length))])
    return body

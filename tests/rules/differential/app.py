"""The application behind both sides: it does what the variable X_APP says, and tells what it saw.

It runs inside uWSGI, so it imports nothing of this project. What it saw goes out as a datagram (ORACLE_REPORT in the
environment names the socket), because the answer is the rules' to change.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

HEADERS = [["Content-Type", "text/plain"]]

_reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Report the request, then answer as planned: status, headers, chunks, and the manner of sending them."""
    body = b""
    if environ.get("CONTENT_LENGTH", "").isdigit():
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    seen = {name: value for name, value in environ.items() if isinstance(value, str) and "." not in name}
    seen["wsgi.url_scheme"] = environ["wsgi.url_scheme"]
    report = json.dumps({"vars": seen, "body": body.decode("latin-1")})
    _reports.sendto(report.encode(), os.environ["ORACLE_REPORT"])
    plan = json.loads(environ.get("X_APP") or "{}")
    if plan.get("raises"):
        raise RuntimeError("as planned")
    headers = [(name, value) for name, value in plan.get("headers", HEADERS)]
    write = start_response(plan.get("status", "200 OK"), headers)
    chunks = [chunk.encode("latin-1") * plan.get("times", 1) for chunk in plan.get("chunks", ["hello"])]
    if plan.get("writes"):
        for chunk in chunks:
            write(chunk)
        return []
    if plan.get("file"):
        return environ["wsgi.file_wrapper"](open(plan["file"], "rb"))  # type: ignore[no-any-return]
    return _slowly(chunks, plan["pause"]) if plan.get("pause") else chunks


def _slowly(chunks: list[bytes], pause: float) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        time.sleep(pause)


def _funcs() -> None:
    """What `rpc:` and its kin call, on the side where uWSGI has the rules."""
    try:
        import uwsgi
    except ImportError:
        return
    import importlib.util
    from pathlib import Path

    where = Path(__file__).with_name("funcs.py")
    spec = importlib.util.spec_from_file_location("oracle_funcs", where)
    assert spec and spec.loader and uwsgi
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


_funcs()

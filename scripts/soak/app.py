"""The application of the real uWSGI: bodies of any size, and the sum of what is sent to it, as node.py has them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uwsgi  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.soak.content import PIECE, Sum, body


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """WSGI."""
    what, _, rest = environ["PATH_INFO"].lstrip("/").partition("/")
    if what == "upload":
        found, length = Sum(), int(environ.get("CONTENT_LENGTH") or 0)
        while found.size < length:
            data = environ["wsgi.input"].read(min(PIECE, length - found.size))
            if not data:
                break
            found.add(data)
        content = found.text
    else:
        content = bytes(body(int(rest)))
    start_response("200 OK", [("X-Node", uwsgi.opt["address"].decode()), ("Content-Length", str(len(content)))])
    return [content]

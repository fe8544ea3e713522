"""The functions that `rpc:` and its kin call on both sides: uWSGI's own module `uwsgi`, or the router's."""

from __future__ import annotations

import uwsgi


def _text(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def hello(*arguments: object) -> bytes:
    """The arguments, joined."""
    return b"hello " + b"|".join(map(_text, arguments))


def verdict(*arguments: object) -> bytes:
    """The arguments as a return code."""
    return b" ".join(map(_text, arguments))


def nothing(*arguments: object) -> bytes:
    """An empty answer."""
    return b""


def breaks(*arguments: object) -> bytes:
    """Raises."""
    raise RuntimeError("as planned")


for function in (hello, verdict, nothing, breaks):
    uwsgi.register_rpc(function.__name__, function)

"""What is said over the control socket: a JSON object a line, in both directions.

One idea: the two ends share this module, so that a name or a spelling stands in one place. A request is one line; its
answer is any number of lines with a ``node`` each and one last line, which has ``ok`` or ``error``. Keys and addresses
are text: bytes that are no UTF-8 travel as surrogates. The slots of the configuration's nodes, which no request can
have as keys, are called ``-`` and ``+``. Sans-IO. docs/control-socket.md describes it for others.
"""

from __future__ import annotations

import json
from enum import Enum

from uwsgirouter.errors import ProtocolError

STATIC, FALLBACK = "-", "+"
"""How the keys of the nodes of fastrouter-to and of fastrouter-fallback are written."""


class Trouble(Enum):
    """Why a request was not served; the word stands beside the sentence for people."""

    REQUEST = "bad-request"
    DENIED = "denied"
    BUSY = "busy"
    NO_KEY = "no-key"
    NO_NODE = "no-node"


def encode_line(value: dict[str, object]) -> bytes:
    """One line without its end."""
    return json.dumps(value, separators=(",", ":")).encode()


def decode_line(line: bytes) -> dict[str, object]:
    """The inverse. Raises :class:`ProtocolError`."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):  # the latter: thousands of brackets
        raise ProtocolError("not JSON", repr(line[:40])) from None
    if not isinstance(value, dict):
        raise ProtocolError("not an object", repr(line[:40]))
    return value


def complaint(trouble: Trouble, reason: str, settled: bool | None = None) -> bytes:
    """The last line of an answer that is none. ``settled``: whether every worker knows, when nodes were asked for."""
    known = {} if settled is None else {"settled": settled}
    return encode_line({"error": reason, "trouble": trouble.value, **known})


def to_text(data: bytes) -> str:
    """A key as it is written."""
    return data.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """The inverse. Raises ValueError for what no bytes can be meant by."""
    return text.encode("utf-8", "surrogateescape")

"""Messages between master and worker: a 4-byte length and a JSON list whose first item names the message.

One idea: JSON, because a worker runs with fewer rights than the master and what it sends must be safe to read. Sans-IO:
bytes in, lists out. Down: ``nodes`` (number, snapshot?, rows, gone ids), ``start`` (number), ``drain`` (last?, numbers
of listeners that nobody serves afterwards), ``stop``, ``log`` (with a descriptor), ``trace`` (token, key, count) and
``untrace`` (token). Up: ``ready`` (number), ``failed`` (node id, reason), ``faults`` (node id, count), ``answered``
(node id), ``wake`` (node id: its vassal is needed), ``draining``; for people alone ``trouble`` (cause, key, node,
detail, request id) and ``traced`` (token, request).
Invariant: any split of the stream gives the same messages.
"""

from __future__ import annotations

import json
from struct import Struct

from uwsgirouter.errors import ProtocolError

PROTOCOL = 1
"""Raised with every change that a worker of the version before would not understand: over an upgrade of the running
router (USR2) the new master goes on with the old workers only if both have the same one."""
MESSAGE_MAX = 1 << 26

_LENGTH = Struct("!I")

Message = list[object]


def encode_message(*items: object) -> bytes:
    """One framed message."""
    text = json.dumps(items, separators=(",", ":")).encode()
    return _LENGTH.pack(len(text)) + text


class MessageReader:
    """Puts messages together from a stream."""

    def __init__(self, most: int = MESSAGE_MAX) -> None:
        """``most``: bytes of a message."""
        self._most = most
        self._buffer = bytearray()

    @property
    def rest(self) -> bytes:
        """What is there of a message that is not whole yet."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes. Raises :class:`ProtocolError` for what cannot be one."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= 4:
            (size,) = _LENGTH.unpack_from(buffer, start)
            if size > self._most:
                raise ProtocolError("too large", f"a message of {size} bytes")
            if len(buffer) - start - 4 < size:
                break
            messages.append(_decode(bytes(buffer[start + 4 : start + 4 + size])))
            start += 4 + size
        del buffer[:start]
        return messages


def _decode(text: bytes) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:  # the latter: thousands of brackets
        raise ProtocolError("not JSON", str(error)) from None
    if not isinstance(message, list) or not message:
        raise ProtocolError("not a message", repr(text[:40]))
    return message

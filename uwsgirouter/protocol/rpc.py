"""Remote calls as uWSGI speaks them: modifier1 173, the function's name and its arguments as an array of strings.

One idea: the answer is a uwsgi header whose size is that of the result; a result over 65,535 bytes has modifier2 5
and a block of variables with its CONTENT_LENGTH before it (observed on 2.0.31). A function that is not there, or
returns nothing, closes the connection. Sans-IO: bytes in, a result out.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.packet import BLOCK_MAX, HEADER_SIZE, decode_header, decode_vars

MODIFIER = 173
RAW = 1
"""modifier2 of a call whose answer is the bare result, to the end of the connection."""
_LARGE = 5
ARGUMENTS_MOST = 255
RESULT_MOST = 16 << 20
"""Bytes of a result that are held; it is one value in memory."""

_U16 = Struct("<H")
_HEADER = Struct("<BHB")


def encode_call(name: bytes, arguments: Sequence[bytes], raw: bool = False) -> bytes:
    """The packet of a call. Raises :class:`ProtocolError` when it does not fit."""
    if len(arguments) > ARGUMENTS_MOST:
        raise ProtocolError("too large", f"{len(arguments)} arguments, at most {ARGUMENTS_MOST}")
    size = sum(_U16.size + len(part) for part in (name, *arguments))
    if not name or size > BLOCK_MAX:
        raise ProtocolError("too large", f"a call of {size} bytes, at most {BLOCK_MAX}")
    block = b"".join(_U16.pack(len(part)) + part for part in (name, *arguments))
    return _HEADER.pack(MODIFIER, size, RAW if raw else 0) + block


class Answer:
    """The bytes of one answer. ``raw`` is that of its call."""

    def __init__(self, raw: bool = False) -> None:
        self._raw = raw
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """More bytes; the result when it is whole. Raises :class:`ProtocolError`."""
        self._held += data
        if len(self._held) > RESULT_MOST + BLOCK_MAX + HEADER_SIZE:
            raise ProtocolError("too large", f"a result over {RESULT_MOST} bytes")
        if self._raw or len(self._held) < HEADER_SIZE:
            return None
        _, size, modifier2 = decode_header(bytes(self._held[:HEADER_SIZE]))
        start = HEADER_SIZE
        if modifier2 == _LARGE:
            start += size
            if len(self._held) < start:
                return None
            size = _large(bytes(self._held[:start]))
        return bytes(self._held[start : start + size]) if len(self._held) >= start + size else None

    def end(self) -> bytes:
        """The peer closed before :meth:`feed` gave a result. Raises :class:`ProtocolError` unless the call was raw."""
        if self._raw:
            return bytes(self._held)
        raise ProtocolError("cut", f"the answer ended after {len(self._held)} bytes")


def _large(packet: bytes) -> int:
    text = dict(decode_vars(packet)).get(b"CONTENT_LENGTH", b"")
    if not text.isdigit() or len(text) > 18:
        raise ProtocolError("bad length", f"CONTENT_LENGTH is {text[:32]!r}")
    if int(text) > RESULT_MOST:
        raise ProtocolError("too large", f"a result of {int(text)} bytes, at most {RESULT_MOST}")
    return int(text)

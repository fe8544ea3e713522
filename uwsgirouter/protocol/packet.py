"""The uwsgi packet: a 4-byte header (modifier1, size little endian, modifier2) and a block of variables.

One idea: the block is read by walking its lengths, so a value can never be taken for a name, wherever its bytes come
from. Nothing here knows of sockets, clocks or logs; any bytes give a value or a :class:`ProtocolError`.
Source: uWSGI's Protocol.rst; the bounds are as strict as those of uWSGI 2.0.31 (observed).

Invariant: what :func:`encode_packet` makes, :func:`decode_vars` gives back, and :func:`scan` accepts exactly the
blocks that :func:`decode_vars` accepts.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from uwsgirouter.errors import ProtocolError

HEADER_SIZE = 4
BLOCK_MAX = 65535
"""Bytes of variables that a header's 16-bit size can name."""

KEY_MAX = 255
"""Bytes of a key; a longer value is skipped as if its variable were absent (observed on 2.0.31)."""

LENGTH_UNKNOWN = -1
"""The body's length when CONTENT_LENGTH is absent or is not plain digits."""

_U16 = Struct("<H")
_HEADER = Struct("<BHB")


class Scan(NamedTuple):
    """What routing needs of a packet."""

    key: bytes
    """UWSGI_FASTROUTER_KEY, else HTTP_HOST, else SERVER_NAME; empty when the packet names none."""
    length: int
    """Bytes of body that the client announces; :data:`LENGTH_UNKNOWN` when it does not say."""
    upgrade: bool
    """The client asks for another protocol: it may speak at any time."""


def encode_packet(variables: Iterable[tuple[bytes, bytes]], modifier1: int = 0, modifier2: int = 0) -> bytes:
    """A complete packet. Raises :class:`ProtocolError` for a block over 65,535 bytes or an empty name."""
    parts: list[bytes] = []
    for name, value in variables:
        if not name:
            raise ProtocolError("empty name")
        if len(name) > BLOCK_MAX or len(value) > BLOCK_MAX:
            raise ProtocolError("too large", f"variable {name[:32]!r} of {len(value)} bytes")
        parts += (_U16.pack(len(name)), name, _U16.pack(len(value)), value)
    block = b"".join(parts)
    if len(block) > BLOCK_MAX:
        raise ProtocolError("too large", f"{len(block)} bytes of variables, at most {BLOCK_MAX}")
    return _HEADER.pack(modifier1, len(block), modifier2) + block


def decode_header(data: bytes) -> tuple[int, int, int]:
    """modifier1, size of the block, modifier2 of at least 4 bytes."""
    return _HEADER.unpack_from(data)


def decode_vars(data: bytes) -> list[tuple[bytes, bytes]]:
    """All variables of one whole packet, in order, repeated ones repeated.

    Raises :class:`ProtocolError` when the header's size is not that of ``data``, a length runs over the end, or a
    name is empty.
    """
    if len(data) < HEADER_SIZE:
        raise ProtocolError("short", f"{len(data)} bytes")
    end = HEADER_SIZE + decode_header(data)[1]
    if end != len(data):
        raise ProtocolError("bad size", f"the header says {end} bytes, there are {len(data)}")
    variables: list[tuple[bytes, bytes]] = []
    position = HEADER_SIZE
    while position < end:
        name, position = _string(data, position, end)
        if not name:
            raise ProtocolError("empty name", f"at byte {position}")
        value, position = _string(data, position, end)
        variables.append((name, value))
    return variables


def _string(data: bytes, position: int, end: int) -> tuple[bytes, int]:
    start = position + 2
    if start > end:
        raise ProtocolError("overrun", f"at byte {position}")
    stop = start + data[position] + (data[position + 1] << 8)
    if stop > end:
        raise ProtocolError("overrun", f"at byte {position}")
    return data[start:stop], stop


def scan(data: bytes, end: int) -> Scan:
    """Walk the block of the packet ``data[:end]`` (header included; body bytes may follow it).

    This runs once per request, so it reads only the variables whose name's length is interesting.
    Precedence and repetition are the FastRouter's: the last HTTP_HOST, the last UWSGI_FASTROUTER_KEY and the first
    SERVER_NAME count, in any order; empty values and those over 255 bytes do not. Raises :class:`ProtocolError`.
    """
    host = name_of_server = override = b""
    length = LENGTH_UNKNOWN
    upgrade = False
    position = HEADER_SIZE
    try:
        while position < end:
            size = data[position]
            if data[position + 1]:
                size |= data[position + 1] << 8
            elif not size:
                raise ProtocolError("empty name", f"at byte {position}")
            at = position + 2 + size
            start = at + 2
            following = start + data[at]
            if data[at + 1]:
                following += data[at + 1] << 8
            if size == 9:
                if following - start <= KEY_MAX and data[position + 2 : at] == b"HTTP_HOST":
                    host = data[start:following] or host
            elif size == 14:
                if data[position + 2 : at] == b"CONTENT_LENGTH":
                    length = _length(data[start:following])
            elif size == 11:
                if not name_of_server and following - start <= KEY_MAX and data[position + 2 : at] == b"SERVER_NAME":
                    name_of_server = data[start:following]
            elif size == 12:
                if following > start and data[position + 2 : at] == b"HTTP_UPGRADE":
                    upgrade = True
            elif size == 20:
                if following - start <= KEY_MAX and data[position + 2 : at] == b"UWSGI_FASTROUTER_KEY":
                    override = data[start:following] or override
            position = following
    except IndexError:
        raise ProtocolError("overrun", f"at byte {position}") from None
    if position != end:
        raise ProtocolError("overrun", f"at byte {end}")
    return Scan(override or host or name_of_server, length, upgrade)


def _length(value: bytes) -> int:
    """Bytes of body: an empty value is none (nginx sends it with a GET); anything but digits is unknown."""
    if not value:
        return 0
    if value.isdigit() and len(value) < 19:
        return int(value)
    return LENGTH_UNKNOWN

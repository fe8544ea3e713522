"""The uwsgi packet: a 4-byte header (modifier1, size little endian, modifier2) and a block of variables.

One idea: the block is read by walking its lengths, so a value can never be taken for a name, wherever its bytes come
from. Nothing here knows of sockets, clocks or logs; any bytes give a value or a :class:`ProtocolError`.
Source: uWSGI's Protocol.rst; the bounds are as strict as those of uWSGI 2.0.31 (observed).

Invariant: what :func:`encode_packet` makes, :func:`decode_vars` gives back, and :func:`scan` accepts exactly the
blocks that :func:`decode_vars` accepts. :func:`value_of` finds what :func:`decode_vars` would give.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from struct import Struct

from uwsgirouter.errors import ProtocolError

HEADER_SIZE = 4
BLOCK_MAX = 65535
"""Bytes of variables that a header's 16-bit size can name."""

KEY_MAX = 255
"""Bytes of a key; a longer value is skipped as if its variable were absent (observed on 2.0.31)."""

LENGTH_UNKNOWN = -1
"""The body's length when CONTENT_LENGTH is absent or is not plain digits."""

LENGTH_MOST = 1 << 62
"""What a longer length counts as: no limit lets it through, and nothing overflows."""

DIGITS_MOST = 1000
"""Digits of a length that are looked at; Python refuses to convert many thousands."""

_U16 = Struct("<H")
_HEADER = Struct("<BHB")


_HOST, _SERVER, _UPGRADE, _LENGTH, _KEY = 9, 11, 12, 14, 20
"""The sizes of the names that routing wants, each of another size."""
_WANTED = {
    _HOST: b"HTTP_HOST",
    _SERVER: b"SERVER_NAME",
    _UPGRADE: b"HTTP_UPGRADE",
    _LENGTH: b"CONTENT_LENGTH",
    _KEY: b"UWSGI_FASTROUTER_KEY",
}
_NAMES = tuple(_WANTED.get(size, b"") for size in range(max(_WANTED) + 1))
_INITIALS = bytes(name[0] if name else 0 for name in _NAMES)
"""By the size of a name, the first byte that it has when it is wanted (0: none of that size is)."""


_BYTES = tuple(bytes((number,)) for number in range(256))


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


def with_variable(packet: bytes, name: bytes, value: bytes) -> bytes:
    """A whole packet with one variable more at its end. Raises :class:`ProtocolError` when it has no room for it."""
    size = len(packet) - HEADER_SIZE + 4 + len(name) + len(value)
    if size > BLOCK_MAX:
        raise ProtocolError("too large", f"{size} bytes of variables, at most {BLOCK_MAX}")
    header = _HEADER.pack(packet[0], size, packet[3])
    return b"".join((header, packet[HEADER_SIZE:], _U16.pack(len(name)), name, _U16.pack(len(value)), value))


def with_appended(data: bytes, end: int, encoded: bytes) -> bytes:
    """``data`` (a packet that ends at ``end``, and what came behind it) with ``encoded`` variables at the packet's end.

    As it is when the packet has no room for them.
    """
    size = end - HEADER_SIZE + len(encoded)
    if size > BLOCK_MAX:
        return data
    view, whole = data, len(data)  # view is a pointer in the compiled form
    low, high = _BYTES[size & 255], _BYTES[size >> 8]
    if end == whole:
        return b"".join((view[:1], low, high, view[3:end], encoded))
    return b"".join((view[:1], low, high, view[3:end], encoded, view[end:whole]))


def decode_header(data: bytes) -> tuple[int, int, int]:
    """modifier1, size of the block, modifier2 of at least 4 bytes."""
    return _HEADER.unpack_from(data)


def decode_vars(data: bytes, most: int = BLOCK_MAX) -> list[tuple[bytes, bytes]]:
    """All variables of one whole packet, in order, repeated ones repeated.

    Raises :class:`ProtocolError` when the header's size is not that of ``data``, a length runs over the end, a name is
    empty, or there are more than ``most`` of them.
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
        if len(variables) == most:
            raise ProtocolError("too many variables", f"more than {most}")
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


def scan(data: bytes, end: int) -> tuple[bytes, int, bool]:
    """What routing needs of the packet ``data[:end]`` (header included; body bytes may follow it).

    The key: UWSGI_FASTROUTER_KEY, else HTTP_HOST, else SERVER_NAME, empty when the packet names none. The bytes of
    body that the client announces, :data:`LENGTH_UNKNOWN` when it does not say. Whether it asks for another
    protocol (then it may speak at any time).

    This runs once per request: only what may be wanted is cut out.
    Precedence and repetition are the FastRouter's: the last HTTP_HOST, the last UWSGI_FASTROUTER_KEY and the first
    SERVER_NAME count, in any order; empty values and those over 255 bytes do not. Raises :class:`ProtocolError`.
    """
    if end > len(data):
        raise ProtocolError("overrun", f"at byte {len(data)}")
    view, initials = data, _INITIALS  # view is a pointer in the compiled form, so every index is below end
    host = host_end = server = server_end = key = key_end = 0
    length = LENGTH_UNKNOWN
    upgrade = False
    position = HEADER_SIZE
    while position < end:
        name = position + 2
        at = name + (view[position] | view[position + 1] << 8) if name <= end else end
        start = at + 2
        stop = start + (view[at] | view[at + 1] << 8) if start <= end else start
        if stop > end:
            raise ProtocolError("overrun", f"at byte {position}")
        size = at - name
        if not size:
            raise ProtocolError("empty name", f"at byte {position}")
        position = stop
        if size > _KEY or initials[size] != view[name] or not initials[size]:
            continue
        wanted = _NAMES[size]
        index = 1
        while index < size and view[name + index] == wanted[index]:
            index += 1
        if index < size:
            continue
        if size == _LENGTH:
            length = _length(data[start:stop]) if stop > start else 0
        elif size == _UPGRADE:
            upgrade = stop > start
        elif stop == start or stop - start > KEY_MAX:
            continue
        elif size == _HOST:
            host, host_end = start, stop
        elif size == _KEY:
            key, key_end = start, stop
        elif not server:
            server, server_end = start, stop
    if key:
        return data[key:key_end], length, upgrade
    if host:
        return data[host:host_end], length, upgrade
    return data[server:server_end], length, upgrade


def value_of(data: bytes, end: int, name: bytes) -> bytes:
    """The value of the first variable ``name`` of a packet that :func:`scan` accepted; empty when there is none.

    For what only some requests need: each call walks the block. ``end`` is as for :func:`scan`.
    """
    view, size = data, len(name)  # view is a pointer in the compiled form
    position = HEADER_SIZE
    while position < end:
        start = position + 2
        at = start + (view[position] | view[position + 1] << 8)
        position = at + 2 + (view[at] | view[at + 1] << 8)
        if at - start == size and data[start:at] == name:
            return data[at + 2 : position]
    return b""


def values_of(packet: bytes, names: Container[bytes]) -> dict[bytes, bytes]:
    """The last value of each of ``names`` that a whole, valid packet has; one walk for all of them."""
    found: dict[bytes, bytes] = {}
    view = packet  # a pointer in the compiled form
    position, end = HEADER_SIZE, len(packet)
    while position < end:
        start = position + 2
        at = start + (view[position] | view[position + 1] << 8)
        position = at + 2 + (view[at] | view[at + 1] << 8)
        name = view[start:at]
        if name in names:
            found[name] = view[at + 2 : position]
    return found


def _length(value: bytes) -> int:
    """Bytes of body: an empty value is none (nginx sends it with a GET); anything but digits is unknown."""
    if not value:
        return 0
    if value.isdigit():
        return min(int(value), LENGTH_MOST) if len(value) < DIGITS_MOST else LENGTH_MOST
    return LENGTH_UNKNOWN

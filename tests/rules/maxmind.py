"""A database in MaxMind's format, as its specification (2.0) says: a tree for IPv6, records of 32 bits."""

from __future__ import annotations

import struct
from ipaddress import IPv6Network, ip_network
from pathlib import Path

Value = str | int | float | dict[str, "Value"] | list["Value"]

_MARK = b"\xab\xcd\xefMaxMind.com"
_BITS = 128


def write(path: Path, records: dict[str, Value]) -> Path:
    """``records``: network to what is known of it. IPv4 networks are at ::/96, as in the real ones."""
    data = b""
    offsets = {}
    for network, record in records.items():
        offsets[network] = len(data)
        data += _encoded(record)
    tree: list[list[int | str | None]] = [[None, None]]
    for network in records:
        _insert(tree, network)
    count = len(tree)
    nodes = b"".join(struct.pack(">II", *(_record(side, count, offsets) for side in node)) for node in tree)
    about = {
        "node_count": _whole(6, count),
        "record_size": _whole(5, 32),
        "ip_version": _whole(5, 6),
        "database_type": _encoded("Test"),
        "languages": _encoded(["en"]),
        "binary_format_major_version": _whole(5, 2),
        "binary_format_minor_version": _whole(5, 0),
        "build_epoch": _whole(9, 1_700_000_000),
        "description": _encoded({"en": "made for a test"}),
    }
    described = _control(7, len(about)) + b"".join(_encoded(name) + value for name, value in about.items())
    path.write_bytes(nodes + bytes(16) + data + _MARK + described)
    return path


def _insert(tree: list[list[int | str | None]], text: str) -> None:
    network = ip_network(text)
    if not isinstance(network, IPv6Network):
        network = IPv6Network((int(network.network_address), 96 + network.prefixlen))
    bits = [int(network.network_address) >> (_BITS - 1 - index) & 1 for index in range(network.prefixlen)]
    node = 0
    for bit in bits[:-1]:
        following = tree[node][bit]
        if not isinstance(following, int):
            tree.append([None, None])
            following = tree[node][bit] = len(tree) - 1
        node = following
    tree[node][bits[-1]] = text


def _record(side: int | str | None, count: int, offsets: dict[str, int]) -> int:
    if side is None:
        return count
    return side if isinstance(side, int) else count + 16 + offsets[side]


def _encoded(value: Value) -> bytes:
    if isinstance(value, str):
        data = value.encode()
        return _control(2, len(data)) + data
    if isinstance(value, float):
        return _control(3, 8) + struct.pack(">d", value)
    if isinstance(value, int):
        return _whole(6, value)
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_encoded, value))
    return _control(7, len(value)) + b"".join(_encoded(key) + _encoded(one) for key, one in value.items())


def _whole(kind: int, value: int) -> bytes:
    """Type 5, 6 and 9 are numbers of 16, 32 and 64 bits at most."""
    data = value.to_bytes(8, "big").lstrip(b"\0")
    return _control(kind, len(data)) + data


def _control(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])

"""An item as bytes: what stands before the value, and how a key of any length becomes a key of LMDB.

One idea: a look-up reads one record and needs nothing else, so the end of the item's life and its slot stand in front
of its value. Pure.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

HEADER = Struct("<QIIH")
"""The end of life (ms since 1970, 0: none), slot, run (0: none), length of the whole key where it is a long one."""

KEY_MOST = 510
"""Bytes of the longest key that LMDB is given as it is. A longer one is its beginning and a digest, 511 together."""
_DIGEST = 64

unpack_header = HEADER.unpack_from


class Item(NamedTuple):
    """``run`` is the number of the run of scripts that set it, 0 when it was set at any other time."""

    ends: int
    slot: int
    run: int
    key: bytes
    value: bytes


def handle_of(key: bytes) -> bytes:
    """What LMDB knows the key by."""
    if len(key) <= KEY_MOST:
        return key
    return key[: KEY_MOST + 1 - _DIGEST] + blake2b(key, digest_size=_DIGEST).digest()


def encode(item: Item) -> bytes:
    """The record."""
    long = item.key if len(item.key) > KEY_MOST else b""
    return HEADER.pack(item.ends, item.slot, item.run, len(long)) + long + item.value


def decode(handle: bytes, record: bytes) -> Item:
    """The item of a record."""
    ends, slot, run, length = unpack_header(record)
    start = HEADER.size + length
    return Item(ends, slot, run, record[HEADER.size : start] or handle, record[start:])

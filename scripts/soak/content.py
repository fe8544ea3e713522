"""The bytes that are moved: both ends make the same ones from a size, so a checksum tells a byte that is wrong."""

from __future__ import annotations

import random
import zlib
from functools import lru_cache

LARGEST = 4 << 20
"""Bytes of the largest body."""
PIECE = 1 << 16


@lru_cache(1)
def pattern() -> memoryview:
    """The largest body; smaller ones are its beginnings."""
    return memoryview(random.Random(1).randbytes(LARGEST))


def body(size: int) -> memoryview:
    """The body of so many bytes."""
    return pattern()[:size]


@lru_cache(512)
def checksum(size: int) -> int:
    """Of the body of so many bytes."""
    return zlib.crc32(body(size))


class Sum:
    """Adds up what comes in."""

    def __init__(self) -> None:
        self.size = 0
        self.crc = 0

    def add(self, data: bytes) -> None:
        """The next bytes."""
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)

    @property
    def is_right(self) -> bool:
        """It is the body of its size."""
        return self.size <= LARGEST and self.crc == checksum(self.size)

    @property
    def text(self) -> bytes:
        """What a node answers to an upload."""
        return b"%d %d" % (self.size, self.crc)

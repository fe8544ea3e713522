"""Bytes for the tests of this package: packets made by hand, and strategies for good, odd and broken ones."""

from __future__ import annotations

import random
from struct import pack

from hypothesis import strategies as st

Variables = list[tuple[bytes, bytes]]

INTERESTING = [b"HTTP_HOST", b"SERVER_NAME", b"UWSGI_FASTROUTER_KEY", b"CONTENT_LENGTH", b"HTTP_UPGRADE"]

_NEAR = [b"HTTP_HOSX", b"http_host", b"SERVER_NAMF", b"XWSGI_FASTROUTER_KEY", b"CONTENT_LENGTI", b"HTTP_UPGRADF", b"H"]

_SIZES = [1, 2, 254, 255, 256, 257, 511, 512, 4000]


def string(data: bytes) -> bytes:
    """``data`` with its size in front."""
    return pack("<H", len(data)) + data


def framed(block: bytes, modifier1: int = 0, modifier2: int = 0) -> bytes:
    """A packet whose header fits the block, whatever the block is."""
    return pack("<BHB", modifier1, len(block), modifier2) + block


def names() -> st.SearchStrategy[bytes]:
    """Names that matter, names that nearly do, and others."""
    return st.one_of(st.sampled_from(INTERESTING), st.sampled_from(_NEAR), st.binary(min_size=1, max_size=300))


def values() -> st.SearchStrategy[bytes]:
    """Hosts, numbers, sizes about the limits, and values that look like names or like whole variables."""
    return st.one_of(
        st.sampled_from([b"", b"0", b"12", b"-1", b"1_0", b"+5", b" 7", b"9" * 18, b"9" * 19, b"\xb2", b"foo.com"]),
        st.sampled_from(_SIZES).map(lambda size: b"k" * size),
        st.sampled_from(INTERESTING).map(lambda name: string(name) + string(b"evil.com")),
        st.binary(max_size=40),
    )


def variables() -> st.SearchStrategy[Variables]:
    """Lists of variables that fit a packet."""
    return st.lists(st.tuples(names(), values()), max_size=10)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """``data`` with a few bytes changed, cut out, doubled or put in."""
    result = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(result) + 1)
        what = dice.randrange(5)
        if what == 0 and at < len(result):
            result[at] = dice.choice([0, 1, 255, dice.randrange(256)])
        elif what == 1:
            del result[at : at + dice.randint(1, 8)]
        elif what == 2:
            result[at:at] = bytes(dice.randrange(256) for _ in range(dice.randint(1, 8)))
        elif what == 3:
            result[at:at] = result[at : at + dice.randint(1, 30)]
        else:
            del result[at:]
    return bytes(result)

"""The two hashes that uWSGI names in its rules, as it computes them.

One idea: they decide which of several items a key belongs to, so they must give what uWSGI gives. Neither is for
secrets. 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable

_MASK = 0xFFFFFFFF
_MIX = 0x5BD1E995


def djb33x(key: bytes) -> int:
    """Bernstein's hash with xor; bytes count as signed, as C's char does on x86."""
    value = 5381
    for byte in key:
        value = (value * 33 ^ _signed(byte)) & _MASK
    return value


def murmur2(key: bytes) -> int:
    """MurmurHash2 with the seed 0, but for what is left behind the last whole four bytes: there uWSGI takes as many
    bytes from the beginning of the key, and signed ones.
    """
    value = len(key) & _MASK
    whole = len(key) & ~3
    for start in range(0, whole, 4):
        part = int.from_bytes(key[start : start + 4], "little") * _MIX & _MASK
        part = (part ^ part >> 24) * _MIX & _MASK
        value = value * _MIX & _MASK ^ part
    rest = len(key) & 3
    if rest:
        for place in range(rest):
            value = (value ^ _signed(key[place]) << 8 * place) & _MASK
        value = value * _MIX & _MASK
    value = (value ^ value >> 13) * _MIX & _MASK
    return value ^ value >> 15


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


ALGORITHMS: dict[str, Callable[[bytes], int]] = {"djb33x": djb33x, "murmur2": murmur2}

"""What a cache's specification means for its file: the file's name, how much of it may be mapped, what must not change.

One idea: two configurations share a cache exactly if they come to the same file, so the name of a file in memory holds
everything that decides how its content is to be read. Pure.
"""

from __future__ import annotations

import hashlib
import os
from urllib.parse import quote

from uwsgirouter.settings.caching import CacheSpec, cache_specs, named

__all__ = ["SUFFIXES", "CacheSpec", "cache_specs", "file_of", "map_size", "named", "sizes"]

SUFFIXES = ("", "-lock", "-shared")
"""What the files of one cache end with: LMDB's data and lock, and the counters that are not worth a transaction."""

FORMAT = 1
PAGE = 4096
_NAME_MOST = 100
_MAP_MOST = 1 << 44
_SLACK = 64 << 20
_KEY_ROOM = 600
"""Bytes that a key takes in a tree at most, with what LMDB writes beside it."""


def file_of(spec: CacheSpec, directory: str) -> str:
    """The path of the cache's data: its store, or a file in ``directory`` whose name tells name and sizes."""
    if spec.store:
        return os.path.abspath(spec.store)
    shown = quote(spec.name, safe="")
    if len(shown) > _NAME_MOST:
        shown = hashlib.sha256(spec.name.encode("utf-8", "surrogateescape")).hexdigest()
    geometry = f"{FORMAT} {spec.items} {spec.blocks} {sizes(spec)}"
    return os.path.join(directory, f"{shown}.{hashlib.sha256(geometry.encode()).hexdigest()[:12]}")


def sizes(spec: CacheSpec) -> str:
    """What must stay the same as long as a store is used."""
    return f"blocksize={spec.blocksize},keysize={spec.keysize},bitmap={int(spec.bitmap)}"


def map_size(spec: CacheSpec) -> int:
    """Bytes of address space for the file. Memory or disk is taken only as the cache fills.

    Twice what a full cache needs: LMDB writes a changed page to a free place, and a value in several pages needs
    neighbours.
    """
    values = spec.blocks * (spec.blocksize + PAGE)
    keys = spec.items * 4 * _KEY_ROOM
    wanted = 2 * (values + keys) + _SLACK
    return min(_MAP_MOST, (wanted + PAGE - 1) // PAGE * PAGE)

"""Memory that the master shares with its children.

One idea: one function makes each mapping, before the first fork that needs it; pages that nobody touches cost nothing.
"""

from __future__ import annotations

import mmap

_MAP_NORESERVE = 0x4000


def shared(size: int) -> memoryview:
    """So many bytes, all 0. Raises OSError when the system has no room for them."""
    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    return memoryview(mmap.mmap(-1, size, flags=flags))

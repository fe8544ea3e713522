"""Memory that the master shares with its children.

One idea: it is an anonymous file, made before the first fork that needs it, so it outlives a program that is replaced
by another version; pages that nobody touches cost nothing.
"""

from __future__ import annotations

import mmap
import os


class SharedMemory:
    """So many bytes, all 0, or what is in the file ``descriptor``. Raises OSError when there can be none."""

    def __init__(self, name: str, size: int, descriptor: int = -1) -> None:
        if descriptor < 0:
            descriptor = os.memfd_create(f"uwsgirouter-{name}", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, size)
        else:
            os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self.view = memoryview(mmap.mmap(descriptor, size))

"""Memory that the master shares with its children, and leaves to the program that takes its place.

One idea: an anonymous file, mapped before the first fork that needs it; pages that nobody touches cost nothing. The
next program maps it again (master/succession.py).
"""

from __future__ import annotations

import mmap
import os


class SharedFile:
    """So many bytes, all 0; ``descriptor``: those that were handed over. Raises OSError."""

    def __init__(self, name: str, size: int, descriptor: int = -1) -> None:
        if descriptor < 0:
            descriptor = os.memfd_create(f"uwsgirouter-{name}", os.MFD_CLOEXEC)
            os.ftruncate(descriptor, size)
        else:
            os.set_inheritable(descriptor, False)
        self.descriptor = descriptor
        self.memory = memoryview(mmap.mmap(descriptor, size))

"""Long-lived objects: tens of thousands of nodes that the garbage collector need not look at again and again.

One idea: nodes are freed by their reference counts and are in no cycles, so a collection that walks through all of them
finds nothing, and takes a tenth of a second. When the table has grown, what is there is set aside (gc.freeze). That
happens at new heights only, a few dozen times in a process's life, so what little is set aside by mistake stays little.
"""

from __future__ import annotations

import gc

STEP, PART = 1000, 10
"""A new height is so many nodes above the last one, and a tenth of it."""


class LongLived:
    """What one process set aside."""

    def __init__(self) -> None:
        self._height = 0

    def look(self, nodes: int) -> None:
        """There are so many nodes now; to be called once a second."""
        if nodes >= self._height + self._height // PART + STEP:
            self._height = nodes
            gc.freeze()

"""Low-water marks: of a transfer in bulk the loop is told when a big piece has come, and not of each segment.

One idea: a pump that moves pages at full speed marks its source (SO_RCVLOWAT), so that it is woken once for 128 KB in
place of each 8 KB that a web server writes. What has come must never wait for what has not: a beat looks at the marked
pumps, and one that read nothing since the beat before loses its mark, for good, and reads what is there. An end, a
reset and a full receive buffer are told by the kernel in spite of a mark. It knows pumps and one socket option, nothing
of sessions. Invariant: the beat's timer runs exactly while a pump is marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uwsgirouter.worker.bulk import Bulk

MARK = 131072
"""Bytes that a marked source has when it is told to be readable."""
BEAT = 0.025
"""Seconds between two beats. Bytes below a mark wait two of them at most, once in a transfer."""

WHOLE = 1 << 62
"""What is still to come, where it is all that comes until the end."""


class Gathering:
    """Those transfers of one loop whose sources are marked."""

    def __init__(self, loop: Any) -> None:
        self._marked: set[Bulk] = set()
        self._timer = loop.timer(BEAT, BEAT)

    def add(self, bulk: Bulk) -> None:
        """Look after ``bulk`` from now on."""
        if not self._marked:
            self._timer.again(self.beat)
        self._marked.add(bulk)

    def remove(self, bulk: Bulk) -> None:
        """No longer."""
        self._marked.discard(bulk)
        if not self._marked:
            self._timer.stop()

    def beat(self) -> None:
        """Take the marks of those that read nothing since the last beat, then let these read what there is."""
        idle = [bulk for bulk in self._marked if not bulk.fed]
        for bulk in self._marked:
            bulk.fed = False
        for bulk in idle:
            bulk.unmark()
        for bulk in idle:
            bulk.look()


_gathering: Gathering | None = None


def gathering(loop: Any) -> Gathering:
    """The one of this worker, which has one loop."""
    global _gathering
    if _gathering is None:
        _gathering = Gathering(loop)
    return _gathering

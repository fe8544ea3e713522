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
    from uwsgirouter.worker.relay import Pump

MARK = 131072
"""Bytes that a marked source has when it is told to be readable."""
BEAT = 0.025
"""Seconds between two beats. Bytes below a mark wait two of them at most, once in a transfer."""

WHOLE = 1 << 62
"""What is still to come, where it is all that comes until the end."""


class Gathering:
    """The marked pumps of one loop."""

    def __init__(self, loop: Any) -> None:
        self._pumps: set[Pump] = set()
        self._timer = loop.timer(BEAT, BEAT)

    def add(self, pump: Pump) -> None:
        """Look after ``pump`` from now on."""
        if not self._pumps:
            self._timer.again(self.beat)
        self._pumps.add(pump)

    def remove(self, pump: Pump) -> None:
        """No longer."""
        self._pumps.discard(pump)
        if not self._pumps:
            self._timer.stop()

    def beat(self) -> None:
        """Take the marks of those that read nothing since the last beat, then let these read what there is."""
        idle = [pump for pump in self._pumps if not pump.fed]
        for pump in self._pumps:
            pump.fed = False
        for pump in idle:
            pump.unmark()
        for pump in idle:
            pump.look()


_gathering: Gathering | None = None


def gathering(loop: Any) -> Gathering:
    """The one of this worker, which has one loop."""
    global _gathering
    if _gathering is None:
        _gathering = Gathering(loop)
    return _gathering

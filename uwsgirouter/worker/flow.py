"""What a pump is doing, and what it tells its session.

One idea: the two sides of one agreement, apart from both: who reads a flow's state need not know how bytes are moved,
and who moves them need not know what an end or a failure means. Invariant: after a call that may have closed the
session (each may) the pump touches nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from uwsgirouter.worker.relay import Pump


class Flow(Enum):
    """What a pump is doing."""

    OPEN = "relaying"
    ENDING = "its source ended; the rest is being written"
    ENDED = "its end was passed on"
    DISCARDING = "its sink is gone; what comes is thrown away"


class Relaying(Protocol):
    """What a pump tells its session."""

    silence: int

    def moved(self, pump: Pump, count: int) -> None:
        """``count`` bytes were read."""

    def awaited(self, pump: Pump) -> int:
        """Bytes that the source still sends for sure, WHOLE if its end comes behind them, 0 if nobody knows."""

    def ended(self, pump: Pump) -> None:
        """The source ended and everything was written."""

    def source_failed(self, pump: Pump, error: OSError) -> None:
        """Reading failed: a reset."""

    def sink_failed(self, pump: Pump, error: OSError) -> None:
        """Writing failed: the peer is gone."""

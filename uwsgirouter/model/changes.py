"""What the registry tells of what it did: one value for each thing that happened to a node.

One idea: the registry decides and writes nothing; from these the master makes its log lines and what it sends to the
workers. No I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from uwsgirouter.model.events import Event
from uwsgirouter.settings.address import Address


class Happening(Enum):
    """Why a node changed."""

    NEW_POOL = "new pool"
    NEW = "new node"
    UPDATED = "announced with other values"
    BACK = "is back"
    LEAVING = "unsubscribed, sessions under way"
    LEFT = "unsubscribed"
    DRAINED = "drained"
    EXPIRED = "no announce received"
    FAILED = "failed"
    EJECTED = "reset, closed or did not answer, again and again"
    ODD_ALGO = "wishes an algorithm that does not exist"
    CONFIGURED = "configured"
    DISCARDED = "no longer configured"
    ORDERED = "an operator said so"
    RESTORED = "known from before the restart"
    CONFIRMED = "known from before the restart, and there"
    FULL = "registry full"
    NEW_VASSAL = "new node, its vassal does not run"
    AWAKE = "its vassal runs"
    ASLEEP = "its vassal does not run"
    FORGOTTEN = "nobody says any more that its vassal can be started"


@dataclass(frozen=True)
class Change:
    """One thing that happened to a node: the event to replay (None: nothing to send) and what to tell people.

    ``detail``: for how many seconds it is ejected, or the name of an odd algorithm.
    """

    happening: Happening
    key: bytes
    address: Address
    event: Event | None = None
    vassal: bytes = b""
    detail: str = ""

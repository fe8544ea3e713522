"""A worker's post: what the master gives it at the fork, and nothing that it would have to ask for.

One idea: everything that a worker needs is made or opened before the fork, by the master, and handed over here; so a
worker starts without a question and with no more than its own. Only values; what a worker does with them is its own
affair (worker/main.py). Invariant: whatever else the process has inherited it does not use.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uwsgirouter.model.counters import Counters
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.model.metrics import Metrics
    from uwsgirouter.model.tallies import NodeTallies
    from uwsgirouter.rules.limit_memory import LimitMemory
    from uwsgirouter.rules.table import Table


@dataclass
class Post:
    """What the master gives a worker: its number, its row, its sockets."""

    number: int
    settings: Settings
    listeners: list[socket.socket]
    names: list[str]
    announced: bool
    """Nodes come by announcement, not (only) from the configuration."""
    channel: socket.socket
    counters: Counters
    row: int
    """Its row in the shared memory."""
    sticky_secret: bytes
    """What sticky cookies are made with when the settings name no secret: the master's, for as long as it lives."""
    caches: str = ""
    """The directory of the named caches, empty when there are none."""
    rules: Table | None = None
    """The internal routing, None when there are no rules."""
    limits: LimitMemory | None = None
    """What limits are counted in, in memory that all workers share."""
    metrics: Metrics | None = None
    """The numbers that rules change, in memory that all workers share."""
    tallies: NodeTallies | None = None
    """Its row of what is counted of nodes; None: nobody asks."""
    measures: memoryview | None = None
    """Its part of what is measured of keys; None: nobody asks."""
    access: socket.socket | None = None
    """Where lines of the access log go, None when there is none."""

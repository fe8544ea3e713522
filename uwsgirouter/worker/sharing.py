"""How a worker shares requests out among nodes, as its settings want it.

One idea: settings are read here, once, at start; what they name stands elsewhere (balancers/choice.py,
worker/choice.py) and knows none of them. Invariant: what nobody configured is not made, so that it costs a request
nothing.
"""

from __future__ import annotations

import os
import time

from uwsgirouter.balancers.choice import balancing
from uwsgirouter.model.cores import FullNodes
from uwsgirouter.model.in_flight import InFlight
from uwsgirouter.model.slot import Balancing
from uwsgirouter.model.slow_start import SlowStart
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.choice import Choice
from uwsgirouter.worker.sticky import Sticky


def balancing_of(settings: Settings, inflight: InFlight) -> Balancing:
    """How slots share out."""
    seconds = settings.seconds("subscription-slow-start")
    return balancing(
        settings.text("subscription-algo"), inflight, SlowStart(seconds, time.monotonic) if seconds else None
    )


def choice_of(settings: Settings, inflight: InFlight, secret: bytes) -> Choice | None:
    """What decides beside the balancer; None: nothing does."""
    name = settings.text("fastrouter-sticky")
    full = FullNodes(inflight) if settings.flag("subscription-limit-cores") else None
    if not name and full is None:
        return None
    own = os.fsencode(settings.text("fastrouter-sticky-secret"))
    return Choice(Sticky(name, own or secret) if name else None, full)

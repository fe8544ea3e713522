"""Which observer a worker has: none, unless its configuration wants to know of requests.

One idea: the only place that knows which options observe; each adds its sink. It must not know what a sink does.
"""

from __future__ import annotations

from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.observer import Ids, Observer


def observer_of(settings: Settings, ids: Ids) -> Observer | None:
    """The observer that ``settings`` ask for; None when they ask for nothing."""
    passes_ids = settings.flag("request-id")
    return Observer(ids, passes_ids) if passes_ids else None

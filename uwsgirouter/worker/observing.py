"""Which observer a worker has: none, unless its configuration wants to know of requests.

One idea: the only place that knows which options observe; each adds its sink. It must not know what a sink does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.observer import Ids, Observer

if TYPE_CHECKING:
    from uwsgirouter.model.tallies import NodeTallies


def observer_of(
    settings: Settings, ids: Ids, tallies: NodeTallies | None = None, measures: memoryview | None = None
) -> Observer | None:
    """The observer that ``settings`` ask for; None when they ask for nothing. The others are the worker's memory for
    what is counted of nodes and measured of keys; None: nobody asks."""
    passes_ids = settings.flag("request-id")
    if not passes_ids and tallies is None and measures is None:
        return None
    observer = Observer(ids, passes_ids)
    observer.tallies = tallies
    if measures is not None:
        from uwsgirouter.worker.measures import KeyMeasures

        observer.sinks.append(KeyMeasures(measures).note)
    return observer

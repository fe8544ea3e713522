"""Takes the picture that the stats show: the only place that knows where in the master each part of it is.

One idea: it is called in a child of the master, whose copy of everything stands still. It changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from uwsgirouter import __version__, compiled
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.environment import Role
from uwsgirouter.cache.specs import cache_specs
from uwsgirouter.errors import BootError
from uwsgirouter.scripting.keeper import has_caches
from uwsgirouter.stats.picture import Naming, Picture, WorkerFacts

if TYPE_CHECKING:
    from uwsgirouter.master.supervisor import Supervisor


def picture(master: Supervisor, naming: Naming) -> Picture:
    """All that is known now. Only while ``master.observed`` has its memory."""
    tallies, measures = master.observed.tallies, master.observed.measures
    assert tallies is not None and measures is not None
    current = master.reload.current
    settings = current.settings
    endpoints = current.endpoints
    return Picture(
        version=__version__,
        compiled=compiled.describe(),
        pid=master.pid,
        uid=os.getuid(),
        gid=os.getgid(),
        directory=_directory(),
        began=master.began,
        generation=current.index,
        sockets=[bound.name for bound in (*endpoints.listeners, *endpoints.servers)],
        has_subscriptions=bool(endpoints.servers),
        has_static=bool(settings.addresses("fastrouter-to")),
        registry=master.registrar.registry,
        counters=master.counters,
        tallies=tallies,
        measures=measures,
        past_hits=master.observed.past_hits,
        workers=[
            WorkerFacts(member.pid, member.number, member.generation, member.row, member.life.name.lower())
            for member in master.fleet.members.values()
        ],
        datagrams=master.registrar.datagrams(),
        lines_dropped=master.looking.lines_dropped(),
        metrics=current.metrics,
        caches=lambda: _caches(master),
        keys_most=settings.number("metrics-keys"),
        naming=naming,
    )


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it is gone


def _caches(master: Supervisor) -> list[dict[str, object]]:
    settings = master.settings
    if not has_caches(settings):
        return []
    with contextlib.suppress(BootError):  # its keeper is just making it
        caches = Caches(cache_specs(settings), master.place.directory, role=Role.GUEST)
        try:
            return [cache.stats() for cache in caches]
        finally:
            caches.close()
    return []

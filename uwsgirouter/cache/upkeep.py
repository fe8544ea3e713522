"""What caches need from time to time: items whose life is over go, stores are written, runs of scripts are settled.

One idea: one process of a router does it (the one that runs the scripts), as often as the configuration says, so that
look-ups need not. ``now`` is passed in (monotonic seconds); it may wait for the disk and for other writers, which is
why it is not done where requests are served.
"""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.cache.base import NamedCache
from uwsgirouter.cache.caches import Caches
from uwsgirouter.settings.settings import Settings

IDLE = 1.0
"""Seconds between two looks for a run of scripts that failed."""
PENDING = 0.1
"""Seconds between two looks whether our own run is in force."""


class Upkeep:
    """The upkeep of ``caches`` by ``settings``. ``say`` gets what cache-report-freed-items asks for."""

    def __init__(self, caches: Caches, settings: Settings, say: Callable[[str], None], now: float) -> None:
        self._caches = caches
        self._say = say
        self._every = settings.seconds("cache-expire-freq")
        self._sweeps = not settings.flag("cache-no-expire")
        self._reports = settings.flag("cache-report-freed-items")
        self._next_sweep = now
        self._next_sync = {cache.spec.name: now + cache.spec.store_sync for cache in caches if self._syncs(cache)}

    def run(self, now: float) -> float:
        """Do what is due; the seconds until something is again."""
        if now >= self._next_sweep:
            self._next_sweep = now + self._every
            for cache in self._caches:
                self._sweep(cache)
        for name, moment in self._next_sync.items():
            if now >= moment:
                cache = self._caches.named(name)
                self._next_sync[name] = now + cache.spec.store_sync
                cache.sync()
        patience = IDLE if self._settle() else PENDING
        return max(0.0, min([self._next_sweep, now + patience, *self._next_sync.values()]) - now)

    def _settle(self) -> bool:
        """Whether our own run is in force in every cache."""
        settled = [cache.settle() for cache in self._caches]
        for cache in self._caches:
            if cache.recover():
                self._say(f"cache {cache.spec.name}: what a failed reload had set is undone")
        return all(settled)

    def _sweep(self, cache: NamedCache) -> None:
        cache.check_readers()
        if not self._sweeps or cache.spec.no_expire or cache.spec.lazy_expire:
            return
        freed = 0
        while some := cache.sweep():
            freed += some
        if freed and self._reports:
            self._say(f'freed {freed} items for cache "{cache.spec.name}"')

    @staticmethod
    def _syncs(cache: NamedCache) -> bool:
        return bool(cache.spec.store and cache.spec.store_sync)

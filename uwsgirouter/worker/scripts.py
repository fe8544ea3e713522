"""The operator's scripts in this worker: run once, for whoever needs them first.

One idea: a mapper that is a Python function, and rules that call functions, need the same things (the module
``uwsgi``, the caches of this process, a patched standard library), which exist once in a process: a cache's file
must not be opened twice. Raises BootError, in words for the operator, when a script fails.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from uwsgirouter.log import Log
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.cache.caches import Caches
    from uwsgirouter.worker.cache_links import CacheLinks


class Scripts:
    """``directory`` is that of the named caches (empty: there are none), ``worker`` our number."""

    def __init__(self, settings: Settings, directory: str, log: Log, worker: int = 0) -> None:
        self._settings = settings
        self._directory = directory
        self._log = log
        self._worker = worker
        self._caches: Caches | None = None
        self._links: CacheLinks | None = None
        self._module: ModuleType | None = None

    @property
    def caches(self) -> Caches | None:
        """This process's own: they are opened after the fork, when they are first asked for."""
        if self._caches is None and self._directory:
            from uwsgirouter.cache.caches import Caches, Elsewhere
            from uwsgirouter.cache.specs import cache_specs

            specs = cache_specs(self._settings)
            if any(spec.url for spec in specs):
                from uwsgirouter.worker.cache_links import CacheLinks

                self._links = CacheLinks(self._settings, self._log.say)
            elsewhere = Elsewhere.of(self._settings, self._links)
            self._caches = Caches(specs, self._directory, self._log.say, elsewhere=elsewhere)
        return self._caches

    def tick(self) -> None:
        """Called every second."""
        if self._links is not None:
            self._links.tick()

    def close(self) -> None:
        """The worker leaves."""
        if self._links is not None:
            self._links.close()

    def module(self) -> ModuleType:
        """The module ``uwsgi``, with shared-import run. What scripts wait for then holds up nobody else."""
        if self._module is None:
            from gevent import monkey

            from uwsgirouter.scripting.module import install
            from uwsgirouter.scripting.run import run_shared

            monkey.patch_all(signal=False)
            self._module = install(self._settings, self.caches, self._log, self._worker)
            run_shared(self._settings, self.caches)
        return self._module

    def module_for_rules(self) -> ModuleType:
        """The same, with import run, too: its functions are what rules call."""
        from uwsgirouter.scripting.run import run_imports

        module = self.module()
        run_imports(self._settings, self.caches)
        return module

"""The life of the process that runs the scripts and keeps the caches.

One idea: scripts are run once, before any worker starts; then the process stays, for the threads that they started and
for the upkeep of the caches. It is told how to say that it is ready and how to wait, so it knows nothing of the master.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from uwsgirouter.cache.caches import Caches, Elsewhere
from uwsgirouter.cache.environment import Role
from uwsgirouter.cache.specs import cache_specs
from uwsgirouter.cache.upkeep import Upkeep
from uwsgirouter.log import Log
from uwsgirouter.scripting.run import ScriptError, run_scripts
from uwsgirouter.settings.settings import Settings

DONE = 0
CANNOT_START = 3
SCRIPTS = ("file", "import", "shared-import")


def is_needed(settings: Settings) -> bool:
    """Whether the configuration has caches or scripts."""
    return has_caches(settings) or any(settings.is_set(name) for name in SCRIPTS)


def has_caches(settings: Settings) -> bool:
    """Whether the configuration has caches."""
    return settings.is_set("cache") or settings.is_set("cache2")


def keep(
    settings: Settings,
    directory: str,
    log: Log,
    ready: Callable[[], None],
    wait: Callable[[float | None], bool],
    is_reload: bool = False,
) -> int:
    """Run the scripts, call ``ready``, and keep the caches of ``directory`` until ``wait`` says no; the exit status.

    ``wait(seconds)`` waits so long (None: as long as it takes) and says whether to go on. Raises BootError.
    """
    caches = None
    if has_caches(settings):
        elsewhere = Elsewhere.of(settings)
        caches = Caches(cache_specs(settings), directory, log.say, Role.KEEPER, elsewhere=elsewhere)
    try:
        run_scripts(settings, caches, log, is_reload)
    except ScriptError as error:
        log.block(error.traceback)
        log.say(str(error))
        return CANNOT_START
    ready()
    upkeep = None if caches is None else Upkeep(caches, settings, log.say, time.monotonic())
    while wait(None if upkeep is None else upkeep.run(time.monotonic())):
        pass
    if caches is not None:
        caches.close()
    return DONE

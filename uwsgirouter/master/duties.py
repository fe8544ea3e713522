"""Which attendants a configuration needs.

One idea: one place that looks at the settings and says who else must be there before workers start. It may raise
BootError for what can be known before anything runs (a program that is not installed); it starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from uwsgirouter.cache.place import Place
from uwsgirouter.cache.specs import cache_specs
from uwsgirouter.log import Log
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.line import Line
from uwsgirouter.master.local_instance import local_instance
from uwsgirouter.master.sockets import Endpoints
from uwsgirouter.scripting.keeper import SCRIPTS, has_caches, is_needed, keep
from uwsgirouter.settings.application import is_served
from uwsgirouter.settings.settings import Settings


def duties_of(
    settings: Settings, endpoints: Endpoints, place: Place, is_reload: bool, reload: Callable[[str], None]
) -> list[Duty]:
    """The duties of one generation, in the order in which their attendants are started.

    ``reload(reason)`` is called when one of them asks for a reload. Raises BootError.
    """
    found = []
    if is_needed(settings):
        found.append(_scripts(settings, place, is_reload))
    if is_served(settings):
        found.append(local_instance(settings, endpoints, reload))
    return found


def prepare_place(settings: Settings, place: Place) -> None:
    """Have the directory for the caches that ``settings`` want. Raises BootError."""
    if has_caches(settings):
        place.prepare(*_user(settings))


def settle_place(settings: Settings, place: Place) -> None:
    """``settings`` are in force: the caches of others go."""
    place.settle(settings.source, cache_specs(settings), *_user(settings))


def _scripts(settings: Settings, place: Place, is_reload: bool) -> Duty:
    """The process that runs the scripts and keeps the caches; as the workers' user, who must read what it writes."""

    def body(line: Line) -> int:
        def wait(seconds: float | None) -> bool:
            return line.hear(seconds) is not None

        return keep(settings, place.directory, Log("uwsgirouter scripts"), line.ready, wait, is_reload)

    names = [os.path.basename(text) for option in SCRIPTS for text in settings.texts(option)]
    user, group = _user(settings)
    return Duty("scripts", body, title=f"scripts [{' '.join(names) or 'caches'}]", user=user, group=group)


def _user(settings: Settings) -> tuple[int | None, int | None]:
    return settings.optional_number("fastrouter-uid"), settings.optional_number("fastrouter-gid")

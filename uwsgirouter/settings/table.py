"""The table of options: one row each, and everything else derives from it.

The ini files, the command line, ``--help`` and docs/options.md all read this table; none of them knows an
option by itself. Invariant: a name (or alias) stands in one row only, and every default passes the row's own
check. An alias that starts with a dash (``-c``) exists on the command line alone.
"""

from __future__ import annotations

from uwsgirouter.settings.option import SECTIONS, Option, Type
from uwsgirouter.settings.rows import (
    application,
    balancing,
    cache,
    configuration,
    mapping,
    observing,
    process,
    router,
    routing,
    routing_services,
    sockets,
    subscription,
)

__all__ = ["BY_NAME", "OPTIONS", "SECTIONS", "WITHOUT_VALUE", "Option", "Type"]

WITHOUT_VALUE = frozenset({"if-reload", "if-not-reload", "else", "endif", "endfor"})
"""The logic rows that take no value."""

OPTIONS: tuple[Option, ...] = (
    router.ROWS
    + subscription.ROWS
    + balancing.ROWS
    + mapping.ROWS
    + cache.ROWS
    + routing.ROWS
    + routing_services.ROWS
    + application.ROWS
    + observing.ROWS
    + sockets.ROWS
    + process.ROWS
    + configuration.ROWS
)

BY_NAME: dict[str, Option] = {name: option for option in OPTIONS for name in (option.name, *option.aliases)}
"""Name or alias to row; the aliases of the command line have their dash."""

"""The rules of a configuration, for whoever loads one: the command line, the master at start and at each reload.

One idea: the parts are imported only when there is a rule. It decides nothing about rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.rows.routing import RULES
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.rules.table import Table

HEADERS = ("collect-header", "pull-header")


def load_rules(settings: Settings, warn: Callable[[str], None]) -> Table | None:
    """The table, None without rules. ``warn`` gets what the operator should know; what cannot be meant as it stands is
    an error where the reading is strict (as it is under --check). Raises :class:`ConfigError`.
    """
    if not any(settings.is_set(option) for option in (*RULES, *HEADERS)):
        return None
    from uwsgirouter.rules.table import Table

    doubts: list[str] = []
    table = Table.build(settings, doubts.append)
    if settings.flag("strict"):
        raise_all([ConfigError(text) for text in doubts])
    for text in (*doubts, *(table.notices if table else ())):
        warn(text)
    return table

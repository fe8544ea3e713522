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
    """The table, None without rules. ``warn`` gets what the operator should know; where the reading is strict (as it is
    under --check), that is an error. Raises :class:`ConfigError`.
    """
    if not any(settings.is_set(option) for option in (*RULES, *HEADERS)):
        return None
    from uwsgirouter.rules.table import Table

    if not settings.flag("strict"):
        return Table.build(settings, warn)
    doubts: list[ConfigError] = []
    table = Table.build(settings, lambda text: doubts.append(ConfigError(text)))
    raise_all(doubts)
    return table

"""The rows of a control socket's answer as a table for people.

One idea: what comes from a router was announced by somebody, so nothing of it reaches a terminal unescaped. Columns are
as wide as what is in them; the last one, the reason, is cut to the width of the screen when there is one. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from uwsgirouter.control.base import shown
from uwsgirouter.control.channel import Row

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SHORTEST_WHY = 12


def age(seconds: float) -> str:
    """A time span in two units at most: 7s, 3m05s, 2h10m, 4d03h."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"


def name(row: Row) -> str:
    """How a node is called: its address, or its vassal while it has none."""
    return shown(row.get("node") or f"vassal {row.get('vassal')}")


def _weight(row: Row, now: float) -> str:
    weight, own = row.get("weight"), row.get("own_weight")
    if weight is None:
        return "-"
    return f"{weight} ({own})" if own not in (None, weight) else f"{weight}"


def _since(field: str) -> Callable[[Row, float], str]:
    def cell(row: Row, now: float) -> str:
        moment = row.get(field)
        return age(now - moment) if isinstance(moment, (int, float)) else "-"

    return cell


def _plain(field: str) -> Callable[[Row, float], str]:
    def cell(row: Row, now: float) -> str:
        value = row.get(field)
        return "-" if value is None or value == "" else shown(value)

    return cell


def _cores(row: Row, now: float) -> str:
    return shown(row.get("cores") or "-")


_COLUMNS: tuple[tuple[str, Callable[[Row, float], str]], ...] = (
    ("KEY", _plain("key")),
    ("NODE", lambda row, now: name(row)),
    ("STATE", _plain("state")),
    ("SINCE", _since("since")),
    ("WEIGHT", _weight),
    ("CORES", _cores),
    ("IN FLIGHT", _plain("in_flight")),
    ("LOAD", _plain("load")),
    ("BACKUP", _plain("backup")),
    ("ALGO", _plain("algo")),
    ("ANNOUNCED", _since("announced")),
)
_RIGHT = {"SINCE", "WEIGHT", "CORES", "IN FLIGHT", "LOAD", "BACKUP", "ANNOUNCED"}


def sort(rows: list[Row]) -> list[Row]:
    """By key; the nodes of a key stay in the router's order."""
    return sorted(rows, key=lambda row: str(row.get("key")))


def table(rows: Sequence[Row], now: float, width: int | None = None) -> list[str]:
    """The lines, a head first; ``now`` is the wall clock's, ``width`` that of the screen."""
    cells = [[title for title, _ in _COLUMNS], *([cell(row, now) for _, cell in _COLUMNS] for row in rows)]
    whys = ["WHY", *(shown(row.get("why", "")) for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(_COLUMNS))]
    lines = []
    for line, why in zip(cells, whys, strict=True):
        padded = [
            cell.rjust(size) if title in _RIGHT else cell.ljust(size)
            for (title, _), cell, size in zip(_COLUMNS, line, widths, strict=True)
        ]
        start = "  ".join(padded) + "  "
        room = len(why) if width is None else max(_SHORTEST_WHY, width - len(start))
        lines.append((start + (why if len(why) <= room else why[: room - 3] + "...")).rstrip())
    return lines

"""News of a router in words, one line a piece.

One idea: what comes from a router has names in it that somebody announced, so all of it is made printable here. Pure.
"""

from __future__ import annotations

import time
from typing import Any

from uwsgirouter.control.base import shown
from uwsgirouter.control.listing import age

_LAST_MOMENT = 1e11
"""What a clock of seconds can say at most; what is beyond came from no clock."""


def told(event: dict[str, Any], now: float | None = None) -> str:
    """``event`` in a line: with how long ago it was at ``now``, or else with the time of day."""
    moment = event.get("at")
    if isinstance(moment, bool) or not isinstance(moment, (int, float)) or not 0 <= moment < _LAST_MOMENT:
        moment = 0.0
    when = time.strftime("%H:%M:%S", time.localtime(moment)) if now is None else f"{age(now - moment):>6} ago"
    return f"{when}  {_what(event)}"


def _what(event: dict[str, Any]) -> str:
    kind = event.get("kind")
    if kind == "node":
        was, state = event.get("was"), event.get("state")
        change = f"{shown(state)}" if was in (None, state) else f"{shown(was)} -> {shown(state)}"
        new = "new, " if was is None else ""
        order = event.get("order")
        word = f", by order: {shown(order)}" if order not in (None, "ready") else ""
        why = f" ({shown(event['why'])})" if event.get("why") else ""
        return f"node {shown(event.get('node'))} of {shown(event.get('key'))}: {new}{change}{word}{why}"
    if kind == "nodes":
        changes = event.get("changes")
        changes = changes if isinstance(changes, dict) else {}
        parts = [f"{shown(number)} {shown(change)}" for change, number in changes.items()]
        return f"{shown(event.get('count'))} nodes at once: {', '.join(parts)}"
    if kind == "missed":
        return f"... {shown(event.get('count'))} events were missed"
    return shown(event.get("text", kind))

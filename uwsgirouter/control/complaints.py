"""What of a router's status needs an operator, worst first, one line each.

One idea: the status says what is; what of it is wrong is judged here alone, for people (the first lines that they
read) and for monitoring (``status --check``) alike. Pure. What clients do wrong (a missing host, a body that ends) is
no complaint, nor what was configured to be (a rule that refuses), nor a node that is out while others serve its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from uwsgirouter.control.base import shown
from uwsgirouter.control.listing import age

Status = dict[str, Any]

CLIENTS_FAULT = frozenset(
    (
        "bad-packet",
        "no-key",
        "bad-key",
        "bad-header",
        "body-cut",
        "client-timeout",
        "too-large",
        "no-file",
        "limited",
        "rule-break",
    )
)
"""Causes that are no fault of the router's or its nodes'."""


def complaints(status: Status, now: float, allowed: int = 0) -> list[str]:
    """The lines, none when all is well. ``now`` is the wall clock's; ``allowed``: failed requests in the last minute
    that are nothing to speak of."""
    return [line for judge in _JUDGES for line in judge(status, now, allowed)]


def _stage(status: Status, now: float, allowed: int) -> Iterator[str]:
    if status["stage"] in ("stopping", "running without workers"):
        yield f"the router is {status['stage']}"
    if status["frozen"]:
        yield f"no more workers can be started by the configuration in force: {shown(status['frozen'])}"


def _workers(status: Status, now: float, allowed: int) -> Iterator[str]:
    for row in status["workers"]:
        if row["stuck"]:
            yield (
                f"worker {row['number']} (pid {row['pid']}) is stuck for {row['silent']:.0f} s with {row['sessions']} "
                "sessions; the log says where"
            )
    present = sum(
        row["generation"] == status["generation"] and row["state"] in ("serving", "cheap") for row in status["workers"]
    )
    missing = status["workers_wanted"] - present - status["workers_more"]
    if missing > 0 and status["stage"] in ("running", "reloading", "upgrading"):
        again = f"; {status['deaths']} died in the last minute" if status["deaths"] else ""
        wait = f", the next one starts in {status['respawn_in']:.1f} s" if status["respawn_in"] else ""
        yield f"{missing} of {status['workers_wanted']} workers do not serve{again}{wait}"
    elif status["deaths"] > 1:
        yield f"{status['deaths']} workers died in the last minute"
    for name in status["attendants_missing"]:
        yield f"{shown(name)} does not run, or is not ready yet"


def _setbacks(status: Status, now: float, allowed: int) -> Iterator[str]:
    failed = status["reload_failed"]
    if failed is not None:
        since = age(now - failed["at"])
        yield f"the last reload failed {since} ago, the configuration before it is in force: {shown(failed['reason'])}"
    failed = status["upgrade_failed"]
    if failed is not None:
        yield f"the last upgrade failed {age(now - failed['at'])} ago: {shown(failed['reason'])}"


def _keys(status: Status, now: float, allowed: int) -> Iterator[str]:
    if status["unserved"]:
        keys = ", ".join(map(shown, status["unserved"]))
        more = f" and {status['unserved_more']} more" if status["unserved_more"] else ""
        number = len(status["unserved"]) + status["unserved_more"]
        yield f"{number} of {status['keys']} keys have no node that serves: {keys}{more}"


def _failures(status: Status, now: float, allowed: int) -> Iterator[str]:
    rows = [row for row in status["failures"] if row["last_minute"] and row["cause"] not in CLIENTS_FAULT]
    if sum(row["last_minute"] for row in rows) <= allowed:
        return
    for row in rows:
        last = row.get("last")
        where = f"; the last one: key {shown(last['key']) or '-'}" if last else ""
        if last and last["node"]:
            where += f", node {shown(last['node'])}"
        if last and last["detail"]:
            where += f" ({shown(last['detail'])})"
        requests = max(row["last_minute"], status["lately"]["requests"])
        yield f"{row['last_minute']} of {requests} requests of the last minute failed: {shown(row['cause'])}{where}"


def _losses(status: Status, now: float, allowed: int) -> Iterator[str]:
    lately = status["lately"]
    for row in status["listeners"]:
        if row["room"] and row["waiting"] is not None and row["waiting"] >= row["room"]:
            yield f"{shown(row['name'])} is full: {row['waiting']} connections wait to be accepted (listen)"
    if lately["accept_errors"]:
        yield f"{lately['accept_errors']} times in the last minute no connection could be accepted (descriptors?)"
    if lately["datagrams_rejected"]:
        yield f"{lately['datagrams_rejected']} announcements were refused in the last minute; the log says whose"
    if lately["datagrams_lost"]:
        yield f"{lately['datagrams_lost']} announcements were lost in the last minute: more come than can be read"
    if lately["log_lines_dropped"]:
        yield f"{lately['log_lines_dropped']} lines of the log were dropped in the last minute: nobody took them"


_JUDGES: tuple[Callable[[Status, float, int], Iterator[str]], ...] = (
    _stage,
    _workers,
    _setbacks,
    _keys,
    _failures,
    _losses,
)

"""What of a status needs an operator: each trouble has its line, and nothing else has one."""

from __future__ import annotations

from typing import Any

import pytest

from uwsgirouter.control.complaints import CLIENTS_FAULT, complaints
from uwsgirouter.control.status import lines
from uwsgirouter.protocol.answers import Cause

NOW = 1_000_000.0
Status = dict[str, Any]
TOTALS = (
    *("requests", "answered", "retries", "failed_connects"),
    *("clients_gone", "cut_off", "bytes_to_nodes", "bytes_from_nodes"),
)


def worker(number: int, **fields: object) -> dict[str, object]:
    made: dict[str, object] = {
        "number": number,
        "pid": 100 + number,
        "generation": 1,
        "state": "serving",
        "stuck": False,
        "silent": 0.4,
        "age": 70.0,
        "leaves_in": None,
        "sessions": 3,
        "requests": 1000,
        "rss": 50 << 20,
        "cpu": 1.5,
    }
    return made | fields


def failure(cause: str, lately: int = 1, **last: object) -> dict[str, object]:
    """A row; with ``last``, the last request of its kind."""
    sample = {"at": NOW - 3, "worker": 1, "key": "a.example", "node": "", "detail": "", "id": "i"} | last
    row: dict[str, object] = {
        "cause": cause,
        "status": 502,
        "sentence": "It failed.",
        "total": 9,
        "last_minute": lately,
    }
    return row | ({"last": sample} if last else {})


def status(**fields: object) -> Status:
    """One of a router that is well, changed."""
    made: Status = {
        "version": "1",
        "form": "compiled",
        "pid": 99,
        "stage": "running",
        "source": "r.conf",
        "uptime": 3700.0,
        "generation": 1,
        "reload_failed": None,
        "upgrade_failed": None,
        "frozen": "",
        "workers_wanted": 2,
        "workers": [worker(1), worker(2)],
        "workers_more": 0,
        "deaths": 0,
        "respawn_in": None,
        "attendants": [{"name": "scripts", "pid": 7, "generation": 1, "state": "ready", "age": 70.0}],
        "attendants_missing": [],
        "listeners": [
            {"name": "127.0.0.1:1", "waiting": 0, "room": 100},
            {"name": "/s", "waiting": None, "room": None},
        ],
        "keys": 2,
        "nodes": {"up": 3, "down": 1},
        "unserved": [],
        "unserved_more": 0,
        "out_of_service": [
            {"key": "b", "node": "n", "state": "down", "order": "ready", "since": NOW - 9, "why": "refused"}
        ],
        "out_of_service_more": 4,
        "totals": dict.fromkeys(TOTALS, 5),
        "lately": {
            "requests": 40,
            "accept_errors": 0,
            "log_lines_dropped": 0,
            "datagrams_rejected": 0,
            "datagrams_lost": 0,
            "backlog_overflows": 0,
        },
        "failures": [],
        "datagrams_rejected": "",
        "log_lines_dropped": 0,
        "events": [{"event": 1, "at": NOW - 5, "kind": "router", "text": "spawned"}],
    }
    lately = fields.pop("lately", {})
    assert isinstance(lately, dict)
    return made | fields | {"lately": made["lately"] | lately}


def test_all_is_well() -> None:
    made = status()
    assert complaints(made, NOW) == []
    text = list(lines(made, NOW, []))
    assert text[0] == "nothing needs an operator"
    assert text[1] == "uwsgirouter 1 (compiled), master pid 99, up 1h01m, r.conf: running"
    assert "  n of b is down for 9s: refused" in text
    assert "listeners (connections that wait): 127.0.0.1:1 (0 of 100), /s" in text


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"stage": "stopping"}, "the router is stopping"),
        ({"frozen": "no such file"}, "no more workers can be started by the configuration in force: no such file"),
        (
            {"workers": [worker(1), worker(2, stuck=True, silent=7.3)]},
            "worker 2 (pid 102) is stuck for 7 s with 3 sessions; the log says where",
        ),
        (
            {"workers": [worker(1), worker(2, state="starting")], "deaths": 12, "respawn_in": 4.0},
            "1 of 2 workers do not serve; 12 died in the last minute, the next one starts in 4.0 s",
        ),
        ({"workers": [worker(1), worker(2, generation=0)]}, "1 of 2 workers do not serve"),
        ({"deaths": 3}, "3 workers died in the last minute"),
        ({"attendants_missing": ["resolver"]}, "resolver does not run, or is not ready yet"),
        (
            {"reload_failed": {"at": NOW - 125, "reason": "r.conf:3: no option x"}},
            "the last reload failed 2m05s ago, the configuration before it is in force: r.conf:3: no option x",
        ),
        ({"upgrade_failed": {"at": NOW - 1, "reason": "boom"}}, "the last upgrade failed 1s ago: boom"),
        (
            {"unserved": ["a.example", "b.example"], "unserved_more": 40, "keys": 2000},
            "42 of 2000 keys have no node that serves: a.example, b.example and 40 more",
        ),
        (
            {"failures": [failure("connect-failed", 4, node="1:1", detail="Connection refused")]},
            "4 of 40 requests of the last minute failed: connect-failed; the last one: key a.example, node 1:1 "
            "(Connection refused)",
        ),
        ({"failures": [failure("storage")]}, "1 of 40 requests of the last minute failed: storage"),
        (
            {"listeners": [{"name": "[::1]:1", "waiting": 101, "room": 100}]},
            "[::1]:1 is full: 101 connections wait to be accepted (listen)",
        ),
        (
            {"lately": {"accept_errors": 2}},
            "2 times in the last minute no connection could be accepted (descriptors?)",
        ),
        ({"lately": {"datagrams_rejected": 2}}, "2 announcements were refused in the last minute; the log says whose"),
        (
            {"lately": {"datagrams_lost": 2}},
            "2 announcements were lost in the last minute: more come than can be read",
        ),
        (
            {"lately": {"log_lines_dropped": 2}},
            "2 lines of the log were dropped in the last minute: nobody took them",
        ),
    ],
)
def test_a_trouble(fields: dict[str, object], line: str) -> None:
    made = status(**fields)
    assert complaints(made, NOW) == [line]
    assert next(lines(made, NOW, [line])) == f"TROUBLE: {line}"


@pytest.mark.parametrize(
    "fields",
    [
        {"stage": "reloading", "workers": [worker(1), worker(2), worker(1, generation=2, state="starting")]},
        {"workers": [worker(1), worker(2, state="cheap")]},
        {"deaths": 1},
        {"failures": [failure("connect-failed", 0)]},
        {"failures": [failure(cause) for cause in CLIENTS_FAULT]},
        {"lately": {"backlog_overflows": 9}},
    ],
)
def test_what_needs_nobody(fields: dict[str, object]) -> None:
    assert complaints(status(**fields), NOW) == []


def test_some_failures_may_be_allowed() -> None:
    made = status(failures=[failure("connect-failed", 3), failure("no-key", 50), failure("storage", 2)])
    assert len(complaints(made, NOW, 4)) == 2
    assert complaints(made, NOW, 5) == []


def test_causes_are_those_that_there_are() -> None:
    assert {cause.value.word for cause in Cause} >= CLIENTS_FAULT


def test_several_at_once_each_have_a_line() -> None:
    made = status(stage="running without workers", workers=[], reload_failed={"at": NOW, "reason": "x"})
    assert len(complaints(made, NOW)) == 2

"""status, top, events and trace against a scripted router: what they print, their exit codes, odd answers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.control.test_complaints import status, worker
from tests.control.test_listing import row
from tests.control.test_operating import PATIENCE, Scripted, answer, start
from tests.servers import Servers
from uwsgirouter.control.base import Exit
from uwsgirouter.control.finding import VARIABLE
from uwsgirouter.control.main import run
from uwsgirouter.control.telling import told

ESCAPE = "\x1b[2J"
EVENT = {"event": 7, "at": 1.0, "kind": "router", "text": "reloaded"}
TRACE: dict[str, Any] = {
    "worker": 1,
    "id": "i",
    "key": "a",
    "request": "::1 GET a /",
    "node": "n:1",
    "cause": None,
    "phase": "closed",
    "tries": 1,
    "status": 200,
    "omitted": 2,
    "to_node": 3,
    "from_node": 4,
    "queue_ms": 0.5,
    "connect_ms": None,
    "ttfb_ms": None,
    "total_ms": 1.25,
    "steps": [[0.1, "dial n:1"]],
}
OK = {"ok": True}


@pytest.fixture
def router(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    made = Scripted(servers.path("c.sock"))
    monkeypatch.setenv(VARIABLE, made.path)
    yield made
    made.close()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was printed since the last look."""

    def look() -> str:
        out, err = capsys.readouterr()
        return out + err

    return look


# -- status --------------------------------------------------------------------------------------------------------


def test_status(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [[{"status": status()}, OK]]
    assert run(["status"]) is Exit.OK
    assert said().startswith("nothing needs an operator\nuwsgirouter 1 (compiled)")
    assert run(["status", "--json"]) is Exit.OK
    assert json.loads(said()) == status()
    assert router.asked == [{"command": "status"}] * 2


def test_check_is_for_monitoring(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [[{"status": status()}, OK]]
    assert run(["status", "--check"]) is Exit.OK
    assert said() == "ok\n"
    router.answers = [[{"status": status(workers=[worker(1, stuck=True), worker(2)], deaths=3)}, OK]]
    assert run(["status", "--check"]) is Exit.TROUBLE
    assert [line.split()[0] for line in said().splitlines()] == ["worker", "3"]
    failing = [{"cause": "no-node", "status": 503, "sentence": "", "total": 5, "last_minute": 5}]
    router.answers = [[{"status": status(failures=failing)}, OK]]
    assert run(["status", "--check", "--allow", "5"]) is Exit.OK
    assert run(["status", "--check", "--allow", "4"]) is Exit.TROUBLE


@pytest.mark.parametrize("found", [None, {}, {"status": 7}, {"status": {}}, {"status": {"workers": 7}}])
@pytest.mark.parametrize("command", [["status"], ["status", "--check"], ["top", "--once", "--every", "0.01"]])
def test_a_status_that_is_none(
    router: Scripted, said: Callable[[], str], command: list[str], found: dict[str, object] | None
) -> None:
    router.answers = [[*([found] if found is not None else []), OK]]
    assert run(command) is Exit.BAD_HEAD
    assert re.match(rf"uwsgirouterctl {command[0]}: (the router.s|the router gave no|\S+ this is not how)", said())


def test_a_router_of_before(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [[{"error": "no command 'status'; there are: nodes", "trouble": "bad-request"}]]
    for command in (["status"], ["top"], ["events"], ["trace", "a"]):
        assert run(command) is Exit.USAGE
        assert "no command 'status'" in said()


# -- what goes on ----------------------------------------------------------------------------------------------------


def test_events(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [[EVENT, {"alive": True}, EVENT | {"text": "again", "at": 2.0}, OK]]
    assert run(["events", "--no-follow", "--last", "2"]) is Exit.OK
    assert [line.split("  ")[1] for line in said().splitlines()] == ["reloaded", "again"]
    assert run(["events", "--no-follow", "--json"]) is Exit.OK
    assert [json.loads(line)["text"] for line in said().splitlines()] == ["reloaded", "again"]
    assert router.asked[0] == {"command": "events", "last": 2, "follow": False}


def test_events_outlast_a_router(router: Scripted) -> None:
    """The next one tells what it has kept: nothing is printed twice."""
    first, second = EVENT | {"at": 10.0}, EVENT | {"event": 1, "at": 11.0, "text": "back"}
    whole = [json.dumps(piece).encode() + b"\n" for piece in (first, second)]
    router.answers = [whole[0], whole[0] + whole[1] + b'{"ok": true}\n']
    looking = start(router, "events", stdout=subprocess.PIPE)
    try:
        assert looking.stdout is not None and looking.stderr is not None
        assert looking.stdout.readline().endswith("  reloaded\n")
        assert "in the middle of its answer; waiting for the router" in looking.stderr.readline()
        assert looking.stdout.readline().endswith("  back\n")
        looking.send_signal(signal.SIGINT)
        rest, _ = looking.communicate(timeout=PATIENCE)
    finally:
        looking.kill()
        looking.communicate()
    assert not rest and looking.returncode == 0
    assert router.asked[1] == {"command": "events", "last": 1000, "follow": True}


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            {"kind": "node", "key": "a", "node": "n", "was": "up", "state": "down", "order": "ready", "why": "refused"},
            "node n of a: up -> down (refused)",
        ),
        ({"kind": "node", "key": "a", "node": "n", "was": None, "state": "up", "why": ""}, "node n of a: new, up"),
        (
            {"kind": "node", "key": "a", "node": "n", "was": "up", "state": "draining", "order": "drain"},
            "node n of a: up -> draining, by order: drain",
        ),
        ({"kind": "nodes", "count": 9, "changes": {"new -> up": 9}}, "9 nodes at once: 9 new -> up"),
        ({"kind": "missed", "count": 3}, "... 3 events were missed"),
        ({"kind": "unheard-of"}, "unheard-of"),
        ({"kind": "nodes", "count": None, "changes": 7}, "None nodes at once: "),
        ({}, "None"),
    ],
)
def test_an_event_in_words(event: dict[str, object], text: str) -> None:
    assert told(event | {"at": 90.0}, 100.0) == f"   10s ago  {text}"


@pytest.mark.parametrize("moment", [None, "x", True, -1, 1e300, float("nan"), float("inf"), []])
def test_a_moment_that_is_none(moment: object) -> None:
    assert told({"at": moment, "kind": "router", "text": "x"}).endswith("  x")


def test_a_trace(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [[{"tracing": "a", "workers": 1}, {"trace": TRACE}, {"missed": 3}, OK]]
    assert run(["trace", "a", "-n", "4"]) is Exit.OK
    assert said().splitlines() == [
        "request i key a worker 1: ::1 GET a /",
        "      0.100 ms  dial n:1",
        "  ... and 2 steps more",
        "  status 200 by n:1, 1 tries; 3 bytes to nodes, 4 from them; queue 0.500 ms; total 1.250 ms",
        "uwsgirouterctl trace: waiting for a request of a ...",
        "uwsgirouterctl trace: 3 requests are not shown: they came faster than they were read",
    ]
    assert router.asked == [{"command": "trace", "key": "a", "count": 4}]
    router.answers = [[{"tracing": "a", "workers": 1}, {"trace": TRACE}, OK]]
    assert run(["trace", "a", "--json"]) is Exit.OK
    assert json.loads(said()) == TRACE


@pytest.mark.parametrize(
    "trace", [{}, TRACE | {"steps": 7}, TRACE | {"steps": [["x", "y"]]}, TRACE | {"total_ms": "x"}]
)
def test_a_trace_that_is_none(router: Scripted, said: Callable[[], str], trace: dict[str, object]) -> None:
    router.answers = [[{"trace": trace}, OK]]
    assert run(["trace", "a"]) is Exit.BAD_HEAD
    assert "is it of another version" in said()


def test_a_router_that_ends_under_a_trace(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [b'{"tracing":"a","workers":1}\n']
    assert run(["trace", "a"]) is Exit.CUT
    assert "in the middle of its answer" in said()


def test_ctrl_c_is_an_end(router: Scripted) -> None:
    router.answers = [[{"tracing": "a", "workers": 1}]]
    looking = start(router, "trace", "a", stdout=subprocess.PIPE)
    try:
        assert looking.stderr is not None
        assert "waiting" in looking.stderr.readline()
        looking.send_signal(signal.SIGINT)
        assert looking.communicate(timeout=PATIENCE) == ("", "")
    finally:
        looking.kill()
        looking.communicate()
    assert looking.returncode == 0


def test_nothing_of_it_reaches_a_terminal(router: Scripted, said: Callable[[], str]) -> None:
    evil = {"key": ESCAPE, "node": ESCAPE, "why": ESCAPE, "state": ESCAPE}
    last = {"at": 1.0, "worker": 1, "key": ESCAPE, "node": ESCAPE, "detail": ESCAPE, "id": ESCAPE}
    failing = [{"cause": ESCAPE, "status": 503, "sentence": ESCAPE, "total": 5, "last_minute": 5, "last": last}]
    made = status(
        failures=failing,
        unserved=[ESCAPE],
        out_of_service=[evil | {"since": 1.0}],
        events=[EVENT | {"text": ESCAPE}, EVENT | {"kind": "node"} | evil],
        reload_failed={"at": 1.0, "reason": ESCAPE},
        stage=ESCAPE,
        frozen=ESCAPE,
        source=ESCAPE,
        attendants_missing=[ESCAPE],
        datagrams_rejected=ESCAPE,
    )
    router.answers = [[{"status": made}, OK]]
    run(["status"])
    router.answers = [[EVENT | {"text": ESCAPE}, EVENT | {"kind": "node", "was": ESCAPE, "order": ESCAPE} | evil, OK]]
    run(["events", "--no-follow"])
    texts = dict.fromkeys(("id", "key", "request", "node", "cause"), ESCAPE)
    router.answers = [[{"trace": TRACE | texts | {"steps": [[1, ESCAPE]]}}, OK]]
    run(["trace", ESCAPE])
    router.answers = [[{"status": made}, OK], answer(row(key=ESCAPE)), [{"status": made}, OK], answer(row(key=ESCAPE))]
    run(["top", "--once", "--every", "0.01"])
    text = said()
    assert "\x1b" not in text and text.count("\\x1b[2J") > 20


# -- top -----------------------------------------------------------------------------------------------------------


def looks(*counts: int) -> list[Any]:
    """Answers to a top that looks so many times: the requests of a node."""
    found: list[Any] = []
    for count in counts:
        totals = status()["totals"] | {"requests": count, "bytes_to_nodes": count, "bytes_from_nodes": 1000 * count}
        found.append([{"status": status(totals=totals)}, OK])
        found.append(answer(row(requests=count, tx=0, rx=0, failed_connects=0), row(key="quiet.example", state="down")))
    return found


def test_top_once(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = looks(100, 200)
    assert run(["top", "--once", "--every", "0.1"]) is Exit.OK
    text = said()
    assert re.search(r"\n *foo\.com +[5-9]\d\d\.\d ", text), text
    assert text.index("foo.com") < text.index("quiet.example")
    router.answers = looks(100, 200)
    assert run(["top", "--once", "--every", "0.1", "--json", "--sort", "failures"]) is Exit.OK
    found = json.loads(said())
    assert [key["key"] for key in found["keys"]] == ["quiet.example", "foo.com"]
    assert 300 < found["requests"] <= 1000


def test_top_goes_on_when_the_router_is_restarted(router: Scripted) -> None:
    router.answers = [*looks(100), b"", *looks(100, 200)]
    looking = start(router, "top", "--every", "0.05", "--json", stdout=subprocess.PIPE)
    try:
        assert looking.stdout is not None and looking.stderr is not None
        assert "in the middle of its answer" in looking.stderr.readline()
        assert json.loads(looking.stdout.readline())["keys"]
        looking.send_signal(signal.SIGINT)
        looking.communicate(timeout=PATIENCE)
    finally:
        looking.kill()
        looking.communicate()
    assert looking.returncode == 0


def test_top_on_a_terminal_fits_its_screen(router: Scripted) -> None:
    rows = [row(key=f"key{number}.example", requests=1) for number in range(100)]
    router.answers = [*[one for _ in range(50) for one in ([{"status": status()}, OK], answer(*rows))]]
    upper, lower = pty.openpty()
    os.set_inheritable(lower, True)
    looking = start(router, "top", "--every", "0.05", stdout=lower, COLUMNS="80", LINES="20", TERM="xterm")
    os.close(lower)
    try:
        text = b""
        while b"more keys" not in text:
            text += os.read(upper, 65536)
        looking.send_signal(signal.SIGINT)
        looking.communicate(timeout=PATIENCE)
    finally:
        looking.kill()
        looking.communicate()
        os.close(upper)
    assert looking.returncode == 0
    assert b"key0.example" in text and b"key50.example" not in text


# -- which router ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["status"], ["status", "--check"], ["top"], ["events"], ["trace", "a"]])
def test_no_router(servers: Servers, said: Callable[[], str], command: list[str]) -> None:
    config = servers.directory / "r.conf"
    config.write_text("[uwsgirouter]\nfastrouter = :0\n")
    assert run([*command, "-c", str(config)]) is Exit.NOT_FOUND
    assert "add control-socket = PATH and reload the router" in said()
    dead = servers.path("dead.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(dead)
    assert run([*command, "--control", dead]) is Exit.NO_CONNECTION
    assert "the router is not running" in said()

"""nodes, drain, ready, down, weight and wait against a scripted router: what they say, and their exit codes.

What a real router answers is shown by tests/end_to_end/test_operators.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.control.test_listing import row
from tests.servers import Servers
from tests.servers.programs import environment
from uwsgirouter.control import channel
from uwsgirouter.control.base import Exit
from uwsgirouter.control.finding import VARIABLE
from uwsgirouter.control.main import run

PATIENCE = 20.0
Request = dict[str, object]
Lines = list[object]
NO_KEY = {"error": "no nodes under key foo.com; there are no nodes at all", "trouble": "no-key", "settled": True}


def answer(*rows: object, settled: bool = True) -> Lines:
    return [*({"node": one} for one in rows), {"ok": True, "nodes": len(rows), "settled": settled}]


class Scripted:
    """A control socket whose answers are given one after the other, the last one again and again."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.asked: list[Request] = []
        self.answers: list[Lines | bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A client may leave in the middle of what is said to it.
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as file:
            for line in file:
                self.asked.append(json.loads(line))
                said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(said, bytes):
                    connection.sendall(said)
                    return
                connection.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in said))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)


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


# -- nodes ----------------------------------------------------------------------------------------------------------


def test_nodes(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [answer(row(), row(key="bar.com"))]
    assert run(["nodes"]) is Exit.OK
    lines = said().splitlines()
    assert [line.split()[0] for line in lines] == ["KEY", "bar.com", "foo.com"]
    assert run(["nodes", "foo.com", "--json"]) is Exit.OK
    assert json.loads(said()) == [row(key="bar.com"), row()]
    assert router.asked == [{"command": "nodes"}, {"command": "nodes", "key": "foo.com"}]


def test_a_key_of_any_bytes(router: Scripted) -> None:
    router.answers = [answer()]
    assert run(["nodes", os.fsdecode(b"caf\xe9")]) is Exit.OK
    assert router.asked == [{"command": "nodes", "key": "caf\udce9"}]


def test_watch_ends_with_an_interrupt(router: Scripted) -> None:
    router.answers = [answer(row()), [NO_KEY], answer(row(), row())]
    process = start(router, "nodes", "--watch", "foo.com", stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        text = ""
        while not re.search(r"1 nodes\nKEY .*no nodes under key foo\.com.*2 nodes\nKEY ", text, re.S):
            line = process.stdout.readline()
            assert line, f"it ended after {text!r}"
            text += line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert not errors


def test_watch_on_a_terminal_fits_its_screen(router: Scripted) -> None:
    router.answers = [answer(*(row(node=f"127.0.0.1:{number}", why="y" * 200) for number in range(100)))]
    upper, lower = pty.openpty()
    os.set_inheritable(lower, True)
    process = start(router, "nodes", "--watch", stdout=lower, COLUMNS="100", LINES="12")
    os.close(lower)
    try:
        text = b""
        while text.count(b"and 92 more") < 2:
            text += os.read(upper, 65536)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
        os.close(upper)
    assert process.returncode == 0
    screen = text.decode().split("\x1b[H\x1b[2J")[1].splitlines()
    assert len(screen) <= 12
    assert all(len(line) <= 120 for line in screen), "the other columns are never cut"


def start(router: Scripted, *arguments: str, stdout: int, **variables: str) -> subprocess.Popen[str]:
    env = {**os.environ, **environment(None), VARIABLE: router.path, **variables}
    argv = [sys.executable, "-m", "uwsgirouter.control", *arguments]
    return subprocess.Popen(argv, stdout=stdout, stderr=subprocess.PIPE, text=True, env=env)


# -- orders ---------------------------------------------------------------------------------------------------------

DRAINED = row(state="draining", order="drain", why="drained by an operator (uid 0)", in_flight=2)
IDLE = DRAINED | {"in_flight": 0}
FOO = ["foo.com", "127.0.0.1:03031"]


def test_an_order(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [answer(DRAINED, settled=False)]
    assert run(["drain", *FOO]) is Exit.OK
    assert said() == "foo.com 127.0.0.1:3031: draining, 2 requests under way (drained by an operator (uid 0))\n"
    assert router.asked == [{"command": "drain", "key": "foo.com", "node": "127.0.0.1:03031"}]
    router.answers = [answer(settled=False)]
    assert run(["ready", *FOO]) is Exit.OK
    assert said() == "foo.com 127.0.0.1:03031: not there\n"


def test_a_wait_until_every_worker_knows_and_no_request_is_left(router: Scripted) -> None:
    router.answers = [
        answer(DRAINED, settled=False),
        answer(row(node="127.0.0.1:1", in_flight=9), IDLE, settled=False),  # a worker may still choose it
        answer(DRAINED, settled=True),
        answer(IDLE, settled=False),
        answer(DRAINED),
    ]
    assert run(["drain", *FOO, "--wait"]) is Exit.OK
    assert len(router.answers) == 1, "four questions"
    assert router.asked[1:] == [{"command": "nodes", "key": "foo.com"}] * 3


@pytest.mark.parametrize("gone", [[NO_KEY], answer(row(node="127.0.0.1:1"))])
def test_a_wait_for_a_node_that_goes(router: Scripted, gone: Lines) -> None:
    router.answers = [answer(DRAINED), answer(DRAINED), gone]
    assert run(["down", *FOO, "--wait"]) is Exit.OK


def test_a_wait_that_takes_too_long(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [answer(DRAINED)]
    assert run(["drain", *FOO, "--wait", "--timeout", "0.2"]) is Exit.TIMEOUT
    assert "not within 0.2 s: 127.0.0.1:3031: draining, 2 requests under way" in said()
    assert run(["drain", *FOO, "--timeout", "0.2"]) is Exit.USAGE


def test_ready_waits_until_it_is_up(router: Scripted) -> None:
    router.answers = [answer(), [NO_KEY], answer(row(state="inactive")), answer(row()), answer(row(state="down"))]
    assert run(["ready", *FOO, "--wait"]) is Exit.OK
    assert len(router.answers) == 1


def test_weight(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [answer(row(weight=9))]
    assert run(["weight", *FOO, "9"]) is Exit.OK
    assert said() == "foo.com 127.0.0.1:3031: weight 9 (its own: 1)\n"
    for ends in ("-", "0"):
        assert run(["weight", *FOO, ends]) is Exit.OK
    assert [request["weight"] for request in router.asked] == [9, 0, 0]
    with pytest.raises(SystemExit):
        run(["weight", *FOO, "many"])


def test_wait(router: Scripted, said: Callable[[], str]) -> None:
    one, two = row(), row(node="127.0.0.1:2")
    absent = {"key": "foo.com", "node": "/a", "state": "absent"}
    router.answers = [
        [NO_KEY],
        answer(one, absent, DRAINED),
        answer(one, row(state="unconfirmed")),
        answer(one, two, settled=False),
        answer(one, two, DRAINED),
        [],
    ]
    assert run(["wait", "foo.com", "--min-nodes", "2"]) is Exit.OK
    assert said() == "foo.com: 2 of 3 nodes are up\n"
    router.answers = [answer(one)]
    assert run(["wait", "foo.com", "--min-nodes", "2", "--timeout", "0.2"]) is Exit.TIMEOUT
    assert "not within 0.2 s: foo.com: 1 of 1 nodes are up, not 2" in said()


# -- what can go wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "code", "text"),
    [
        ([{"error": "no node x", "trouble": "no-node"}], Exit.NOT_FOUND, "no node x"),
        ([{"error": "no keys", "trouble": "no-key"}], Exit.NOT_FOUND, "no keys"),
        ([{"error": "who are you", "trouble": "denied"}], Exit.DENIED, "who are you"),
        ([{"error": "later", "trouble": "busy"}], Exit.NO_ROOM, "later"),
        ([{"error": "what", "trouble": "bad-request"}], Exit.USAGE, "what"),
        ([{"error": "what", "trouble": "new"}], Exit.BAD_HEAD, "not how a uwsgirouter answers"),
        ([{"node": 7}], Exit.BAD_HEAD, "not how a uwsgirouter answers"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Exit.BAD_HEAD, "not how a uwsgirouter answers"),
        (b"x" * (2 << 20), Exit.BAD_HEAD, "not how a uwsgirouter answers"),
        (b"", Exit.CUT, "in the middle of its answer"),
        (b'{"node":{"key":"a"}}\n{"nod', Exit.CUT, "in the middle of its answer"),
    ],
)
def test_answers_that_are_none(
    router: Scripted, said: Callable[[], str], answers: Lines | bytes, code: Exit, text: str
) -> None:
    router.answers = [answers]
    assert run(["drain", *FOO, "--wait"]) is code
    assert text in said()


def test_a_silent_router(router: Scripted, monkeypatch: pytest.MonkeyPatch, said: Callable[[], str]) -> None:
    monkeypatch.setattr(channel.Channel.__init__, "__defaults__", (0.1,))
    router.answers = [[]]
    assert run(["nodes"]) is Exit.TIMEOUT
    assert "the router does not answer" in said()


def test_nobody_there(servers: Servers, said: Callable[[], str]) -> None:
    missing = servers.path("missing.sock")
    assert run(["nodes", "--control", missing]) is Exit.NO_CONNECTION
    assert f"cannot connect to {missing}: no such file" in said()
    dead = servers.path("dead.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(dead)
    assert run(["nodes", "--watch", "--control", dead]) is Exit.NO_CONNECTION
    assert "the router is not running" in said()


# -- which router ---------------------------------------------------------------------------------------------------


def test_which_router(router: Scripted, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    router.answers = [answer()]
    directory = Path(router.path).parent
    config = directory / "r.conf"
    config.write_text(f"[uwsgirouter]\nfastrouter = :0\nname = c\ncontrol-socket = {directory}/%(name).sock\n")
    monkeypatch.setenv(VARIABLE, "/nowhere")
    assert run(["nodes", "--control", router.path]) is Exit.OK
    assert run(["nodes", "-c", str(config)]) is Exit.OK
    assert run(["nodes"]) is Exit.NO_CONNECTION
    monkeypatch.delenv(VARIABLE)
    assert run(["nodes"]) is Exit.USAGE
    assert f"Give --control PATH, -c router.conf, or set {VARIABLE}" in said()


def test_configurations_that_do_not_tell(servers: Servers, said: Callable[[], str]) -> None:
    config = Path(servers.path("r.conf"))
    assert run(["nodes", "-c", str(config)]) is Exit.USAGE
    assert "cannot read" in said()
    config.write_text("[uwsgirouter]\nfastrouter = :0\n")
    assert run(["nodes", "-c", str(config)]) is Exit.NOT_FOUND
    assert "has no control-socket" in said()
    config.write_text("[uwsgirouter]\nfastrouter = :0\nchdir = /nowhere\ncontrol-socket = c.sock\n")
    assert run(["nodes", "-c", str(config)]) is Exit.NO_CONNECTION
    assert "cannot connect to /nowhere/c.sock" in said()


def test_a_long_wait_says_what_it_waits_for(
    router: Scripted, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uwsgirouter.control.ordering.TELL_AFTER", 0.1)
    router.answers = [answer(DRAINED), *[answer(IDLE, settled=False)] * 4, answer(IDLE)]
    assert run(["drain", *FOO, "--wait"]) is Exit.OK
    told, done = said().splitlines()[::-1]
    assert told.startswith("uwsgirouterctl drain: waiting: 127.0.0.1:3031: draining, 0 requests under way")
    assert told.endswith("; a worker does not know it yet")
    assert done.startswith("foo.com 127.0.0.1:3031: draining")
    router.answers = [answer(row(), settled=False)]
    assert run(["wait", "foo.com", "--min-nodes", "1", "--timeout", "0.15"]) is Exit.TIMEOUT
    assert said().endswith("not within 0.15 s: foo.com: 1 nodes are up; a worker does not know it yet\n")


def test_what_was_announced_does_nothing_to_a_terminal(router: Scripted, said: Callable[[], str]) -> None:
    router.answers = [[{"error": "the keys are \x1b[2J\nfoo\udcff", "trouble": "no-key"}]]
    assert run(["nodes", "foo.com"]) is Exit.NOT_FOUND
    assert said() == "uwsgirouterctl nodes: the keys are \\x1b[2J\\nfoo\\xff\n"


def test_a_path_that_is_no_socket(said: Callable[[], str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run(["nodes", "--control", str(tmp_path / "file")]) is Exit.NO_CONNECTION
    assert said().endswith("/file: it is not a socket\n")
    assert run(["nodes", "--control", ""]) is Exit.USAGE
    assert "--control is empty" in said()

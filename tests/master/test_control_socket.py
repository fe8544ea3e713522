"""The control socket of a running router: whose it is, who may speak, and that nobody who speaks harms it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.master.watching import run_to_end, wait_for_serving
from tests.servers import Router, Servers, announce, fetch, local, wait_until
from tests.servers.node import answer
from uwsgirouter.master.control_socket import CONNECTIONS_MOST
from uwsgirouter.master.conversation import LINE_MAX

PATIENCE = 20.0
NOBODY = 65534
Row = dict[str, object]


class Operator:
    """A connection to a control socket."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> Row:
        """The next line; an empty object at the end."""
        while b"\n" not in self._buffer:
            data = self.socket.recv(1 << 16)
            if not data:
                assert not self._buffer
                return {}
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        value = json.loads(line)
        assert isinstance(value, dict)
        return value

    def answer(self) -> tuple[list[Row], Row]:
        """The nodes, and the last line."""
        rows = []
        while True:
            value = self.line()
            row = value.get("node")
            if not isinstance(row, dict):
                return rows, value
            rows.append(row)

    def ask(self, command: str, **fields: object) -> tuple[list[Row], Row]:
        self.send(json.dumps({"command": command, **fields}).encode() + b"\n")
        return self.answer()


@contextmanager
def operator(path: str) -> Iterator[Operator]:
    """Connected, for a while."""
    made = Operator(path)
    with made.socket:
        yield made


def config(servers: Servers, name: str, *lines: str) -> tuple[str, str]:
    """The path of a control socket, and a configuration with it."""
    path = servers.path(name)
    listener, server = local(), local()
    fixed = [f"fastrouter = {listener}", f"fastrouter-subscription-server = {server}", f"control-socket = {path}"]
    return path, "\n".join(["[uwsgirouter]", *fixed, *lines, ""])


def file_of(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


@pytest.fixture(scope="module")
def router(started: Servers) -> Router:
    """A router that several tests speak to."""
    _, text = config(started, "shared.sock")
    return started.router(config=text)


@pytest.fixture
def path(router: Router, started: Servers) -> str:
    """Its control socket."""
    assert router.running
    return started.path("shared.sock")


# -- the file -------------------------------------------------------------------------------------------------------


def test_it_is_private_and_goes_with_the_router(servers: Servers) -> None:
    path, text = config(servers, "c.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)  # a dead router's
    router = servers.router(config=text)
    router.wait_for_log("control socket bound")
    status = os.stat(path)
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.geteuid())
    second = text.replace(router.address, local()).replace(router.server, local())
    other = servers.directory / "other.conf"
    other.write_text(second)
    code, log = run_to_end(servers, "-c", str(other))
    assert code == 1
    assert f"other.conf:4: control-socket: cannot listen on {path}: address in use (another process serves it)" in log
    with operator(path) as speaker:
        assert speaker.ask("nodes")[1]["ok"] is True
    router.stop()
    assert not os.path.exists(path)


def test_it_belongs_to_the_user_of_the_master(servers: Servers) -> None:
    path, text = config(servers, "c.sock", f"uid = {NOBODY}", f"gid = {NOBODY}")
    servers.directory.chmod(0o777)
    router = servers.router(config=text)
    router.wait_for_log("control socket bound")
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == (NOBODY, NOBODY)
    with operator(path) as speaker:
        assert speaker.ask("nodes")[1]["ok"] is True, "root may"
    assert as_user(NOBODY, path)["ok"] is True
    router.stop()
    assert not os.path.exists(path)


def test_a_file_of_somebody_else_is_not_removed(servers: Servers) -> None:
    path, text = config(servers, "c.sock")
    Path(path).write_text("a file")
    code, log = run_to_end(servers, *[part for line in text.splitlines()[1:] for part in as_arguments(line)])
    assert code == 1
    assert "exists and is not a socket" in log
    Path(path).unlink()
    router = servers.router(config=text)
    Path(path).unlink()
    Path(path).write_text("another file")
    router.stop()
    assert Path(path).read_text() == "another file"


def as_arguments(line: str) -> list[str]:
    name, _, value = line.partition(" = ")
    return [f"--{name}", value]


# -- reloads --------------------------------------------------------------------------------------------------------


def reload(router: Router, text: str, times: int) -> None:
    router.rewrite(text)
    router.hup()
    wait_until(lambda: router.log().count("] reloaded in ") == times, PATIENCE, "the reload is over")


def test_it_survives_reloads(servers: Servers) -> None:
    path, text = config(servers, "c.sock")
    router = servers.router(config=text)
    wait_for_serving(router, 1)
    before = file_of(path)
    with operator(path) as speaker:
        reload(router, text, 1)
        assert file_of(path) == before
        assert speaker.ask("nodes")[1]["ok"] is True
        # The workers were forked with the connection open: if one had kept it, its end would not be seen.
        speaker.send(b"x" * (LINE_MAX + 1))
        assert speaker.line()["trouble"] == "bad-request"
        assert speaker.line() == {}
    elsewhere = servers.path("d.sock")
    with operator(path) as speaker:
        reload(router, text.replace(path, elsewhere), 2)
        assert not os.path.exists(path)
        assert speaker.ask("nodes")[1]["ok"] is True, "who is connected stays so"
        with operator(elsewhere) as other:
            assert other.ask("nodes")[1]["ok"] is True
    os.unlink(elsewhere)
    reload(router, text.replace(path, elsewhere), 3)
    with operator(elsewhere) as other:
        assert other.ask("nodes")[1]["ok"] is True, "a file that somebody removed is made again"
    router.rewrite(text.replace(path, servers.path("no/such/directory.sock")))
    router.hup()
    router.wait_for_log("reload failed: the old configuration stays in use", PATIENCE)
    assert "no/such/directory.sock: No such file or directory" in router.log()
    with operator(elsewhere) as other:
        assert other.ask("nodes")[1]["ok"] is True
    reload(router, text.replace(f"control-socket = {path}\n", ""), 4)
    assert not os.path.exists(elsewhere)


# -- who may speak --------------------------------------------------------------------------------------------------


def as_user(user: int, path: str) -> Row:
    """What another user is answered."""
    code = (
        "import os, socket, sys\n"
        f"os.setgroups([]); os.setgid({user}); os.setuid({user})\n"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1])\n"
        'try: s.sendall(b\'{"command":"nodes"}\\n\')\n'
        "except OSError: pass\n"
        "data = s.recv(65536)\n"
        "print(data.decode().splitlines()[-1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=30)
    if done.returncode:
        return {"failed": done.stderr}
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def test_only_root_and_the_routers_user_may_speak(router: Router, path: str) -> None:
    assert "PermissionError" in str(as_user(NOBODY, path)["failed"])
    os.chmod(path, 0o666)
    try:
        refused = as_user(NOBODY, path)
    finally:
        os.chmod(path, 0o600)
    assert refused == {
        "error": f"uid {NOBODY} may not give orders here, only root and uid {os.geteuid()} (the router's) may",
        "trouble": "denied",
    }
    router.wait_for_log(f"control socket: refused uid {NOBODY} (pid ", PATIENCE)


# -- nobody harms it ------------------------------------------------------------------------------------------------


def is_well(path: str) -> bool:
    with operator(path) as speaker:
        return speaker.ask("nodes")[1].get("ok") is True


def test_garbage(path: str) -> None:
    for garbage in (b"\n", b"\x00\xff\n", b"GET / HTTP/1.0\n", b"[" * 8000 + b"\n", b'"x"\n', b'{"command": 7}\n'):
        with operator(path) as speaker:
            speaker.send(garbage)
            assert speaker.line()["trouble"] == "bad-request"
            assert speaker.ask("nodes")[1]["ok"] is True, "a line is over with its end"
    with operator(path) as speaker:
        speaker.send(b"x" * (LINE_MAX + 5000))
        assert "at most" in str(speaker.line()["error"])
    for leave in (b"", b'{"comm'):
        with operator(path) as speaker:
            speaker.send(leave)
    assert is_well(path)


def test_requests_in_pieces_and_in_one(path: str) -> None:
    with operator(path) as speaker:
        for byte in b'{"command": "nodes"}\n':
            speaker.send(bytes([byte]))
        assert speaker.answer()[1]["ok"] is True
        speaker.send(b'{"command":"nodes"}\n' * 300 + b'{"command":"nodes"}')
        speaker.socket.shutdown(socket.SHUT_WR)
        for _ in range(301):
            assert speaker.answer()[1]["ok"] is True
        assert speaker.line() == {}


def test_connections_are_bounded(router: Router, path: str) -> None:
    held = [Operator(path) for _ in range(CONNECTIONS_MOST)]
    try:
        assert held[-1].ask("nodes")[1]["ok"] is True
        with operator(path) as one_more:
            assert one_more.line()["trouble"] == "busy"
        router.wait_for_log(f"control socket: {CONNECTIONS_MOST} connections are open, refused uid", PATIENCE)
    finally:
        for one in held:
            one.socket.close()
    wait_until(lambda: is_well(path), PATIENCE, "those that left make room")


def test_a_slow_reader_of_a_large_answer(servers: Servers) -> None:
    count = 2000
    path, text = config(servers, "c.sock")
    router = servers.router(config=text)
    for number in range(count):
        extra: dict[str, str | bytes | int] = {"vassal": f"{'v' * 200}{number}"}
        announce(router.server, f"k{number % 50}.example", f"127.0.0.1:{10_000 + number}", extra=extra)
        if number % 100 == 99:
            with operator(path) as speaker:
                wait_until(lambda: speaker.ask("nodes")[1]["nodes"] == number + 1, PATIENCE, "all are there")  # noqa: B023
    node = servers.node(answer(b"served"))
    announce(router.server, "served.example", node.address)
    with operator(path) as slow:
        slow.send(b'{"command":"nodes"}\n' * 20)
        first = slow.line()
        for _ in range(5):
            assert is_well(path)
            assert fetch(router.address, "served.example").body == b"served"
        rows, last = slow.answer()
        assert "node" in first
        assert (len(rows) + 1, last["nodes"]) == (count + 1, count + 1)
        assert slow.answer()[1]["nodes"] == count + 1
    assert is_well(path), "who leaves with half an answer unread is forgotten"
    assert router.stop(signal.SIGTERM) == 0


def test_a_relative_path_when_the_working_directory_is_gone(servers: Servers) -> None:
    """A reload that cannot be is a log line."""
    directory = servers.directory / "gone"
    directory.mkdir()
    _, text = config(servers, "c.sock", f"chdir = {directory}")
    lines = [line if not line.startswith("control-socket") else "control-socket = c.sock" for line in text.splitlines()]
    router = servers.router(config="\n".join([*lines, ""]))
    wait_until((directory / "c.sock").exists, PATIENCE, "it is bound")
    (directory / "c.sock").unlink()
    directory.rmdir()
    router.hup()
    router.wait_for_log("control-socket = c.sock: a relative path, and the working directory is gone", PATIENCE)
    router.wait_for_log("the old configuration stays in use", PATIENCE)
    assert router.running

"""Programs that rules run: what each end of one means to its client, and that nothing of it is left."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import psutil
import pytest
from gevent import socket as cooperative

from uwsgirouter.log import Log
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.program import Program
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker import programs as programs_module
from uwsgirouter.worker import running
from uwsgirouter.worker.programs import Programs

LAST = b"0\r\n\r\n"
STRANGER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as stream:
    stream.settimeout(20)
    stream.connect("\\0" + sys.argv[1] + "\\0")
    try:
        stream.sendall(bytes.fromhex(sys.argv[2]))
        sys.exit(stream.recv(100) != b"")
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
"""


class Lines(Log):
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Stage:
    """Programs of this process; ``directory`` is where scripts are written."""

    def __init__(self, directory: Path, *lines: str) -> None:
        self.directory = directory
        self.log = Lines()
        self._kept: list[Program] = []
        pairs = [(*line.split(" = "), "test") for line in (*lines, "honour-range = true")]
        self.programs = Programs(Settings.listed(pairs, "test"), self.log)  # type: ignore[arg-type]

    def program(self, script: str, length: int = 0, **environment: str) -> Program:
        variables = {"PATH": os.environ["PATH"], **environment}
        made = {name.encode(): value.encode() for name, value in variables.items()}
        command = (b"/bin/sh", b"-c", script.encode())
        return Program(command, made, os.fsencode(self.directory), "script", length)

    def connect(self, program: Program, body: bytes = b"") -> cooperative.socket:
        self._kept.append(program)  # as the request does
        address, token = self.programs.take(program)
        stream = cooperative.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(30)
        stream.connect(parse_peer(address).sockaddr)
        _send_quietly(stream, token + body)
        return stream

    def answer(self, program: Program, body: bytes = b"") -> bytes:
        """All that comes, up to the end of the connection."""
        stream = self.connect(program, body)
        data = b""
        try:
            while more := stream.recv(65536):
                data += more
        except ConnectionResetError:
            pass  # it ended with some of the body unread
        finally:
            stream.close()
        return data

    def run(self, script: str, body: bytes = b"", **environment: str) -> bytes:
        return self.answer(self.program(script, len(body), **environment), body)

    def settle(self) -> None:
        """Wait until no program runs."""
        until(lambda: not self.programs._runs, "all programs have ended")


def until(condition: Callable[[], bool], what: str) -> None:
    """As wait_until, and the loop goes on meanwhile."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        gevent.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children()]


def read_pid(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().endswith("\n"), f"{path.name} is written")
    return int(path.read_text())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    yield from staged(tmp_path)


def staged(directory: Path, *lines: str) -> Iterator[Stage]:
    before = set(children())
    stage = Stage(directory, *lines)
    try:
        yield stage
    finally:
        stage.programs.close()
        stage.settle()
        gevent.sleep(0)
    assert set(children()) <= before


def test_an_answer_comes_in_chunks(stage: Stage) -> None:
    assert stage.run("printf 'Content-Type: text/plain\\n\\nhello'") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + LAST
    )


def test_the_body_and_the_environment_come_in(stage: Stage) -> None:
    body = os.urandom(300_000)
    raw = stage.run('printf "A: $QUERY_STRING\\n\\n"; pwd; exec cat', body, QUERY_STRING="a=b", CONTENT_LENGTH="300000")
    head, _, chunks = raw.partition(b"\r\n\r\n")
    assert b"A: a=b" in head
    assert unchunked(chunks) == os.fsencode(stage.directory) + b"\n" + body


def unchunked(data: bytes) -> bytes:
    out = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not int(size, 16):
            return out
        out += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]


def test_a_head_request_has_no_body(stage: Stage) -> None:
    raw = stage.run("printf 'Content-Length: 5\\n\\nhello'", REQUEST_METHOD="HEAD")
    assert raw.endswith(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "it ended with status 3 without an answer"),
        ("kill -SEGV $$", "it was killed by signal 11 without an answer"),
        ("echo Content-Type; echo", "bad head"),
        ("echo; echo x", "it is empty"),
        ("echo Status: yes; echo", "its status is b'yes'"),
        ("exec >&-; sleep 60", "it closed its output without an answer"),
        ("head -c 100000 /dev/zero", "longer than 65536"),
        ("cd /; exec /no/such/program", "ended with status 127"),
    ],
)
def test_no_answer(stage: Stage, script: str, reason: str) -> None:
    program = stage.program(script)
    assert stage.answer(program) == b""
    assert program.failure is not None and program.failure[0] is Cause.CGI_FAILED
    assert reason in program.failure[1]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("printf 'A: b\\n\\nhalf'; kill -KILL $$", "it was killed by signal 9 in the middle of its answer"),
        ("printf 'Content-Length: 9\\n\\nhalf'", "it said 9 bytes and wrote 4"),
    ],
)
def test_half_an_answer_has_no_last_chunk(stage: Stage, script: str, reason: str) -> None:
    program = stage.program(script)
    raw = stage.answer(program)
    assert raw.endswith(b"4\r\nhalf\r\n")
    assert program.failure is not None and reason in program.failure[1]


def test_what_is_behind_the_length_is_dropped(stage: Stage) -> None:
    assert stage.run("printf 'Content-Length: 4\\n\\nhalf and more'").endswith(b"4\r\nhalf\r\n" + LAST)


def test_one_that_never_ends_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    for stage in staged(tmp_path, "cgi-timeout = 0.5"):
        program = stage.program("sleep 600 & echo $! >child; trap '' TERM; while :; do sleep 600; done")
        assert stage.answer(program) == b""
        assert program.failure == (Cause.CGI_TIMEOUT, "script: it ran for 0.5 seconds")
        child = read_pid(tmp_path / "child")
        until(lambda child=child: not alive(child), "its child is gone")  # type: ignore[misc]


def test_one_that_writes_endlessly_is_stopped(tmp_path: Path) -> None:
    for stage in staged(tmp_path, "cgi-output = 1000000"):
        program = stage.program("printf 'A: b\\n\\n'; exec cat /dev/zero")
        raw = stage.answer(program)
        assert 800_000 < len(raw) < 1_100_000 and not raw.endswith(LAST)
        assert program.failure is not None and "it wrote more than cgi-output" in program.failure[1]


def test_one_that_lives_on_behind_its_answer(stage: Stage) -> None:
    """Its client waits no longer than its output is open."""
    raw = stage.run("echo $$ >pid; printf 'A: b\\n\\nx'; exec >&-; until [ -e go ]; do sleep 0.05; done; echo . >done")
    assert raw.endswith(b"x\r\n" + LAST)
    assert alive(read_pid(stage.directory / "pid"))
    assert not (stage.directory / "done").exists()
    (stage.directory / "go").touch()
    stage.settle()
    assert (stage.directory / "done").exists()


def test_one_that_lives_on_is_killed_in_the_end(tmp_path: Path) -> None:
    for stage in staged(tmp_path, "cgi-timeout = 0.5"):
        assert stage.run("echo $$ >pid; printf 'A: b\\n\\nx'; exec >&-; sleep 600").endswith(LAST)
        pid = read_pid(tmp_path / "pid")
        stage.settle()
        assert not alive(pid)


def test_what_it_leaves_behind_ends_a_moment_later(stage: Stage) -> None:
    """A background process that holds the output open."""
    began = time.monotonic()
    raw = stage.run("sleep 600 & echo $! >child; printf 'A: b\\n\\nx'")
    assert raw.endswith(b"x\r\n" + LAST)
    child = read_pid(stage.directory / "child")
    until(lambda: not alive(child), "it is gone")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_goes_ends_it(stage: Stage, begun: bool) -> None:
    answer = "printf 'A: b\\n\\nx'; " if begun else ""
    stream = stage.connect(stage.program(f"{answer}echo $$ >pid; exec sleep 600"))
    pid = read_pid(stage.directory / "pid")
    if begun:
        assert stream.recv(100).startswith(b"HTTP/1.1 200 OK")
    stream.close()
    until(lambda: not alive(pid), "it is killed")


def test_a_client_that_goes_while_it_sends_ends_it(stage: Stage) -> None:
    """The program does not read, so nobody writes to the client nor reads what it says."""
    stream = stage.connect(stage.program("echo $$ >pid; exec sleep 600", length=10_000_000))
    pid = read_pid(stage.directory / "pid")
    sending = gevent.spawn(_send_quietly, stream, bytes(10_000_000))
    gevent.sleep(0.1)
    sending.kill()
    stream.close()
    until(lambda: not alive(pid), "it is killed")


def _send_quietly(stream: cooperative.socket, data: bytes) -> None:
    try:
        stream.sendall(data)
    except OSError:
        pass


def test_a_client_that_ends_its_direction_is_answered(stage: Stage) -> None:
    stream = stage.connect(stage.program("until [ -e go ]; do sleep 0.05; done; printf 'A: b\\n\\nx'"))
    stream.shutdown(socket.SHUT_WR)
    gevent.sleep(0.1)
    (stage.directory / "go").touch()
    assert b"".join(iter(lambda: stream.recv(65536), b"")).endswith(LAST)
    stream.close()


def test_a_client_that_ended_is_taken_for_gone_in_the_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GONE_AFTER", 0.3)
    program = stage.program("printf 'A: b\\n\\nx'; exec sleep 600")
    stream = stage.connect(program)
    stream.shutdown(socket.SHUT_WR)
    assert b"".join(iter(lambda: stream.recv(65536), b"")).endswith(b"1\r\nx\r\n")
    stream.close()
    assert program.failure is not None and program.failure[0] is Cause.CGI_TIMEOUT


def test_one_that_does_not_read_its_body(stage: Stage) -> None:
    assert stage.run("exec <&-; printf 'A: b\\n\\nx'", bytes(1_000_000)).endswith(b"x\r\n" + LAST)


def test_its_errors_go_to_the_log_at_a_bounded_rate(stage: Stage) -> None:
    stage.run("echo one >&2; printf 'A: b\\n\\n'; yes two | head -n 20000 >&2; echo three >&2")
    stage.settle()
    told = [line for line in stage.log.lines if "script: " in line]
    assert told[0].endswith("script: one")
    assert 2 <= len(told) < 200


def test_a_line_of_errors_without_an_end(stage: Stage) -> None:
    stage.run("printf 'A: b\\n\\n'; head -c 5000 /dev/zero | tr '\\0' x >&2")
    stage.settle()
    assert all(len(line) < 700 for line in stage.log.lines)
    assert any("xxx" in line for line in stage.log.lines)


def test_too_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_module, "PATIENCE", 0.2)
    for stage in staged(tmp_path, "cgi-processes = 1"):
        first = stage.connect(stage.program("echo $$ >pid; exec sleep 600"))
        read_pid(tmp_path / "pid")
        second = stage.program("printf 'A: b\\n\\n'")
        assert stage.answer(second) == b""
        assert second.failure == (Cause.CGI_BUSY, "1 programs run already, script does not")
        first.close()
        stage.settle()
        assert stage.run("printf 'A: b\\n\\n'").endswith(LAST)


def test_a_worker_that_leaves_kills_its_programs(stage: Stage) -> None:
    stream = stage.connect(stage.program("trap '' TERM; echo $$ >pid; while :; do sleep 600; done"))
    pid = read_pid(stage.directory / "pid")
    stage.programs.close()
    until(lambda: not alive(pid), "it is killed")
    stream.close()


def test_signals_are_the_usual_ones_for_it(stage: Stage) -> None:
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        raw = stage.run("printf 'A: b\\n\\n'; grep SigIgn /proc/self/status")
    finally:
        signal.signal(signal.SIGINT, old)
    assert int(raw.partition(b"SigIgn:")[2].split()[0], 16) & (1 << (signal.SIGINT - 1)) == 0


def test_a_token_is_good_once_and_no_longer_than_its_request(stage: Stage) -> None:
    program = stage.program("printf 'A: b\\n\\n'")
    address, token = stage.programs.take(program)
    other = stage.program("printf 'A: b\\n\\n'")
    gone = stage.programs.take(other)[1]
    del other
    gc.collect()
    answers = []
    for word in (token, token, gone, b"x" * 16, b"x"):
        stream = cooperative.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(parse_peer(address).sockaddr)
        stream.sendall(word)
        stream.shutdown(socket.SHUT_WR)
        answers.append(b"".join(iter(lambda stream=stream: stream.recv(65536), b"")))  # type: ignore[misc]
        stream.close()
    assert answers[0].endswith(LAST)
    assert answers[1:] == [b"", b"", b"", b""]


def test_other_processes_are_not_answered(stage: Stage) -> None:
    program = stage.program("echo . >ran; printf 'A: b\\n\\n'")
    address, token = stage.programs.take(program)
    stranger = subprocess.Popen([sys.executable, "-c", STRANGER, address[1:], token.hex()])
    until(lambda: stranger.poll() is not None, "the stranger has heard the end")
    assert stranger.returncode == 0
    assert not (stage.directory / "ran").exists()


def test_nothing_is_left(stage: Stage) -> None:
    stage.run("printf 'A: b\\n\\n'")
    stage.settle()
    gevent.sleep(0.01)
    before = left()
    for turn in range(60):
        stage.run(["printf 'A: b\\n\\nx'", "exit 1", "kill -9 $$", "printf 'A: b\\n\\n'; cat >&2"][turn % 4], b"body")
    stage.settle()
    gevent.sleep(0.01)
    assert left() == before


def left() -> tuple[int, int, int]:
    gc.collect()
    greenlets = sum(isinstance(one, gevent.Greenlet) and not one.dead for one in gc.get_objects())
    return len(os.listdir("/proc/self/fd")), greenlets, len(children())


def test_without_pidfds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert stage.run("printf 'A: b\\n\\nx'").endswith(LAST)
    stage.settle()


def test_no_descriptor_is_left_for_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    program = stage.program("printf 'A: b\\n\\n'")
    monkeypatch.setattr(os, "pipe2", refuse)
    assert stage.answer(program) == b""
    assert program.failure == (Cause.OVERLOAD, "script: it cannot be started: Too many open files")

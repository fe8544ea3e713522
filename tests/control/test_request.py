"""``uwsgirouterctl request`` against a scripted node: what it sends and prints, and its exit code."""

from __future__ import annotations

import hashlib
import io
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers import (
    Connection,
    Handler,
    Node,
    Received,
    Servers,
    answer,
    echo,
    free_port,
    hang,
    wait_until,
)
from tests.servers import reset_after_packet as reset
from uwsgirouter.control.base import Exit
from uwsgirouter.control.main import run

CONTROL = [sys.executable, "-m", "uwsgirouter.control"]
HEAD = b"HTTP/1.1 200 OK\r\n"


class Done(NamedTuple):
    """A request that was made: exit code, output, complaints, and the node that had it."""

    code: Exit
    out: bytes
    err: str
    node: Node

    @property
    def packet(self) -> Received:
        """What the node received."""
        packet = self.node.connections[0].packet
        assert packet is not None
        return packet

    def var(self, name: bytes) -> list[bytes]:
        """Every value of a variable, in order."""
        return [value for found, value in self.packet.variables if found == name]


Ask = Callable[..., Done]


@pytest.fixture
def ask(servers: Servers, capsysbinary: pytest.CaptureFixture[bytes]) -> Ask:
    """Send a request to a new node with the given handler."""

    def send(handler: Handler, *arguments: str, url: str = "http://a.example/", address: str = "127.0.0.1:0") -> Done:
        node = servers.node(handler, address)
        code = run(["request", url, "--via", node.address, *arguments])
        out, err = capsysbinary.readouterr()
        return Done(code, out, err.decode(), node)

    return send


def raw(*pieces: bytes) -> Handler:
    """A handler that reads the packet, then sends these bytes."""

    def handle(connection: Connection) -> None:
        connection.read_packet()
        for piece in pieces:
            connection.send(piece)

    return handle


def test_the_body_is_printed(ask: Ask) -> None:
    done = ask(answer(b"hello\n"))
    assert (done.code, done.out, done.err) == (Exit.OK, b"hello\n", "")


def test_include_prints_the_head_too(ask: Ask) -> None:
    done = ask(answer(b"hello\n", "404 Not Found"), "-i")
    assert done.code is Exit.OK
    assert done.out == b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nhello\n"


def test_the_variables_are_those_of_a_web_server(ask: Ask) -> None:
    done = ask(answer(), url="http://b.example:8080/caf%C3%A9/a%2Fb?x=1&y=%20z#part")
    given = dict(done.packet.variables)
    assert done.packet.modifier1 == done.packet.modifier2 == 0
    assert given.pop(b"REMOTE_PORT").isdigit()
    assert given.pop(b"HTTP_USER_AGENT").startswith(b"uwsgirouterctl/")
    assert given == {
        b"QUERY_STRING": b"x=1&y=%20z",
        b"REQUEST_METHOD": b"GET",
        b"CONTENT_TYPE": b"",
        b"CONTENT_LENGTH": b"",
        b"REQUEST_URI": b"/caf%C3%A9/a%2Fb?x=1&y=%20z",
        b"PATH_INFO": "/café/a/b".encode(),
        b"SERVER_PROTOCOL": b"HTTP/1.1",
        b"REQUEST_SCHEME": b"http",
        b"REMOTE_ADDR": b"127.0.0.1",
        b"SERVER_PORT": b"8080",
        b"SERVER_NAME": b"b.example",
        b"HTTP_HOST": b"b.example:8080",
        b"HTTP_ACCEPT": b"*/*",
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("a.example", {b"PATH_INFO": b"/", b"REQUEST_URI": b"/", b"SERVER_PORT": b"80"}),
        ("https://a.example/", {b"HTTPS": b"on", b"SERVER_PORT": b"443", b"REQUEST_SCHEME": b"https"}),
        ("http://a.example/é ü", {b"PATH_INFO": "/é ü".encode(), b"REQUEST_URI": b"/%C3%A9%20%C3%BC"}),
        ("http://a.example/%00%ff", {b"PATH_INFO": b"/\x00\xff", b"REQUEST_URI": b"/%00%ff"}),
        ("http://[::1]:81/", {b"HTTP_HOST": b"[::1]:81", b"SERVER_NAME": b"::1", b"SERVER_PORT": b"81"}),
    ],
)
def test_urls(ask: Ask, url: str, expected: dict[bytes, bytes]) -> None:
    given = dict(ask(answer(), url=url).packet.variables)
    assert {name: given[name] for name in expected} == expected


def test_headers_are_added_replaced_repeated_and_left_out(ask: Ask) -> None:
    headers = ["Host: c.example", "X-One: 1", "X-One: 2", "Accept:", "X-Empty;", "Content-Type: text/x"]
    done = ask(answer(), *(part for text in headers for part in ("-H", text)))
    assert done.var(b"HTTP_HOST") == [b"c.example"]
    assert done.var(b"HTTP_X_ONE") == [b"1", b"2"]
    assert done.var(b"HTTP_ACCEPT") == []
    assert done.var(b"HTTP_X_EMPTY") == [b""]
    assert done.var(b"CONTENT_TYPE") == done.var(b"HTTP_CONTENT_TYPE") == [b"text/x"]


def test_key_and_variables(ask: Ask) -> None:
    extra = ["--key", "k", "--var", "SERVER_NAME=", "--var", "HTTP_HOST", "--var", "A=1", "--var", "A=2=3"]
    done = ask(answer(), *extra)
    assert done.var(b"UWSGI_FASTROUTER_KEY") == [b"k"]
    assert done.var(b"SERVER_NAME") == [b""]
    assert done.var(b"HTTP_HOST") == []
    assert done.var(b"A") == [b"1", b"2=3"]


def test_data_makes_it_a_post_with_a_length(ask: Ask) -> None:
    done = ask(echo, "-d", "a=é")
    assert (done.out, done.var(b"REQUEST_METHOD")) == ("a=é".encode(), [b"POST"])
    assert done.var(b"CONTENT_LENGTH") == done.var(b"HTTP_CONTENT_LENGTH") == [b"4"]
    assert done.var(b"CONTENT_TYPE") == [b"application/x-www-form-urlencoded"]
    assert ask(echo, "-X", "PUT", "-d", "").var(b"CONTENT_LENGTH") == [b"0"]


def test_a_large_file_goes_and_comes_back(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(range(256)) * 40_000)
    done = ask(echo, "-d", f"@{tmp_path}/in", "-o", f"{tmp_path}/out")
    assert (done.code, done.out) == (Exit.OK, b"")
    assert _digest(tmp_path / "out") == _digest(tmp_path / "in")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_piped_body_gets_a_length(servers: Servers) -> None:
    node = servers.node(echo)
    arguments = ["request", "http://a.example/", "--via", node.address, "-d", "@-"]
    done = command(arguments, b"x" * 300_000)
    assert (done.returncode, done.stdout) == (0, b"x" * 300_000)


def command(arguments: list[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The command as people start it: another process."""
    return subprocess.run([*CONTROL, *arguments], input=stdin, capture_output=True, timeout=30)


def test_an_early_answer_is_read_while_the_body_is_sent(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 20_000_000)

    def refuse(connection: Connection) -> None:
        connection.read_packet()
        connection.read(1_000_000)
        connection.answer(b"no", "413 Too Large")
        connection.wait()  # the rest of the body is never read, and the connection stays open

    done = ask(refuse, "-d", f"@{tmp_path}/in", "-i")
    assert (done.code, done.out[:12], done.out[-2:]) == (Exit.OK, b"HTTP/1.1 413", b"no")
    assert len(done.node.connections[0].received) < 20_000_000


def test_an_answer_is_awaited_when_the_node_takes_no_more(ask: Ask, servers: Servers, tmp_path: Path) -> None:
    """The body cannot be sent any more, and the answer is not there yet: that is no failure."""
    (tmp_path / "in").write_bytes(b"x" * 5_000_000)

    def refuse(connection: Connection) -> None:
        connection.read_packet()
        connection.socket.shutdown(socket.SHUT_RD)
        time.sleep(0.1)  # long enough for a write to fail; the test holds either way
        connection.answer(b"enough")

    done = ask(refuse, "-d", f"@{tmp_path}/in", address=servers.path("node.sock"))
    assert (done.code, done.out, done.err) == (Exit.OK, b"enough", "")


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([HEAD + b"\r\n", b"until ", b"the end"], b"until the end"),
        ([HEAD + b"Content-Length: 2\r\n\r\nabcd"], b"ab"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"Content-Length: 1\r\n\r\nx"], b"x"),
        (
            [HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"],
            b"abcde",
        ),
        ([b"Status: 201 Created\r\nA: b\r\n\r\ncgi"], b"cgi"),
        ([b"HTTP/1.1 200\nContent-Length: 3\n\nbare"], b"bar"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
    ],
)
def test_framing(ask: Ask, pieces: list[bytes], body: bytes) -> None:
    whole = ask(raw(*pieces))
    whole.node.expect_errors()  # a client that has its answer may leave before the node's last piece
    assert (whole.code, whole.out) == (Exit.OK, body)
    joined = b"".join(pieces)
    split = ask(raw(*(joined[at : at + 1] for at in range(len(joined)))))
    split.node.expect_errors()  # bytes behind the response's end may find the connection closed
    assert (split.code, split.out) == (Exit.OK, body)


def test_a_whole_answer_does_not_wait_for_the_connections_end(ask: Ask) -> None:
    def keep_open(connection: Connection) -> None:
        connection.read_packet()
        connection.answer(b"done")
        connection.wait()

    assert ask(keep_open, "--timeout", "5").code is Exit.OK


def test_head_requests_end_with_the_head(ask: Ask) -> None:
    done = ask(raw(HEAD + b"Content-Length: 99\r\n\r\n"), "-I")
    assert (done.code, done.var(b"REQUEST_METHOD")) == (Exit.OK, [b"HEAD"])
    assert done.out == HEAD + b"Content-Length: 99\r\n\r\n"


@pytest.mark.parametrize(
    ("handler", "code", "message"),
    [
        (raw(), Exit.EMPTY, "empty answer: the connection was closed without a byte"),
        (raw(HEAD), Exit.CUT, "the answer was cut: 17 bytes, in the head"),
        (raw(HEAD + b"Content-Length: 10\r\n\r\nabc"), Exit.CUT, "the answer was cut: 3 of 10 bytes of body"),
        (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"), Exit.CUT, "2 bytes of body, in a chunk"),
        (raw(b"SSH-2.0-x\r\n\r\n"), Exit.BAD_HEAD, "malformed head: line b'SSH-2.0-x' is no header field"),
        (raw(b"HTTP/1.1 abc\r\n\r\n"), Exit.BAD_HEAD, "malformed head: status b'abc'"),
        (raw(HEAD + b"Content-Length: -1\r\n\r\n"), Exit.BAD_HEAD, "malformed head: Content-Length b'-1'"),
        (raw(b"x" * 300_000), Exit.BAD_HEAD, "malformed head: no end after 262144 bytes"),
        (reset, Exit.RESET, "Connection reset by peer"),
    ],
)
def test_failures(ask: Ask, handler: Handler, code: Exit, message: str) -> None:
    done = ask(handler)
    done.node.expect_errors()  # some of the nodes are left while they are still sending
    assert done.code is code
    assert done.err.startswith("uwsgirouterctl request: ")
    assert message in done.err


def test_a_silent_node_is_a_timeout(ask: Ask) -> None:
    done = ask(hang, "--timeout", "0.2")
    assert done.code is Exit.TIMEOUT
    assert "nothing for 0.2 s: " in done.err
    assert "bytes sent, no answer" in done.err


def test_fail_hides_the_body_of_an_error(ask: Ask) -> None:
    done = ask(answer(b"sorry", "503 Service Unavailable"), "--fail")
    assert (done.code, done.out) == (Exit.HTTP_ERROR, b"")
    assert "the answer is 503" in done.err
    assert ask(answer(b"fine"), "--fail").out == b"fine"


@pytest.mark.parametrize(
    ("via", "code", "message"),
    [
        ("127.0.0.1:1", Exit.NO_CONNECTION, "Connection refused"),
        ("/nowhere/at.all", Exit.NO_CONNECTION, "cannot connect to /nowhere/at.all: No such file"),
        (
            "@uwsgirouter-nobody",
            Exit.NO_CONNECTION,
            "cannot connect to @uwsgirouter-nobody: Connection refused",
        ),
        ("no.such.name.invalid:80", Exit.NO_ADDRESS, "host name 'no.such.name.invalid'"),
        ("127.0.0.1:99999", Exit.USAGE, "a port is a number from 1 to 65535"),
        ("192.*:80", Exit.USAGE, "only a listener can have those"),
        ("", Exit.USAGE, "an empty address"),
    ],
)
def test_no_connection(capsys: pytest.CaptureFixture[str], via: str, code: Exit, message: str) -> None:
    assert run(["request", "http://a.example/", "--via", via]) is code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ftp://a.example/"], "the scheme is http or https"),
        (["http://u:p@a.example/"], "no user and password here"),
        (["http:///path"], "expected http://HOST[:PORT]/PATH"),
        (["http://a.example:99999/"], "Port out of range"),
        (["http://a.example/", "-H", "no colon"], "expected 'Name: value'"),
        (["http://a.example/", "-H", "Na me: x"], "a name has letters, digits"),
        (["http://a.example/", "--var", "=x"], "expected NAME=VALUE"),
        (["http://a.example/", "-d", "@/nowhere/at.all"], "body '/nowhere/at.all': No such file"),
        (["http://a.example/", "-H", "X: " + "x" * 66_000], "makes no uwsgi packet: too large"),
    ],
)
def test_wrong_usage(servers: Servers, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    # The node accepts and sees the connection go: some faults are found once it is open.
    node = servers.node(lambda connection: None)
    assert run(["request", *arguments, "--via", node.address]) is Exit.USAGE
    assert message in capsys.readouterr().err


def test_an_output_file_that_cannot_be_written(ask: Ask) -> None:
    done = ask(lambda connection: None, "-o", "/nowhere/at.all")
    assert done.code is Exit.NOT_WRITTEN
    assert "output '/nowhere/at.all'" in done.err


@pytest.mark.parametrize("address", ["[::1]:0", "@uwsgirouter-test-request", "/sock"])
def test_every_form_of_address(ask: Ask, servers: Servers, address: str) -> None:
    done = ask(answer(b"here"), address=servers.path("sock") if address == "/sock" else address)
    assert (done.code, done.out) == (Exit.OK, b"here")
    assert done.var(b"REMOTE_ADDR") == [b"::1" if address[0] == "[" else b"127.0.0.1"]


def test_a_host_name_is_resolved(servers: Servers, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    node = servers.node(answer(b"named"))
    port = node.address.rpartition(":")[2]
    assert run(["request", "http://a.example/", "--via", f"localhost:{port}"]) is Exit.OK
    assert capsysbinary.readouterr().out == b"named"


def test_every_address_of_a_host_name_is_tried(
    servers: Servers, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = servers.node(answer(b"second"))
    port = int(node.address.rpartition(":")[2])
    found = [(socket.AF_INET, 0, 0, "", ("127.0.0.1", free_port())), (socket.AF_INET, 0, 0, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert run(["request", "http://a.example/", "--via", "two.example:1"]) is Exit.OK
    assert capsysbinary.readouterr().out == b"second"


def test_a_connection_that_is_not_taken_is_a_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    """A full queue of connections: the kernel does not answer."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        code = run(["request", "http://a.example/", "--via", f"127.0.0.1:{port}", "--timeout", "0.3"])
    assert code is Exit.TIMEOUT
    assert f"127.0.0.1:{port}: no connection within 0.3 s" in capsys.readouterr().err


def test_ctrl_c_ends_it_quietly(servers: Servers) -> None:
    node = servers.node(hang)
    argv = [*CONTROL, "request", "http://a.example/", "--via", node.address]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        node.wait_for(1)
        wait_until(lambda: node.connections[0].packet, what="the packet arrives")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == Exit.INTERRUPTED


def test_output_comes_as_the_node_sends_it(servers: Servers) -> None:
    """A stream is shown piece by piece: the node goes on only when the first piece was seen."""
    seen = threading.Event()

    def stream(connection: Connection) -> None:
        connection.read_packet()
        connection.send(HEAD + b"\r\nfirst\n")
        assert seen.wait(10), "the first piece was not shown while the response went on"
        connection.send(b"second\n")

    node = servers.node(stream)
    argv = [*CONTROL, "request", "http://a.example/", "--via", node.address]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        seen.set()
        assert process.stdout.read() == b"second\n"
    assert process.returncode == 0


def test_a_reader_that_leaves_is_not_an_accident(servers: Servers) -> None:
    def endless(connection: Connection) -> None:
        connection.read_packet()
        connection.send(HEAD + b"\r\n")
        while True:
            connection.send(b"y\n" * 32_768)

    node = servers.node(endless)
    argv = [*CONTROL, "request", "http://a.example/", "--via", node.address]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == Exit.NOT_WRITTEN
    node.connections[0].finished.wait(10)
    assert [type(error) for error in node.expect_errors()] in ([BrokenPipeError], [ConnectionResetError])


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["request", "--help"], ["subscribe", "--help"]):
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        assert ended.value.code == 0
        assert "usage: uwsgirouterctl" in capsys.readouterr().out


def test_wrong_options_name_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("-3", "soon", "inf", "nan"):
        with pytest.raises(SystemExit) as ended:
            run(["request", "http://a.example/", "--via", "127.0.0.1:1", f"--timeout={wrong}"])
        assert ended.value.code == Exit.USAGE
        assert f"{wrong!r}: expected seconds, over 0" in capsys.readouterr().err


def test_standard_output_is_flushed_before_the_body(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was printed as text before must not come out behind the body's bytes."""
    target = io.TextIOWrapper(io.BytesIO(), write_through=False)
    monkeypatch.setattr(sys, "stdout", target)
    print("before")
    ask(answer(b"body"))
    assert target.buffer.getvalue() == b"before\nbody"  # type: ignore[attr-defined]

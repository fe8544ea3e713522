"""The access log as a whole: who writes it, and what becomes of its lines when something goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.master.watching import title
from tests.servers import Router, Servers, answer, fetch, free_udp_port, local, wait_until
from tests.servers.wire import get, packet

FORMAT = "%(uri) %(status) %(key) %(cause) %(id)"
LONG = 20.0


def loggers(router: Router) -> list[int]:
    """The pids of the processes that write access logs."""
    return [child.pid for child in router.children() if title(child.pid).startswith("uwsgirouter: logger")]


def logger(router: Router) -> int:
    """The only one."""
    return wait_until(lambda: loggers(router), LONG, "the logger is there")[0]


class Logged:
    """A router with an access log, and one node."""

    def __init__(self, servers: Servers, *lines: str, logger: str = "file:{path}") -> None:
        self.servers = servers
        self.address = local()
        self.path = servers.directory / f"access-{self.address.rpartition(':')[2]}.log"
        self.node = servers.node(answer(b"hello"))
        self.lines = [f"req-logger = {logger.format(path=self.path)}", f"logformat = {FORMAT}", *lines]
        self.router = servers.router(config=self.config(*self.lines))
        wait_until(lambda: self.router.workers() and loggers(self.router), LONG, "the router is up")
        self.sent = 0

    def config(self, *lines: str) -> str:
        """Of the whole router."""
        return "\n".join(
            ["[uwsgirouter]", f"fastrouter = {self.address}", f"fastrouter-to = {self.node.address}", *lines]
        )

    def ask(self, count: int = 1) -> list[int]:
        """Requests of paths that count; their numbers."""
        asked = list(range(self.sent + 1, self.sent + count + 1))
        for self.sent in asked:
            assert fetch(self.address, "a.example", f"/{self.sent}").status == 200
        return asked

    def logged(self, path: Path | None = None) -> list[int]:
        """The numbers of the paths in the log; each line is whole."""
        found = []
        for line in (path or self.path).read_text().splitlines():
            match = re.fullmatch(r"/(\d+) 200 a\.example - [0-9a-f]{32}", line)
            assert match, line
            found.append(int(match[1]))
        return found

    def wait_written(self) -> None:
        """Until the last request's line is there."""
        wait_until(lambda: not self.sent or self.sent in self.logged(), LONG, "the last line is there")

    def wait(self, numbers: list[int], path: Path | None = None) -> None:
        """Until exactly these are in the log."""
        wait_until(lambda: (path or self.path).exists() and self.logged(path) == numbers, LONG, "the lines are there")

    def reload(self, *lines: str) -> None:
        """With other lines, until the old workers and their logger are gone."""
        old = {*self.router.workers(), *loggers(self.router)}
        self.router.rewrite(self.config(*lines))
        self.router.hup()
        wait_until(lambda: not old & {child.pid for child in self.router.children()}, LONG, "the old ones are gone")
        wait_until(lambda: self.router.workers(), LONG, "the new ones are there")


@pytest.fixture(scope="module")
def plain(started: Servers) -> Logged:
    """With the plain format."""
    return Logged(started)


@pytest.fixture
def logged(plain: Logged) -> Logged:
    """The same, and nothing in its file."""
    plain.wait_written()
    os.truncate(plain.path, 0)
    return plain


def test_a_line_for_each_request(servers: Servers) -> None:
    """In the order of the ends of requests; the rest comes at the stop, before anybody leaves."""
    logged = Logged(servers)
    logged.ask(3)
    logged.wait([1, 2, 3])
    logged.ask(2)
    logged.router.stop()
    assert logged.logged() == [1, 2, 3, 4, 5]


def test_killed_and_respawned(logged: Logged) -> None:
    """The kernel keeps what was sent meanwhile: no line is lost, and no request."""
    asked = logged.ask(1)
    logged.wait(asked)
    for _ in range(2):
        before = logger(logged.router)
        os.kill(before, signal.SIGKILL)
        asked += logged.ask(5)
        wait_until(lambda gone=before: loggers(logged.router) not in ([], [gone]), LONG, "another logger")
    logged.wait(asked)
    assert "was killed by signal 9" in logged.router.log()


def test_terminated_by_hand(logged: Logged) -> None:
    """TERM and INT go to whole groups at a stop; the logger waits for the workers instead."""
    pid = logger(logged.router)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    logged.wait(logged.ask(2))
    assert loggers(logged.router) == [pid]


def test_a_logger_that_does_not_read(servers: Servers) -> None:
    """Requests go on; what does not fit is dropped and counted; all that was held comes out afterwards, in order."""
    logged = Logged(servers, "logformat = %(uri) %(status) %(key) %(cause) %(id) %(var.FILL)" + "x" * 3900)
    pid = logger(logged.router)
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(900):  # some 3.6 MB
            logged.ask()
        text = logged.router.wait_for_log("the logger does not take them")
    finally:
        os.kill(pid, signal.SIGCONT)
    logged.ask(1)
    logged.router.stop()
    lost = sum(map(int, re.findall(r"the access log lost (\d+) lines", logged.router.log())))
    numbers = [int(line.split()[0][1:]) for line in logged.path.read_text().splitlines()]
    assert numbers == sorted(numbers) and numbers[0] == 1 and numbers[-1] == 901
    assert len(numbers) == 901 - lost and lost > 100
    assert all(len(line) > 3900 for line in logged.path.read_text().splitlines()), text


def test_a_stop_does_not_wait_for_a_logger_that_hangs(servers: Servers) -> None:
    """Workers give up after a second, the logger is killed when its time is over."""
    logged = Logged(servers, "reload-mercy = 1")
    logged.ask(1)
    logged.wait([1])
    os.kill(logger(logged.router), signal.SIGSTOP)
    logged.ask(3)
    logged.router.stop(deadline=40)
    assert "did not leave in time" in logged.router.log()


def test_the_masters_death(servers: Servers) -> None:
    """Workers finish what they have, and the logger writes what they tell until the last is gone."""
    logged = Logged(servers)
    logged.ask(2)
    pid = logger(logged.router)
    slow = logged.servers.client(logged.address)
    slow.send_packet(get("a.example", "/3"))
    os.kill(logged.router.pid, signal.SIGKILL)
    assert slow.reply().status == 200
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", LONG, "it has left")
    assert logged.logged() == [1, 2, 3]
    logged.router.kill()


def test_usr1_opens_the_file_again(logged: Logged) -> None:
    asked = logged.ask(1)
    logged.wait(asked)
    moved = logged.path.with_suffix(".1")
    logged.path.rename(moved)
    logged.router.signal(signal.SIGUSR1)
    wait_until(logged.path.exists, LONG, "the file is there again")
    logged.wait(logged.ask(1))
    assert logged.logged(moved) == asked


def test_usr1_with_a_log_file(servers: Servers) -> None:
    """Both logs are opened again."""
    logged = Logged(servers, f"logto = {servers.directory}/error.log")
    for name in (logged.path, servers.directory / "error.log"):
        name.rename(f"{name}.1")
    logged.router.signal(signal.SIGUSR1)
    wait_until(lambda: logged.path.exists() and (servers.directory / "error.log").exists(), LONG, "both are there")


def test_log_reopen_follows_the_name(servers: Servers) -> None:
    logged = Logged(servers, "log-reopen = true")
    logged.ask(1)
    logged.wait([1])
    logged.path.rename(logged.path.with_suffix(".1"))
    wait_until(logged.path.exists, LONG, "the file is there again")
    logged.ask(1)
    logged.wait([2])


def test_another_format_and_file(logged: Logged) -> None:
    """A reload under requests: each line is in one of the files, in the format of who served it."""
    asked = logged.ask(3)
    (old,) = logged.router.workers()
    other = logged.path.with_suffix(".json")
    last = asked[-1] + 3
    slow = logged.servers.client(logged.address)
    whole = packet(get("a.example", f"/{last}"))
    slow.send(whole[:1])  # held by an old worker
    logged.router.rewrite(logged.config(f"req-logger = {other}", "log-format-json = uri status"))
    logged.router.hup()
    wait_until(lambda: "draining" in title(old), LONG, "the old worker accepts no more")
    later = logged.ask(2)
    wait_until(lambda: other.exists() and len(other.read_text().splitlines()) == 2, LONG, "the new lines")
    assert len(loggers(logged.router)) == 2
    slow.send(whole[1:])
    assert slow.reply().status == 200
    logged.wait([*asked, last])
    logged.sent = last
    assert [json.loads(line)["uri"] for line in other.read_text().splitlines()] == [f"/{number}" for number in later]
    wait_until(lambda: len(loggers(logged.router)) == 1, LONG, "the old logger left with the old worker")
    logged.reload(*logged.lines)


def test_no_log_any_more(logged: Logged) -> None:
    """Lines of the old workers are written, and no process is left that would write others."""
    asked = logged.ask(1)
    logged.reload()
    assert fetch(logged.address, "a.example", "/none").status == 200
    assert logged.logged() == asked and not loggers(logged.router)
    logged.reload(*logged.lines)


def test_a_file_that_cannot_be(logged: Logged) -> None:
    """A reload that fails changes nothing."""
    logged.router.rewrite(logged.config("req-logger = file:/nowhere/a.log"))
    logged.router.hup()
    logged.router.wait_for_log("reload failed: cannot open the access log /nowhere/a.log: No such file or directory")
    logged.wait(logged.ask(1))


def test_conditions_without_a_logger(servers: Servers) -> None:
    """Only what they name, and it goes to the error log."""
    node = servers.node(answer(b"gone", status="404 Not Found"))
    address = local()
    config = f"[uwsgirouter]\nfastrouter = {address}\nfastrouter-to = {node.address}\nlog-5xx = true\n"
    router = servers.router(config=config + "logformat = LOG %(status) %(id)")
    assert fetch(address, "a.example").status == 404
    node.refuse()
    reply = fetch(address, "a.example")
    assert reply.status == 502
    name = dict(reply.headers)["x-request-id"]
    router.wait_for_log(f"LOG 502 {name}")
    router.stop()
    assert router.log().count("LOG ") == 1


def test_a_request_brings_its_id(servers: Servers) -> None:
    """It is in each line about it, and on the page; one that no log can hold is replaced."""
    logged = Logged(servers, "fastrouter-max-retries = 0")
    logged.node.refuse()
    client = servers.client(logged.address)
    variables = get("a.example", "/1")
    client.send_packet([*variables, (b"HTTP_X_REQUEST_ID", b"order-66&x")])
    reply = client.reply()
    assert dict(reply.headers)["x-request-id"] == "order-66&x" and b"<p>Request order-66&amp;x</p>" in reply.body
    log = logged.router.wait_for_log("phase connect id order-66&x")
    assert re.search(r"unable to connect\(\).*refused, id order-66&x\n", log)
    wait_until(lambda: "/1 502 a.example connect-failed order-66&x\n" in logged.path.read_text(), LONG, "its line")
    client = servers.client(logged.address)
    client.send_packet([*variables, (b"HTTP_X_REQUEST_ID", b'bad "id"\n')])
    assert re.fullmatch(r"[0-9a-f]{32}", dict(client.reply().headers)["x-request-id"])


def test_rules_have_their_say(servers: Servers) -> None:
    """logvar, donotlog, and whose a rule's own line is."""
    rules = ["route = ^/2$ donotlog:", "route = ^/3$ logvar:site=blue", "route = ^/3$ log:hello"]
    rules += ["route = ^/5$ return:403", "response-route = ^/4$ addheader:X-A: b"]
    logged = Logged(servers, "logformat = %(uri) %(site) %(status) %(size) %(hsize) %(rsize) %(headers)", *rules)
    logged.ask(3)
    sizes = {}
    for path in ("/4", "/5"):
        client = servers.client(logged.address)
        client.send_packet(get("a.example", path))
        whole = client.read_all()[0]
        head = whole.find(b"\r\n\r\n") + 4
        sizes[path] = f"{len(whole)} {head} {len(whole) - head} {whole[:head].count(b': ')}"
    logged.router.stop()
    lines = logged.path.read_text().splitlines()
    assert [line.split(" 200 ")[0] for line in lines[:2]] == ["/1 -", "/3 blue"]
    assert lines[2:] == [f"/4 - 200 {sizes['/4']}", f"/5 - 403 {sizes['/5']}"]
    assert re.search(r" hello \[id [0-9a-f]{32}\]\n", logged.router.log())


def test_over_udp_and_to_a_unix_socket(servers: Servers) -> None:
    """A datagram a line."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    there = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    here.bind(("127.0.0.1", free_udp_port()))
    there.bind(servers.path("log.sock"))
    with here, there:
        for sock in (here, there):
            sock.settimeout(LONG)
        port = here.getsockname()[1]
        logged = Logged(
            servers,
            f"req-logger = socket:{servers.path('log.sock')}",
            f"req-logger = rsyslog:127.0.0.1:{port},box app",
            logger=f"socket:127.0.0.1:{port},tag",
        )
        logged.ask(1)
        line = there.recv(65536)
        assert re.fullmatch(rb"/1 200 a\.example - [0-9a-f]{32}\n", line)
        assert here.recv(65536) == b"tag" + line
        assert re.fullmatch(rb"<29>\w{3} [ \d]\d [\d:]{8} box app: " + line[:-1], here.recv(65536))


def test_the_error_log_is_renamed(servers: Servers) -> None:
    """log-maxsize is about it, too."""
    path = servers.directory / "error.log"
    logged = Logged(servers, f"logto = {path}", "log-maxsize = 2000", "log-reopen = true")
    backups = lambda: sorted(servers.directory.glob("error.log.*"))  # noqa: E731
    wait_until(lambda: logged.router.signal(signal.SIGUSR1) or backups(), LONG, "reports fill the log")
    first = wait_until(backups, LONG, "the log is renamed")[0]
    assert first.stat().st_size > 2000
    wait_until(lambda: "log reopened" in path.read_text(), LONG, "the new log is written")

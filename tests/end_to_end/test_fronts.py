"""docs/fronts.md: nginx, Apache httpd and lighttpd with the files of conf/, in front of the router and a node.

The node tells what reached it, so each test says what a front makes of one thing: a path, a body, an address, an
upgrade.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers import Connection, Router, Servers, announce, free_udp_port, local, wait_until
from tests.servers.fronts import Front, trusting_nobody

NAMES = ("nginx", "apache", "lighttpd")
HOST = "shop.example"
PATIENCE = 20.0
BODY = bytes(range(256)) * 1200


class Seen(NamedTuple):
    """What a front made of a request: status and head of the answer; variables and body at the node."""

    status: int
    head: dict[str, str]
    variables: dict[str, str]
    body: bytes


class Row:
    """A router, a node that tells what it got, and each front twice: as it is, and with all that its comments show."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.bodies: list[bytes] = []
        self.go_on = threading.Event()
        self.half = threading.Event()
        server = f"127.0.0.1:{free_udp_port()}"
        lines = ["[uwsgirouter]", f"fastrouter = {local()}", f"fastrouter = {servers.path('router.sock')}"]
        lines += ["chmod-socket = 666", f"fastrouter-subscription-server = {server}", "subscription-tolerance = 3600"]
        self.router: Router = servers.router(config="\n".join([*lines, "fastrouter-strip-port = true", ""]))
        node = servers.node(self.serve)
        announce(server, HOST, node.address)
        self.router.wait_for_log("new node", PATIENCE)
        kinds = [(name, everything) for name in NAMES for everything in (False, True)]
        tcp, unix = self.router.listening
        self.fronts = {
            kind: Front(servers, project, kind[0], unix if kind[1] else tcp, everything=kind[1]) for kind in kinds
        }

    def serve(self, connection: Connection) -> None:
        """The node."""
        packet = connection.read_packet()
        variables = {name.decode(): value.decode("latin-1") for name, value in packet.variables}
        path = variables["PATH_INFO"]
        if path == "/socket":
            self._talk(connection, "HTTP_UPGRADE" in variables)
        elif path == "/stream":
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nfirst,")
            assert self.go_on.wait(PATIENCE)
            connection.send(b"second")
        elif path == "/upload":
            connection.read(1000)
            self.half.set()
            connection.read(int(variables["CONTENT_LENGTH"]) - 1000)
            connection.answer(b"taken")
        else:
            self.bodies.append(connection.read(int(variables.get("CONTENT_LENGTH") or 0)))
            connection.answer(json.dumps(variables).encode(), extra=b"X-From: node\r\n")

    @staticmethod
    def _talk(connection: Connection, upgrade: bool) -> None:
        """Whatever comes goes back, when the front passes the wish for it on."""
        if not upgrade:
            connection.answer(b"a plain request", "426 Upgrade Required")
            return
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        while block := connection.socket.recv(100):
            connection.send(b"heard " + block)

    def ask(
        self,
        front: Front,
        target: str = "/",
        body: bytes | None = None,
        head: dict[str, str] | None = None,
        tls: bool = False,
    ) -> Seen:
        """One request through the front."""
        client: http.client.HTTPConnection
        if tls:
            client = http.client.HTTPSConnection("127.0.0.1", front.tls, timeout=PATIENCE, context=trusting_nobody())
        else:
            client = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
        try:
            client.request("GET" if body is None else "POST", target, body, {"Host": HOST, **(head or {})})
            answer = client.getresponse()
            text = answer.read()
            variables = json.loads(text) if answer.getheader("X-From") else {}
            sent = self.bodies.pop() if variables else text
            return Seen(answer.status, {name.lower(): value for name, value in answer.getheaders()}, variables, sent)
        finally:
            client.close()


@pytest.fixture(scope="module")
def row(project: Path) -> Iterator[Row]:
    """Started once for all tests."""
    servers = Servers()
    try:
        yield Row(servers, project)
    finally:
        servers.close()


@pytest.fixture(params=NAMES)
def front(row: Row, request: pytest.FixtureRequest) -> Front:
    """Each front with its file as it stands."""
    return row.fronts[request.param, False]


@pytest.fixture(params=NAMES)
def full(row: Row, request: pytest.FixtureRequest) -> Front:
    """Each front with everything in force that its file shows in comments."""
    return row.fronts[request.param, True]


def test_paths_and_queries_arrive(row: Row, front: Front) -> None:
    seen = row.ask(front, "/a%20b/%C3%A9?x=1%2F2&y=a+b")
    assert seen.status == 200
    assert seen.variables["PATH_INFO"].encode("latin-1") == "/a b/é".encode()
    assert seen.variables["QUERY_STRING"] == "x=1%2F2&y=a+b"
    assert seen.variables["REQUEST_URI"] == "/a%20b/%C3%A9?x=1%2F2&y=a+b"
    assert seen.variables["REQUEST_METHOD"] == "GET"
    assert seen.variables.get("SCRIPT_NAME", "") == ""
    assert row.ask(front, "/a/x/..//b").variables["PATH_INFO"] == "/a/b"
    slash = row.ask(front, "/a%2Fb")
    assert (slash.status, slash.variables["REQUEST_URI"]) == (200, "/a%2Fb")
    assert slash.variables["PATH_INFO"] == "/a/b"


def test_the_host_is_the_key(row: Row, front: Front) -> None:
    seen = row.ask(front, head={"Host": f"{HOST}:8080"})
    assert seen.status == 200, "fastrouter-strip-port"
    assert seen.variables["HTTP_HOST"] == (HOST if front.name == "nginx" else f"{HOST}:8080")
    unknown = row.ask(front, head={"Host": "nobody.example"})
    assert (unknown.status, unknown.head["x-uwsgirouter-cause"]) == (503, "no-node"), (
        "the router's answer comes through"
    )


@pytest.mark.parametrize("size", [0, 10, len(BODY)])
def test_bodies_arrive(row: Row, front: Front, size: int) -> None:
    seen = row.ask(front, "/form", BODY[:size], {"Content-Type": "text/x-form"})
    assert (seen.status, seen.variables["CONTENT_TYPE"]) == (200, "text/x-form")
    assert (seen.variables["CONTENT_LENGTH"], seen.body) == (str(size), BODY[:size])


def test_bodies_of_unknown_length(row: Row, front: Front) -> None:
    """nginx and lighttpd gather them; Apache says that it wants a length."""
    with socket.create_connection(("127.0.0.1", front.port), PATIENCE) as client:
        head = f"POST /form HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + b"4\r\nsome\r\n5\r\nthing\r\n0\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        text = answer.read()
    if front.name == "apache":
        assert answer.status == 411
    else:
        assert answer.status == 200
        assert (json.loads(text)["CONTENT_LENGTH"], row.bodies.pop()) == ("9", b"something")


def test_the_clients_address_is_the_peers(row: Row, front: Front) -> None:
    """What a client writes of itself arrives as a header and nothing more."""
    seen = row.ask(front, head={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}).variables
    assert seen["REMOTE_ADDR"] == "127.0.0.1" and int(seen["REMOTE_PORT"])
    assert (seen["HTTP_X_FORWARDED_FOR"], seen["HTTP_X_FORWARDED_PROTO"]) == ("192.0.2.7", "https")
    assert "HTTPS" not in seen and seen["REQUEST_SCHEME"] == "http"


def test_behind_a_load_balancer_it_is_what_that_names(row: Row, full: Front) -> None:
    seen = row.ask(full, head={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}).variables
    assert seen["REMOTE_ADDR"] == "192.0.2.7"
    assert seen["HTTP_X_FORWARDED_PROTO"] == "https"
    assert seen.get("HTTPS") == (None if full.name == "nginx" else "on"), "the balancer ended TLS"


def test_tls_is_told(row: Row, front: Front) -> None:
    seen = row.ask(front, tls=True)
    assert (seen.status, seen.variables["HTTPS"], seen.variables["REQUEST_SCHEME"]) == (200, "on", "https")


def test_a_header_with_an_odd_name_does_not_become_a_variable_of_the_front(row: Row, front: Front) -> None:
    """A client cannot pass for another address, or name a key, by a header: they all begin with HTTP_."""
    seen = row.ask(front, head={"Remote-Addr": "192.0.2.7", "UWSGI-FASTROUTER-KEY": "nobody.example"})
    assert (seen.status, seen.variables["REMOTE_ADDR"]) == (200, "127.0.0.1")
    assert seen.variables["HTTP_UWSGI_FASTROUTER_KEY"] == "nobody.example"


def test_a_websocket_needs_nginx(row: Row, front: Front) -> None:
    with socket.create_connection(("127.0.0.1", front.port), PATIENCE) as client:
        wish = f"GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        client.sendall(wish.encode())
        if front.name == "nginx":
            head = client.recv(4096)
            assert head.startswith(b"HTTP/1.1 101 ") and b"Upgrade: echo" in head
            client.sendall(b"you")
            assert client.recv(100) == b"heard you"
        else:
            assert client.recv(4096).startswith(b"HTTP/1.1 426 "), "the application says that it cannot"


def test_answers_can_go_on_as_they_come(row: Row, full: Front) -> None:
    row.go_on.clear()
    with socket.create_connection(("127.0.0.1", full.port), PATIENCE) as client:
        client.sendall(f"GET /stream HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while b"first," not in got:
            block = client.recv(4096)
            assert block, got
            got += block
        row.go_on.set()
        while block := client.recv(4096):
            got += block
    assert b"second" in got


def test_uploads_can_go_on_as_they_come(row: Row, full: Front) -> None:
    row.half.clear()
    with socket.create_connection(("127.0.0.1", full.port), PATIENCE) as client:
        head = f"POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 400000\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + bytes(200_000))
        assert row.half.wait(PATIENCE), "the node has the first part while the second one is not sent"
        client.sendall(bytes(200_000))
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert (answer.status, answer.read()) == (200, b"taken")


def test_a_router_that_was_restarted_is_asked_again(servers: Servers, project: Path) -> None:
    address = local()
    fronts = [Front(servers, project, name, address) for name in NAMES]
    node = servers.node(lambda connection: (connection.read_packet(), connection.answer(b"here"))[-1])

    def statuses() -> list[int]:
        found = []
        for front in fronts:
            client = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
            client.request("GET", "/", headers={"Host": HOST})
            found.append(client.getresponse().status)
            client.close()
        return found

    assert set(statuses()) <= {502, 503}, "there is no router"
    router = servers.router("--fastrouter", address, "--fastrouter-to", node.address)
    assert statuses()[:2] == [200, 200], "at once"
    wait_until(lambda: statuses() == [200, 200, 200], PATIENCE, "lighttpd looks again each second")
    router.stop()
    wait_until(lambda: 200 not in statuses(), PATIENCE, "there is no router any more")
    servers.router("--fastrouter", address, "--fastrouter-to", node.address)
    wait_until(lambda: statuses() == [200, 200, 200], PATIENCE, "the router is back")


def test_the_page_names_each_file(project: Path) -> None:
    page = (project / "docs" / "fronts.md").read_text()
    assert all(f"`conf/{name}.conf.example`" in page for name in NAMES)
    assert re.search(r"^## nginx$", page, re.MULTILINE)

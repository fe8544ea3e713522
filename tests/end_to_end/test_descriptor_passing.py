"""Descriptor passing with the real router: nodes that adopt the client's connection, and nodes that do not."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.local import served
from tests.local.peers import descriptors
from tests.servers import (
    Client,
    End,
    Process,
    Reply,
    Servers,
    fetch,
    free_port,
    get,
    local,
    packet,
    wait_until,
)
from tests.servers.wire import where
from tests.worker.site import Site

APP = Path(served.__file__).parent
MEGABYTE = 1 << 20
ADOPTING = ["adopting", "threads", "gevent"]
PLAIN = ["plain", "uwsgi"]
ARGUMENTS = {
    "adopting": ["-k", "uwsgirouter.local.adopting.SyncWorker", "--workers", "2"],
    "threads": ["-k", "uwsgirouter.local.adopting.ThreadWorker", "--threads", "4"],
    "gevent": ["-k", "uwsgirouter.local.adopting_gevent.GeventWorker"],
    "plain": [],
}


class Sites:
    """One router, and nodes on unix sockets: ``NAME.example`` is the key of the node NAME."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.site = Site(servers)
        self.nodes: dict[str, Process] = {}
        self.paths: dict[str, str] = {}
        for name in (*ADOPTING, *PLAIN):
            self.paths[name] = servers.path(f"{name}.sock")
            self.nodes[name] = self.start(name, self.paths[name])
            self.site.announce(f"{name}.example", self.paths[name])
            assert self.fetch(name, "/pid").status == 200

    def start(self, name: str, path: str) -> Process:
        """A node."""
        if name == "uwsgi":
            arguments = ["--socket", path, "--wsgi-file", str(APP / "served.py"), "--master", "--need-app"]
            return self.servers.uwsgi(*arguments, "--processes", "2")
        return self.servers.gunicorn("served:application", APP, *ARGUMENTS[name], address=path)

    def fetch(self, name: str, path: str, kind: str = "tcp", body: bytes | None = None) -> Reply:
        """One request to a node."""
        return fetch(self.site.address(kind), f"{name}.example", path, body)

    def ask(self, name: str, path: str, kind: str = "tcp") -> Client:
        """A client that has sent its request."""
        client = self.servers.client(self.site.address(kind))
        client.send_packet(get(f"{name}.example", path))
        return client

    def adopted(self) -> int:
        """How many clients nodes took over so far."""
        return self.site.stats().numbers["adopted"]

    def inflight(self) -> int:
        """Requests that nodes are at."""
        return self.site.stats().numbers["in flight"]

    def workers(self, name: str) -> list[int]:
        """The pids of a node's workers."""
        return sorted(child.pid for child in self.nodes[name].children())

    def held(self, name: str) -> int:
        """The descriptors of all of a node's workers."""
        return sum(descriptors(pid) for pid in self.workers(name))


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    """What the module's tests share."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="module")
def sites(started: Servers) -> Sites:
    """The router with its nodes."""
    return Sites(started)


@pytest.fixture(autouse=True)
def nothing_leaks(sites: Sites) -> Iterator[None]:
    """After each test the router's worker holds what it held before, and no request is in flight."""
    before = sites.site.descriptors()
    yield
    wait_until(lambda: sites.site.descriptors() <= before, 5.0, f"{before} descriptors, as before")
    wait_until(lambda: sites.inflight() == 0, 5.0, "no request is in flight")


def received(client: Client) -> tuple[bytes, int, str, End]:
    """The head, the body's length and hash, and how it ended; nothing is kept."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.read_some()
    head, _, body = head.partition(b"\r\n\r\n")
    summed, size, end = hashlib.sha1(body, usedforsecurity=False), len(body), End.EOF
    try:
        while block := client.read_some(1 << 18):
            summed.update(block)
            size += len(block)
    except ConnectionResetError:
        end = End.RESET
    return head, size, summed.hexdigest(), end


@pytest.mark.parametrize("name", [*ADOPTING, *PLAIN])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_both_kinds_of_nodes(sites: Sites, name: str, kind: str) -> None:
    before = sites.adopted()
    assert sites.fetch(name, "/whole?100", kind).body == served.BLOCK[:100]
    with sites.ask(name, f"/big?{MEGABYTE}", kind) as client:
        head, size, summed, end = received(client)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (size, summed, end) == (MEGABYTE, served.digest(MEGABYTE), End.EOF)
    assert sites.fetch(name, "/echo", kind, b"posted").body == b"posted"
    assert sites.adopted() - before >= 2 if name in ADOPTING else sites.adopted() == before


@pytest.mark.parametrize(
    ("name", "kind"), [("adopting", "tcp"), ("adopting", "unix"), ("plain", "tcp"), ("uwsgi", "tcp")]
)
def test_a_hundred_megabytes(sites: Sites, name: str, kind: str) -> None:
    size = 100 * MEGABYTE
    with sites.ask(name, f"/big?{size}", kind) as client:
        _, got, summed, end = received(client)
    assert (got, end) == (size, End.EOF)
    assert summed == served.digest(size)


def test_a_file_is_sent_by_the_kernel_to_the_client(sites: Sites) -> None:
    file = Path(sites.servers.path("sent"))
    with file.open("wb") as output:
        output.writelines(served.content(10 * MEGABYTE))
    with sites.ask("adopting", f"/file?{file}") as client:
        _, size, summed, end = received(client)
    assert (size, summed, end) == (10 * MEGABYTE, served.digest(10 * MEGABYTE), End.EOF)


@pytest.mark.parametrize("name", ["adopting", "plain"])
def test_the_request_is_in_flight_until_the_node_is_done(sites: Sites, name: str) -> None:
    go = Path(sites.servers.path(f"go-{name}"))
    with sites.ask(name, f"/held?{go}") as client:
        client.read(2)
        assert sites.inflight() == 1
        go.touch()
        assert client.read_all()[0].endswith(b"first,second")
    wait_until(lambda: sites.inflight() == 0, 5.0, "no request is in flight")


@pytest.mark.parametrize("name", ["adopting", "threads", "plain"])
def test_a_node_is_killed_in_the_middle(sites: Sites, name: str) -> None:
    """The client of an adopter is reset, so that the response does not look complete. (A plain node's end is clean.)"""
    before = sites.site.stats().causes.get("node-reset", 0)
    with sites.ask(name, f"/held?{sites.servers.path('never')}") as client:
        victim = pid_of(client)
        os.kill(victim, signal.SIGKILL)
        assert client.read_all()[1] is (End.RESET if name in ADOPTING else End.EOF)
    if name in ADOPTING:
        assert sites.site.stats().causes["node-reset"] == before + 1
    wait_until(lambda: victim not in sites.workers(name) and sites.workers(name), 5.0, "gunicorn has a new worker")
    wait_until(lambda: sites.fetch(name, "/pid").status == 200, 5.0, "it serves")


def pid_of(client: Client) -> int:
    """Who answers; reads the response's head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.read(1)
    return int(head.partition(b"X-Pid: ")[2].split(b"\r\n")[0])


def kill_who_waits(go: Path) -> None:
    """Kill the worker that waits for the file before its response."""
    note = Path(f"{go}.pid")
    wait_until(lambda: note.exists() and note.read_text(), 5.0, "somebody waits")
    victim = int(note.read_text())
    note.unlink()
    os.kill(victim, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_node_is_killed_before_its_first_byte(sites: Sites, kind: str) -> None:
    """The router answers, if it can know that the node has not: the kernel tells that of TCP connections."""
    go = Path(sites.servers.path(f"never-{kind}"))
    with sites.ask("adopting", f"/wait?{go}", kind) as client:
        kill_who_waits(go)
        if kind == "tcp":
            assert client.reply().status == 502
        else:
            assert client.read_all() == (b"", End.EOF)
    wait_until(lambda: len(sites.workers("adopting")) == 2, 5.0, "gunicorn has a new worker")


def test_a_request_whose_node_is_killed_before_its_first_byte_is_repeated(sites: Sites) -> None:
    sites.site.announce("pair.example", sites.paths["adopting"], sites.paths["threads"])
    go = Path(sites.servers.path("go-pair"))
    with sites.ask("pair", f"/wait?{go}") as client:
        kill_who_waits(go)
        wait_until(Path(f"{go}.pid").exists, 5.0, "the other node has the request")
        go.touch()
        assert client.reply().body == b"hello"
    for name, count in (("adopting", 2), ("threads", 1)):
        wait_until(lambda name=name, count=count: len(sites.workers(name)) == count, 5.0, "gunicorn has a new worker")
        wait_until(lambda name=name: sites.fetch(name, "/pid").status == 200, 5.0, "it serves")


@pytest.mark.parametrize("name", [*ADOPTING, "plain"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_an_application_fails_in_the_middle(sites: Sites, name: str, kind: str) -> None:
    """However soon: what the client has of the response is never followed by another one, nor by a clean end."""
    for number in range(30):
        with sites.ask(name, "/cut?1000", kind) as client:
            if number % 2:
                pid_of(client)
            raw, end = client.read_all()
            assert raw.count(b"HTTP/1.1") <= 1, raw
            assert b"502" not in raw, raw
            if name in ADOPTING and kind == "tcp":
                assert end is End.RESET, raw


@pytest.mark.parametrize("name", [*ADOPTING, *PLAIN])
def test_a_client_goes_in_the_middle(sites: Sites, name: str) -> None:
    held, before = sites.held(name), sites.site.stats()
    for count, kind in enumerate(("tcp", "unix"), 1):
        with sites.ask(name, f"/big?{20 * MEGABYTE}", kind) as client:
            client.read(100_000)
            adopted = before.numbers["adopted"] + (count if name in ADOPTING else 0)
            wait_until(lambda adopted=adopted: sites.adopted() == adopted, 5.0, "the router knows who answers")
            client.reset()
        wait_until(lambda: sites.inflight() == 0, 5.0, "the node is done with it")
    after = sites.site.stats()
    assert after.numbers["clients gone"] == before.numbers["clients gone"] + 2
    assert after.causes == before.causes, "no node is to blame"
    assert sites.fetch(name, "/whole?1").status == 200
    wait_until(lambda: sites.held(name) <= held, 5.0, "the node has closed what it had")


def test_a_worker_of_the_router_is_killed_in_the_middle(started: Servers, sites: Sites) -> None:
    """What it handed over is answered all the same."""
    router = started.router(
        config=f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-to = {sites.paths['adopting']}\n"
    )
    go = Path(started.path("go-router"))
    client = started.client(router.address)
    client.send_packet(get("any.example", f"/held?{go}"))
    pid_of(client)
    (worker,) = router.wait_for_workers(1)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in router.workers(), 5.0, "it is dead")
    go.touch()
    assert client.read_all() == (b"first,second", End.EOF)
    router.stop()


def test_a_reload_waits_for_the_node(started: Servers, sites: Sites) -> None:
    router = started.router(
        config=f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-to = {sites.paths['adopting']}\n"
    )
    go = Path(started.path("go-reload"))
    client = started.client(router.address)
    client.send_packet(get("any.example", f"/held?{go}"))
    pid_of(client)
    (old,) = router.wait_for_workers(1)
    router.hup()
    wait_until(lambda: len(router.workers()) == 2, 5.0, "a new worker beside the old one")
    go.touch()
    assert client.read_all() == (b"first,second", End.EOF)
    wait_until(lambda: old not in router.workers(), 5.0, "the old worker leaves when the node is done")
    router.stop()


def test_no_fd_passing(started: Servers, sites: Sites) -> None:
    relaying = Site(started, "no-fd-passing = true")
    relaying.announce("adopting.example", sites.paths["adopting"])
    for kind in ("tcp", "unix"):
        assert fetch(relaying.address(kind), "adopting.example", "/socket").body == b"socket"
        assert fetch(sites.site.address(kind), "adopting.example", "/socket").body == b"AdoptingSocket"
    assert relaying.stats().numbers["adopted"] == 0
    relaying.router.stop()


def test_a_body_that_follows_is_not_passed(sites: Sites) -> None:
    """The descriptor goes along only with a whole request."""
    before = sites.adopted()
    with Client(sites.site.tcp) as client:
        head = packet([*get("adopting.example", "/echo", "POST"), (b"CONTENT_LENGTH", b"6")])
        client.send(head + b"abc")
        wait_until(lambda: sites.inflight() == 1, 5.0, "the node has it")
        client.send(b"def")
        assert client.reply().body == b"abcdef"
    assert sites.adopted() == before


# -- 10,000 requests ------------------------------------------------------------------------------------------------

REQUESTS = 10_000


def bare(address: str, request: bytes) -> Callable[[int], bool]:
    """A client that asks as fast as it can: whether the whole of ``hello`` came."""
    family, sockaddr = where(address)

    def one(_: int) -> bool:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(sockaddr)
            connection.sendall(request)
            blocks = []
            while block := connection.recv(65536):
                blocks.append(block)
            return b"".join(blocks).endswith(b"\r\n\r\nhello")

    return one


def test_ten_thousand_requests_leak_nothing(sites: Sites) -> None:
    workers = sites.workers("adopting")
    before = sites.site.descriptors(), sites.held("adopting"), sites.adopted()
    request = packet(get("adopting.example", "/hello"))
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(bare(sites.site.tcp, request), range(REQUESTS // 2), chunksize=100)]
        answers += pool.map(bare(sites.site.unix, request), range(REQUESTS // 2), chunksize=100)
    assert answers.count(True) == REQUESTS
    assert sites.adopted() - before[2] == REQUESTS
    wait_until(lambda: sites.site.descriptors() <= before[0], 5.0, "the router's worker is as before")
    assert sites.workers("adopting") == workers
    wait_until(lambda: sites.held("adopting") <= before[1], 5.0, "the node's workers are as before")


# -- nginx, and the files of conf/ ------------------------------------------------------------------------------------


class Web:
    """nginx before two addresses of a router: ``/tcp...`` and ``/unix...`` lose that prefix."""

    def __init__(self, servers: Servers, tcp: str, unix: str) -> None:
        self.port = free_port()
        places = "".join(
            f"location /{kind}/ {{ include /etc/nginx/uwsgi_params; uwsgi_param PATH_INFO $path;"
            f" uwsgi_param HTTP_HOST $http_host; uwsgi_pass {address}; }}\n"
            for kind, address in (("tcp", tcp), ("unix", f"unix:{unix}"))
        )
        servers.nginx(
            f"daemon off; pid nginx.pid; error_log {servers.directory}/error.log; events {{}}\n"
            'http { access_log off; client_max_body_size 0; map $uri $path { "~^/[a-z]+(/.*)$" $1; }\n'
            f"server {{ listen 127.0.0.1:{self.port};\n{places}}} }}\n",
            local(self.port),
        )

    def ask(self, method: str, path: str, host: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {"Host": host})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def web(started: Servers, sites: Sites) -> Web:
    """nginx before the router."""
    Path(sites.site.unix).chmod(0o777)  # nginx's workers are another user
    return Web(started, sites.site.tcp, sites.site.unix)


@pytest.mark.parametrize("name", [*ADOPTING, *PLAIN])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_through_nginx(sites: Sites, web: Web, name: str, kind: str) -> None:
    before = sites.adopted()
    host = f"{name}.example"
    status, body = web.ask("GET", f"/{kind}/big?{3 * MEGABYTE}", host)
    assert status == 200
    assert hashlib.sha1(body, usedforsecurity=False).hexdigest() == served.digest(3 * MEGABYTE)
    assert web.ask("HEAD", f"/{kind}/big?1000", host) == (200, b"")
    assert web.ask("POST", f"/{kind}/echo", host, served.BLOCK) == (200, served.BLOCK)
    # uWSGI closes without a word when the application raises; that it answered before says that it has not adopted.
    assert web.ask("GET", f"/{kind}/fail", host)[0] == (502 if name == "uwsgi" else 500)
    assert (sites.adopted() > before) is (name in ADOPTING)


def test_through_nginx_a_response_that_fails_is_cut(sites: Sites, web: Web) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        web.ask("GET", "/tcp/cut?1000000", "adopting.example")


def test_the_files_of_conf(started: Servers, project: Path) -> None:
    """As router.ini says, on free addresses."""
    conf = project / "conf" / "descriptor-passing"
    path = started.path("conf.sock")
    address = local()
    text = (conf / "router.ini").read_text()
    assert text.count("127.0.0.1:3017") == 1
    (command,) = [line.strip("; ") for line in text.splitlines() if line.startswith(";     gunicorn ")]
    arguments = command.split()
    assert arguments[-2:] == ["unix:/run/uwsgirouter/app.sock", "app"]
    started.gunicorn("app", conf, *arguments[1 : arguments.index("--bind")], address=path)
    text = text.replace("/run/uwsgirouter/app.sock", path).replace("127.0.0.1:3017", address)
    router = started.router(config=text)
    assert fetch(address).body == b"The node answers the web server.\n"
    with started.client(address) as client:
        client.send_packet(get(path="/large"))
        assert received(client)[1] == 64 * MEGABYTE
    router.rewrite(text.replace(";     no-fd-passing", "no-fd-passing"))
    router.hup()
    wait_until(lambda: fetch(address).body == b"The router relays.\n", 5.0, "the option in the comment")

"""The worker classes in a real gunicorn, behind a scripted router that passes descriptors."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.local import served
from tests.local.peers import KINDS, Passing, RouterEnd, connected, descriptors
from tests.servers import Client, End, Gunicorn, Reply, Servers, fetch, get, local, packet, wait_until

HERE = Path(__file__).parent
CLASSES = {
    "sync": ["-k", "uwsgirouter.local.adopting.SyncWorker"],
    "threads": ["-k", "uwsgirouter.local.adopting.ThreadWorker", "--threads", "4"],
    "gevent": ["-k", "uwsgirouter.local.adopting_gevent.GeventWorker"],
}
MEGABYTE = 1 << 20
_numbers = itertools.count(1)


class Adopter:
    """A gunicorn of one worker, on a unix socket and a TCP port."""

    def __init__(self, servers: Servers, kind: str, *args: str) -> None:
        self.servers = servers
        self.tcp = local()
        fixed = [*CLASSES[kind], "--bind", self.tcp, "--log-level", "debug", "--access-logfile", "-"]
        self.gunicorn: Gunicorn = servers.gunicorn(
            "served:application", HERE, *fixed, *args, address=servers.path(f"{kind}-{next(_numbers)}.sock")
        )
        self.address = self.gunicorn.address
        assert fetch(self.address, path="/pid").body.decode() == str(self.worker), "it serves"

    @property
    def worker(self) -> int:
        """The worker's pid."""
        (child,) = self.gunicorn.children()
        return int(child.pid)

    def request(self, path: str, kind: str = "tcp") -> Reply:
        """One request whose client is passed."""
        with Passing(self.address, kind) as passing:
            passing.get(path)
            return passing.answered()

    def wait_for_log(self, text: str, after: int) -> None:
        """Wait for a line behind that position of the log."""
        wait_until(lambda: text in self.gunicorn.log()[after:], 5.0, f"{text!r} in the log")

    def position(self) -> int:
        """The end of the log."""
        return len(self.gunicorn.log())


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    """What the module's tests share."""
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="module", params=CLASSES)
def adopter(started: Servers, request: pytest.FixtureRequest) -> Adopter:
    """One of each class."""
    return Adopter(started, request.param)


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test a shared worker has as many descriptors as before."""
    if "adopter" not in request.fixturenames:
        yield
        return
    adopter: Adopter = request.getfixturevalue("adopter")
    before = descriptors(adopter.worker)
    yield
    wait_until(lambda: descriptors(adopter.worker) <= before, 5.0, f"{before} descriptors, as before")


def drain(client: Client, into: list[bytes]) -> threading.Thread:
    """Read to the end in a thread."""
    thread = threading.Thread(target=lambda: into.append(client.read_all()[0]))
    thread.start()
    return thread


@pytest.mark.parametrize("kind", KINDS)
def test_the_node_answers_the_client(adopter: Adopter, kind: str) -> None:
    reply = adopter.request("/whole?1000", kind)
    assert (reply.status, reply.body) == (200, served.BLOCK[:1000])
    assert reply.header("connection") == "close"
    assert adopter.request("/socket", kind).body == b"AdoptingSocket"


def test_the_router_hears_of_it_before_the_response(adopter: Adopter) -> None:
    go = Path(adopter.servers.path("go-held"))
    go.unlink(missing_ok=True)
    with Passing(adopter.address) as passing:
        passing.get(f"/held?{go}")
        assert passing.is_adopted()
        assert passing.client.read(2) == b"HT"
        assert passing.end(0.05) is End.SILENT
        go.touch()
        assert passing.end() is End.EOF
        passing.let_go()
        assert passing.client.read_all()[0].endswith(b"\r\n\r\nfirst,second")


def test_requests_without_a_descriptor_are_served_as_ever(adopter: Adopter) -> None:
    """From a router that passes none, from nginx, over TCP: the response is on the connection, and ends with it."""
    for address in (adopter.address, adopter.tcp):
        reply = fetch(address, path="/whole?100000")
        assert reply.body == b"".join(served.content(100_000))
        assert fetch(address, path="/echo", body=b"posted").body == b"posted"
        assert fetch(address, path="/fail").status == 500
        assert fetch(address, path="/socket").body == b"socket"


def test_a_plain_reader_drops_the_descriptor(started: Servers) -> None:
    """gunicorn's own class: why it is safe to pass a descriptor to any node."""
    path = started.path("plain.sock")
    gunicorn = started.gunicorn("served:application", HERE, address=path)
    assert fetch(path).status == 200
    (worker,) = gunicorn.children()
    before = descriptors(worker.pid)
    with Passing(path) as passing:
        passing.get("/socket")
        assert Reply.parse(passing.read_all()).body == b"socket"
        passing.let_go()
        assert passing.client.read_all() == (b"", End.EOF), "the router's copy was the last one"
    wait_until(lambda: descriptors(worker.pid) <= before, 5.0, "nothing is left open")


@pytest.mark.parametrize("path", ["/big?{}", "/whole?{}", "/file?{}"])
@pytest.mark.parametrize("kind", KINDS)
def test_large_responses(adopter: Adopter, kind: str, path: str) -> None:
    """Written by blocks, in one, and by sendfile; the client reads while the descriptor does not block."""
    size = 8 * MEGABYTE + 17
    file = Path(adopter.servers.path("large"))
    if not file.exists():
        with file.open("wb") as output:
            output.writelines(served.content(size))
    with Passing(adopter.address, kind) as passing:
        passing.get(path.format(file if "file" in path else size))
        got: list[bytes] = []
        reader = drain(passing.client, got)
        assert passing.end() is End.EOF
        assert os.get_blocking(passing.passed.fileno()) is False
        passing.let_go()
        reader.join()
        body = Reply.parse(got[0]).body
        assert hashlib.sha1(body, usedforsecurity=False).hexdigest() == served.digest(size)


def test_a_body_that_came_with_the_packet(adopter: Adopter) -> None:
    for size in (1, 100, 50_000):
        with Passing(adopter.address) as passing:
            passing.post("/echo", size, served.BLOCK[:size])
            assert passing.answered().body == served.BLOCK[:size]
    with Passing(adopter.address) as passing:
        passing.post("/whole?5", 50_000, served.BLOCK[:50_000])
        assert passing.answered().body == served.BLOCK[:5], "an application need not read it"


def test_a_packet_in_pieces(adopter: Adopter) -> None:
    with Passing(adopter.address) as passing:
        passing.give(packet(get(path="/whole?3")), passing.passed.fileno(), pieces=[1, 1, 1, 1, 1, 50])
        assert passing.answered().body == served.BLOCK[:3]


def test_an_application_that_fails_first_is_a_500(adopter: Adopter) -> None:
    reply = adopter.request("/fail")
    assert (reply.status, b"Internal Server Error" in reply.body) == (500, True)


def test_an_application_that_fails_later_resets(adopter: Adopter) -> None:
    """What it wrote is with the client, which must not see a clean end: the router resets it then."""
    at = adopter.position()
    with Passing(adopter.address) as passing:
        passing.get("/cut?1000")
        assert passing.end() is End.RESET
        raw, end = passing.client.read_all(0.05)
        assert end is End.SILENT
        assert raw.endswith(served.BLOCK[:999])
    adopter.wait_for_log("RuntimeError: failed in mid-response", at)


@pytest.mark.parametrize("path", ["/big?{}", "/whole?{}"])
def test_a_client_that_goes_in_the_middle(adopter: Adopter, path: str) -> None:
    at = adopter.position()
    with Passing(adopter.address) as passing:
        passing.get(path.format(8 * MEGABYTE))
        passing.client.read(100_000)
        passing.client.reset()
        assert passing.end() is End.RESET
    wait_until(lambda: "gnoring" in adopter.gunicorn.log()[at:], 5.0, "gunicorn's own line about it")
    assert "Traceback" not in adopter.gunicorn.log()[at:]
    assert adopter.request("/whole?1").status == 200


def test_the_router_may_go_in_the_middle(adopter: Adopter) -> None:
    """A router that is stopped does not cut what it handed over."""
    go = Path(adopter.servers.path("go-on"))
    go.unlink(missing_ok=True)
    with Passing(adopter.address) as passing:
        passing.get(f"/held?{go}")
        passing.client.read(2)
        passing.socket.close()
        passing.let_go()
        go.touch()
        assert passing.client.read_all()[0].endswith(b"first,second")


def test_descriptors_of_no_use(adopter: Adopter) -> None:
    """The response comes on the router's connection, and the log says why."""
    at = adopter.position()
    with socket.create_server(("127.0.0.1", 0)) as listener, Path(__file__).open("rb") as file:
        for numbers in ([listener.fileno()], [file.fileno()], [file.fileno()] * 2, [file.fileno()] * 100):
            with RouterEnd(adopter.address) as router:
                router.ask(get(path="/whole?9"), *numbers)
                assert Reply.parse(router.read_all()).body == served.BLOCK[:9]
    for why in ("a socket that listens", "a descriptor that is no socket", "2 descriptors", "more control data"):
        adopter.wait_for_log(f"{why}", at)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00",
        b"\x00\x00\x00\x00",
        b"\x00\xff\xff\x00short",
        b"\x05\x00\x00\x00",
        b"\x00\x04\x00\x00\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 30_000,
    ],
)
def test_garbage(adopter: Adopter, garbage: bytes) -> None:
    """gunicorn answers what is a packet (a whole 500, or the page for no variables); a cut one is dropped."""
    with Passing(adopter.address) as passing:
        passing.give(garbage, passing.passed.fileno())
        passing.socket.shutdown(socket.SHUT_WR)
        passing.end()
        passing.let_go()
        raw, end = passing.client.read_all()
        assert end is End.EOF
        assert not raw or Reply.parse(raw).status in (200, 500)
    assert adopter.request("/whole?1").status == 200


def test_many_at_once_leak_nothing(adopter: Adopter) -> None:
    """(The suite's 10,000 are in end_to_end.) Also with clients that go, and applications that fail."""

    def one(number: int) -> None:
        with Passing(adopter.address, KINDS[number % 2]) as passing:
            passing.get(["/whole?10", "/cut?100", "/fail", "/big?200000"][number % 4])
            if number % 3:
                passing.client.close()
            passing.end()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(400)))


def test_the_worker_is_killed_in_the_middle(started: Servers) -> None:
    adopter = Adopter(started, "sync")
    victim = adopter.worker
    with Passing(adopter.address) as passing:
        passing.get("/big?8000000")
        passing.client.read(100_000)
        os.kill(victim, signal.SIGKILL)
        assert passing.end() is End.RESET
        passing.client.socket.settimeout(0.05)
        while True:
            try:
                assert passing.client.read_some(), "the router's copy keeps the client open"
            except TimeoutError:
                break
    wait_until(lambda: [child.pid for child in adopter.gunicorn.children()] not in ([], [victim]), 5.0, "a new worker")
    assert adopter.request("/whole?1").status == 200


@pytest.mark.parametrize("kind", CLASSES)
def test_a_graceful_stop_in_the_middle(started: Servers, kind: str) -> None:
    adopter = Adopter(started, kind)
    go = Path(started.path(f"go-stop-{kind}"))
    with Passing(adopter.address) as passing:
        passing.get(f"/held?{go}")
        passing.client.read(2)
        adopter.gunicorn.signal(signal.SIGTERM)
        adopter.wait_for_log("Handling signal: term", 0)
        go.touch()
        assert passing.end() is End.EOF
        passing.let_go()
        assert passing.client.read_all()[0].endswith(b"first,second")
    assert adopter.gunicorn.wait() == 0


def test_a_client_that_takes_nothing(started: Servers) -> None:
    """gunicorn's ``timeout`` ends it: the patience, or for a sync worker its master, whichever comes first."""
    adopters = [Adopter(started, kind, "--timeout", "1") for kind in CLASSES]
    asked = [Passing(adopter.address) for adopter in adopters]
    for passing in asked:
        passing.get("/big?8000000")
        assert passing.is_adopted()
    for passing in asked:
        assert passing.end() is End.RESET
        passing.close()
    for adopter in adopters:
        wait_until(lambda log=adopter.gunicorn.log: re.search("took nothing for 1 s|WORKER TIMEOUT", log()), 5.0, "why")
        wait_until(lambda gunicorn=adopter.gunicorn: len(gunicorn.children()) == 1, 5.0, "a worker")
        assert adopter.request("/whole?1").status == 200


def test_a_router_that_stops_in_the_middle_of_the_packet(started: Servers) -> None:
    """A thread is free again after ``timeout``, and the client's descriptor closed."""
    adopter = Adopter(started, "threads", "--timeout", "1")
    before = descriptors(adopter.worker)
    with Passing(adopter.address) as passing:
        passing.give(packet(get())[:-1], passing.passed.fileno())
        adopter.wait_for_log("TimeoutError", 0)
        passing.let_go()
        assert passing.client.read_all() == (b"", End.EOF)
    wait_until(lambda: descriptors(adopter.worker) <= before, 5.0, "as before")


def test_the_wrong_protocol_is_noticed(started: Servers) -> None:
    adopter = Adopter.__new__(Adopter)
    adopter.gunicorn = started.gunicorn("served:application", HERE, *CLASSES["sync"], "--protocol", "http")
    adopter.wait_for_log("SyncWorker adopts connections over the uwsgi protocol only: give --protocol uwsgi", 0)


def test_the_sync_and_thread_workers_import_no_gevent() -> None:
    code = "import sys, uwsgirouter.local.adopting; sys.exit('gevent' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


def test_a_client_that_was_gone_before(adopter: Adopter) -> None:
    client, passed = connected("tcp")
    client.reset()
    with RouterEnd(adopter.address) as router:
        router.ask(get(path="/whole?100"), passed.fileno())
        assert router.end() is End.RESET
    passed.close()

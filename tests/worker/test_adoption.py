"""Descriptor passing, the router's side: scripted nodes that adopt by the book, carelessly, or not at all, and die."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.servers import Client, Connection, End, Servers, answer, fetch, get, packet, post, wait_until
from tests.worker.site import Site

HEAD = b"HTTP/1.0 200 OK\r\n\r\n"
BIG = bytes(range(256)) * 12_000


class Offered:
    """What a node got: the packet's size, and the client's socket if its descriptor came along."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection.socket
        head, descriptors, _, _ = socket.recv_fds(self.connection, 4, 4)
        self.size = int.from_bytes(head[1:3], "little")
        self.client = socket.socket(fileno=descriptors[0]) if descriptors else None
        assert len(descriptors) <= 1

    def read(self, size: int) -> None:
        """So many bytes of the packet."""
        while size:
            size -= len(self.connection.recv(size))

    def send(self, data: bytes) -> None:
        """To the client, whose descriptor does not block (the router has it too)."""
        assert self.client is not None
        while data:
            try:
                data = data[self.client.send(data) :]
            except BlockingIOError:
                select.select([], [self.client], [], 10)

    def by_itself(self) -> None:
        """Answer on the router's connection."""
        self.read(self.size)
        self.connection.sendall(HEAD + b"myself")


Answer = Callable[[Offered], None]


def adopting(respond: Answer) -> Callable[[Connection], None]:
    """A node that adopts by the book: its word at once, one byte unread until ``respond`` has returned."""

    def handler(connection: Connection) -> None:
        offered = Offered(connection)
        if offered.client is None:
            offered.by_itself()
            return
        with offered.client:
            offered.read(offered.size - 1)
            connection.socket.shutdown(socket.SHUT_WR)
            respond(offered)
        offered.read(1)

    return handler


def careless(connection: Connection) -> None:
    """A node that closes the router's connection as soon as it has the client."""
    offered = Offered(connection)
    if offered.client is None:
        offered.by_itself()
        return
    offered.read(offered.size)
    connection.socket.close()
    with offered.client:
        offered.send(HEAD + b"careless")


def small(offered: Offered) -> None:
    offered.send(HEAD + b"adopted")


def big(offered: Offered) -> None:
    offered.send(HEAD + BIG)


@pytest.fixture(params=["tcp", "v6", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where the client comes in."""
    return str(request.param)


@pytest.fixture(scope="module")
def other(started: Servers) -> Iterator[Site]:
    """A router that passes no descriptors."""
    yield Site(started, "no-fd-passing = true")


@pytest.mark.parametrize(("respond", "body"), [(small, b"adopted"), (big, BIG)], ids=["small", "big"])
def test_an_adopted_client_is_answered_by_the_node(site: Site, kind: str, respond: Answer, body: bytes) -> None:
    baseline = site.descriptors()
    key, node = site.serve(adopting(respond), "unix")
    before = site.stats().numbers
    for _ in range(3):
        assert site.fetch(key, kind).body == body
    after = site.stats().numbers
    assert after["adopted"] - before["adopted"] == 3
    assert after["answered"] - before["answered"] >= 3
    site.assert_released(key, node, baseline + 1)  # the epoll that waits for nodes stays


def test_a_careless_node_is_let_go(site: Site, kind: str) -> None:
    baseline = site.descriptors()
    key, node = site.serve(careless, "unix")
    for _ in range(3):
        assert site.fetch(key, kind).body == b"careless"
    site.assert_released(key, node, baseline)


def test_one_that_closes_without_a_byte_may_have_adopted(site: Site) -> None:
    """Nobody can tell, so the router keeps out of the client's connection, and says so."""

    def handler(connection: Connection) -> None:
        connection.read_packet()

    baseline = site.descriptors()
    key, node = site.serve(handler, "unix")

    def told() -> bool:
        with Client(site.tcp) as client:
            client.send(packet(get(key)))
            assert client.read_all() == (b"", End.EOF)
        return f"{node.address} took over a client of key {key}, or closed without an answer" in site.router.log()

    wait_until(told, 5, "the line, of which there are ten a second")
    site.assert_released(key, node, baseline)


def test_no_fd_passing(other: Site, kind: str) -> None:
    key, _ = other.serve(adopting(small), "unix")
    assert other.fetch(key, kind).body == b"myself"
    assert other.stats().numbers["adopted"] == 0


def test_a_node_that_answers_by_itself_is_not_offered_each_client(site: Site) -> None:
    offers = []

    def handler(connection: Connection) -> None:
        offered = Offered(connection)
        offers.append(offered.client is not None)
        if offered.client is not None:
            offered.client.close()
        offered.by_itself()

    key, _ = site.serve(handler, "unix")
    for _ in range(5):
        assert site.fetch(key).body == b"myself"
    assert offers == [True, False, False, False, False]


def test_one_that_answered_by_itself_and_then_closes_has_failed(site: Site) -> None:
    """Its clients are told, and a GET goes elsewhere: this is no adoption."""
    lives = threading.Event()
    lives.set()

    def handler(connection: Connection) -> None:
        connection.read_packet()
        if lives.is_set():
            connection.answer(b"alive")

    key, _ = site.serve(handler, "unix")
    assert site.fetch(key).body == b"alive"
    lives.clear()
    assert site.fetch(key).status == 502
    site.announce(key, site.node(answer(b"another"), "unix").address)
    assert {site.fetch(key).body for _ in range(4)} == {b"another"}


@pytest.mark.parametrize("request_of", ["body to come", "chunked", "upgrade"])
def test_nothing_is_passed_while_the_client_still_has_something_to_say(site: Site, request_of: str) -> None:
    offers = []
    arrived = threading.Event()

    def handler(connection: Connection) -> None:
        offered = Offered(connection)
        offers.append(offered.client)
        arrived.set()
        while connection.socket.recv(65536):
            pass
        connection.send(HEAD + b"myself")

    key, _ = site.serve(handler, "unix")
    variables = {
        "body to come": post(key, 4),
        "chunked": [*get(key), (b"CONTENT_LENGTH", b""), (b"HTTP_TRANSFER_ENCODING", b"chunked")],
        "upgrade": [*get(key), (b"HTTP_UPGRADE", b"websocket")],
    }[request_of]
    with Client(site.tcp) as client:
        client.send(packet(variables))
        assert arrived.wait(5)
        if request_of == "body to come":
            client.send(b"body")
        client.half_close()
        assert client.reply().body == b"myself"
    assert offers == [None]


def test_a_whole_body_goes_with_the_packet_and_the_descriptor(site: Site) -> None:
    def handler(connection: Connection) -> None:
        offered = Offered(connection)
        assert offered.client is not None
        with offered.client:
            offered.read(offered.size + 3)
            connection.socket.shutdown(socket.SHUT_WR)
            offered.send(HEAD + b"took it")
            offered.read(1)

    key, _ = site.serve(handler, "unix")
    with Client(site.tcp) as client:
        client.send(packet(post(key, 4)) + b"body")
        assert client.reply().body == b"took it"


class Death(Exception):
    """A node dies: everything it has is closed by the kernel."""


def dying(offered: Offered) -> None:
    raise Death


def dying_in_the_middle(offered: Offered) -> None:
    offered.send(HEAD + b"half of")
    raise Death


def mortal(handler: Callable[[Connection], None]) -> Callable[[Connection], None]:
    def live(connection: Connection) -> None:
        try:
            handler(connection)
        except Death:
            connection.socket.close()

    return live


def test_a_node_that_dies_before_its_answer_has_not_answered(site: Site) -> None:
    key, _ = site.serve(mortal(adopting(dying)), "unix")
    assert site.fetch(key).status == 502
    site.announce(key, site.node(answer(b"another")).address)
    assert {site.fetch(key).body for _ in range(4)} == {b"another"}


def test_a_node_that_dies_in_mid_answer_leaves_no_complete_one(site: Site, kind: str) -> None:
    baseline = site.descriptors()
    key, node = site.serve(mortal(adopting(dying_in_the_middle)), "unix")
    before = site.stats()
    with Client(site.address(kind)) as client:
        client.send(packet(get(key)))
        data, end = client.read_all()
    assert data in (HEAD + b"half of", b"")  # a reset may overtake what was sent
    assert end is (End.EOF if kind == "unix" else End.RESET)
    after = site.stats()
    assert after.causes["node-reset"] == before.causes.get("node-reset", 0) + 1
    assert after.numbers["cut off"] == before.numbers["cut off"] + 1
    site.assert_released(key, node, baseline + 1)


def test_a_client_that_goes_is_the_nodes_to_notice(site: Site, kind: str) -> None:
    noticed = threading.Event()

    def pour(offered: Offered) -> None:
        try:
            for _ in range(10_000):
                offered.send(BIG)
        except OSError:
            noticed.set()

    baseline = site.descriptors()
    key, node = site.serve(adopting(pour), "unix")
    with Client(site.address(kind)) as client:
        client.send(packet(get(key)))
        assert client.read(100) == BIG[:100]
        client.reset()
    assert noticed.wait(10)
    site.assert_released(key, node, baseline + 1)


def test_sessions_count_until_the_node_is_done(site: Site) -> None:
    begun, finish = threading.Event(), threading.Event()

    def slow(offered: Offered) -> None:
        begun.set()
        finish.wait(10)
        offered.send(HEAD + b"slow")

    key, _ = site.serve(adopting(slow), "unix")
    with Client(site.tcp) as client:
        client.send(packet(get(key)))
        assert begun.wait(5)
        wait_until(lambda: site.stats().numbers["in flight"] == 1, 5, "one request in flight")
        finish.set()
        assert client.reply().body == b"slow"
    wait_until(lambda: site.stats().numbers["in flight"] == 0, 5, "none in flight")


def test_a_slow_answer_outlives_the_first_byte_timeout(started: Servers) -> None:
    """Also one that did not say that it has adopted: the kernel knows that the client is being answered."""
    site = Site(started, "fastrouter-first-byte-timeout = 1")

    def quiet(connection: Connection) -> None:
        offered = Offered(connection)
        assert offered.client is not None
        with offered.client:
            offered.read(offered.size)
            offered.send(HEAD)
            for _ in range(7):
                threading.Event().wait(0.5)
                offered.send(b"x")

    key, _ = site.serve(quiet, "unix")
    assert fetch(site.tcp, key).body == b"x" * 7


def test_a_node_that_never_reads_leaves_its_client_answered(started: Servers) -> None:
    """The descriptor is still on its way when the router gives up: the client's connection must end all the same."""
    site = Site(started, "fastrouter-first-byte-timeout = 1")
    release = threading.Event()

    def deaf(connection: Connection) -> None:
        release.wait(20)

    key, _ = site.serve(deaf, "unix")
    try:
        for kind in ("tcp", "unix"):
            assert site.fetch(key, kind).status == 504
    finally:
        release.set()

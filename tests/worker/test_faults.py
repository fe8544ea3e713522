"""Faults of nodes at every wait, for every way to find a node: what the client, the log and the counters say.

See docs/failures.md. What is shown elsewhere for announced nodes (other nodes take over, test_failures.py) is not
repeated; here each fault meets each way, alone, so that its own answer is seen.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import Client, Connection, End, Node, Reply, Servers, answer, get, packet, post, wait_until
from tests.worker.scarcity import without_descriptors
from tests.worker.site import KINDS, Site
from tests.worker.test_failures import deaf, stuffed, told
from tests.worker.ways import WAYS, Way, Ways, accounted, counts, growth

TIMEOUTS = {"connect": 1, "first-byte": 2, "idle": 3}
"""Seconds: each another one, so that one in the place of another would be seen."""

MANY = 32 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"


@pytest.fixture(scope="module")
def ways(started: Servers) -> Ways:
    """All ways, impatient."""
    return Ways(started, *(f"fastrouter-{name}-timeout = {seconds}" for name, seconds in TIMEOUTS.items()))


# -- what a node may do ---------------------------------------------------------------------------------------------


def close_unread(connection: Connection) -> None:
    """Accept and close, with all of the packet unread: that is a reset, on a unix socket too."""
    select.select([connection.socket], [], [], 5)


def close_after_packet(connection: Connection) -> None:
    """Take the request and end without an answer."""
    connection.read_packet()


def cut(connection: Connection) -> None:
    """Begin an answer, and close with the packet's last byte unread."""
    size = 4 + int.from_bytes(connection.read(4)[1:3], "little")
    connection.read(size - 5)
    connection.send(HEAD)


Place = Callable[[Way], contextlib.AbstractContextManager[str]]


def nowhere(way: Way) -> contextlib.AbstractContextManager[str]:
    """Nobody was ever there."""
    return contextlib.nullcontext(way.place())


def bound(way: Way) -> contextlib.AbstractContextManager[str]:
    """A socket where nobody listens."""
    return deaf(way.place())


def full(way: Way) -> contextlib.AbstractContextManager[str]:
    """A listener whose backlog is full."""
    return stuffed(way.place())


def having(handler: Callable[[Connection], None]) -> Place:
    """A node with that handler."""

    @contextlib.contextmanager
    def place(way: Way) -> Iterator[str]:
        with Node(handler, way.place()) as node:
            yield node.address
            node.expect_errors()

    return place


REFUSED = {"failed connects": 1, "connect-failed": 1}


class Fault:
    """What a node does, and what is told of it: answer, detail in the log, counters beside the request's own."""

    def __init__(self, place: Place, answer: tuple[int, str], detail: str, what: dict[str, int], kinds: str) -> None:
        self.place = place
        self.answer = answer
        self.detail = detail
        self.counted = {"requests": 1, **what}
        self.kinds = kinds.split()


RESET = "Connection reset by peer"
QUICK = {
    "refused": Fault(nowhere, (502, "connect-failed"), "Connection refused", REFUSED, "tcp v6"),
    "missing": Fault(nowhere, (502, "connect-failed"), "No such file or directory", REFUSED, "unix passing"),
    "bound": Fault(bound, (502, "connect-failed"), "Connection refused", REFUSED, "unix passing"),
    "full": Fault(full, (502, "connect-failed"), "the backlog is full", REFUSED, "unix passing"),
    "closes unread": Fault(having(close_unread), (502, "node-reset"), RESET, {"node-reset": 1}, "tcp v6 unix passing"),
    "closes": Fault(having(close_after_packet), (502, "node-closed"), "", {"node-closed": 1}, "tcp v6 unix"),
}


def cases(faults: dict[str, Fault]) -> list[tuple[str, str]]:
    """Each fault with each way that can have it; neighbours have different routers, whose logs are throttled."""
    return [(name, way) for name, fault in faults.items() for way in WAYS if way.split()[-1] in fault.kinds]


@pytest.mark.parametrize(("name", "way_name"), cases(QUICK))
def test_a_node_that_fails_at_once(ways: Ways, name: str, way_name: str) -> None:
    fault, way = QUICK[name], ways[way_name]
    site = way.site
    with fault.place(way) as address:
        key = way.key(address)
        with accounted(site, fault.counted):
            assert told(site.fetch(key)) == fault.answer
    status, cause = fault.answer
    detail = f" ({fault.detail})" if fault.detail else ""
    log = site.router.wait_for_log(f"request failed: {status} {cause} key {key} node {address} tries 1{detail}")
    if cause == "connect-failed":
        assert f'unable to connect() to node "{address}" (0 retries): {fault.detail}' in log


@pytest.mark.parametrize("way_name", WAYS)
def test_a_response_that_is_cut(ways: Ways, way_name: str) -> None:
    """On a unix socket, too: what a node leaves unread tells its end from a clean one."""
    way = ways[way_name]
    with having(cut)(way) as address:
        key = way.key(address)
        with (
            accounted(way.site, {"requests": 1, "answered": 1, "cut off": 1, "node-reset": 1}),
            Client(way.site.tcp) as client,
        ):
            client.send_packet(get(key))
            data, end = client.read_all()
            assert (HEAD.startswith(data), end) == (True, End.RESET)
    way.site.router.wait_for_log(f"request cut off: 502 node-reset key {key} node {address} tries 1 ({RESET})")


@pytest.mark.parametrize("way_name", [way for way in WAYS if way.endswith("passing")])
def test_a_node_that_was_offered_the_client_and_closes(ways: Ways, way_name: str) -> None:
    """It may have taken it over: nodes that do and nodes that die look the same, so the log names both."""
    way = ways[way_name]
    with having(close_after_packet)(way) as address:
        key = way.key(address)
        with accounted(way.site, {"requests": 1, "answered": 1, "adopted": 1}), Client(way.site.tcp) as client:
            client.send_packet(get(key))
            assert client.read_all() == (b"", End.EOF)
    way.site.router.wait_for_log(f"node {address} took over a client of key {key}, or closed without an answer")


def test_without_a_descriptor_to_wait_for_an_adopter(started: Servers) -> None:
    """The node has the client: it serves it without the router, too."""
    go_on = threading.Event()

    def adopt(connection: Connection) -> None:
        _, (descriptor,), _, _ = socket.recv_fds(connection.socket, 65536, 1)
        with socket.socket(fileno=descriptor) as client:
            connection.half_close()
            assert go_on.wait(10)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\nadopted")

    node = started.node(adopt, started.path("adopter.sock"))
    site = Site(started, f"fastrouter-to = {node.address}", announced=False)
    descriptors, whole = site.descriptors(), packet(get("a.example"))
    with accounted(site, {"requests": 1, "answered": 1, "adopted": 1}), Client(site.tcp) as client:
        client.send(whole[:1])
        wait_until(lambda: site.descriptors() == descriptors + 1, 5, "it is accepted")
        with without_descriptors(site, 1):
            client.send(whole[1:])
            wait_until(lambda: site.stats().numbers["adopted"] == 1, 5, "it is adopted")
            wait_until(lambda: site.descriptors() == descriptors, 5, "the router let go")
            go_on.set()
            assert client.reply().body == b"adopted"


HOG = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
ours, theirs = socket.socketpair()
for _ in range(100):
    socket.send_fds(ours, [b"x"], [0])
print("full", flush=True)
sys.stdin.read()
"""
"""Has as many descriptors on their way as its user may have with ``max-fd = 64``, and more."""


def test_descriptors_that_the_kernel_passes_no_more_of(started: Servers) -> None:
    """So many of a user may be on their way to nodes that do not accept yet; that says nothing against a node."""
    user = "54321"
    with subprocess.Popen(
        [sys.executable, "-c", HOG, user], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as hog:
        assert hog.stdout is not None
        assert hog.stdout.readline() == "full\n"
        node = started.node(answer(b"live"), started.path("live.sock"))
        Path(node.address).chmod(0o777)
        limits = f"uid = {user}", "max-fd = 64"
        site = Site(started, f"fastrouter-to = {node.address}", *limits, announced=False)
        with accounted(site, {"requests": 3, "answered": 3}):
            assert [site.fetch("a.example", kind).body for kind in KINDS] == [b"live"] * 3
        hog.communicate("")
    assert "as failed" not in site.router.log()


# -- timeouts -------------------------------------------------------------------------------------------------------


def slow_node(connection: Connection) -> None:
    """Do what the path says, so that a single address can have every fault."""
    path = connection.read_packet().get(b"PATH_INFO")
    if path == b"/one-byte":
        connection.send(b"H")
    connection.wait()


class Slow:
    """All that ends by a timeout, under way at the same time; each case is a fault and a way."""

    def __init__(self, ways: Ways, pool: ThreadPoolExecutor, open_places: contextlib.ExitStack) -> None:
        self._pool = pool
        self._futures: dict[tuple[str, str], Future[tuple[object, float]]] = {}
        self.requests: dict[tuple[str, str], tuple[Site, str, str]] = {}
        """By case: where it is asked, the key, the node's address."""
        for name in WAYS:
            way = ways[name]
            node = open_places.enter_context(Node(slow_node, way.place()))
            key = way.key(node.address)
            for fault in ("silent", "one-byte", "unread"):
                self.requests[fault, name] = way.site, key, node.address
            if not way.is_unix:
                place = open_places.enter_context(stuffed("[::1]:0" if way.kind == "v6" else "127.0.0.1:0"))
                site = ways.fixed(way.how, way.kind, place) if way.is_fixed else way.site
                self.requests["hanging", name] = site, way.key(place), place
        self.before = {site: (counts(site.stats()), site.descriptors()) for site in self.sites()}
        for case, (site, key, _) in self.requests.items():
            self._futures[case] = pool.submit(timed, site, key, case[0])

    def sites(self) -> set[Site]:
        """Every router."""
        return {site for site, _, _ in self.requests.values()}

    def of(self, case: tuple[str, str]) -> tuple[object, float]:
        """What the client saw, and after how many seconds."""
        return self._futures[case].result(30)


def timed(site: Site, key: str, fault: str) -> tuple[object, float]:
    """What a request comes to: status and cause, or the bytes and the end; and after how many seconds."""
    begin = time.monotonic()
    with Client(site.tcp, patience=20) as client:
        if fault == "unread":
            client.send_packet(post(key, MANY))
            flood(client, MANY)
        else:
            client.send_packet(get(key, f"/{fault}"))
        data, end = client.read_all()
    result = told(Reply.parse(data)) if end is End.EOF else (data, end)
    return result, time.monotonic() - begin


def flood(client: Client, size: int) -> None:
    """Send so much, or until an answer comes."""
    client.socket.setblocking(False)
    block = bytes(1 << 16)
    while size > 0:
        readable, writable, _ = select.select([client.socket], [client.socket], [], 20)
        if readable or not writable:
            break
        size -= client.socket.send(block[:size])
    client.socket.settimeout(20)


@pytest.fixture(scope="module")
def slow(ways: Ways) -> Iterator[Slow]:
    """Every timeout of every way."""
    with ThreadPoolExecutor(64) as pool, contextlib.ExitStack() as open_places:
        begun = Slow(ways, pool, open_places)
        yield begun
        for case in begun.requests:
            begun.of(case)


FIRST_BYTE = ((504, "first-byte-timeout"), TIMEOUTS["first-byte"], {"first-byte-timeout": 1})
TIMED: dict[str, tuple[object, int, dict[str, int]]] = {
    "hanging": ((504, "connect-timeout"), TIMEOUTS["connect"], {"failed connects": 1, "connect-timeout": 1}),
    "silent": FIRST_BYTE,
    "unread": FIRST_BYTE,
    "one-byte": ((b"H", End.RESET), TIMEOUTS["idle"], {"answered": 1, "cut off": 1, "idle-timeout": 1}),
}
"""What the client sees, after how many seconds, and what is counted beside the request."""

SLOW_CASES = [
    (fault, way) for fault in TIMED for way in WAYS if fault != "hanging" or not way.endswith(("unix", "passing"))
]


@pytest.mark.parametrize(("fault", "way"), SLOW_CASES)
def test_a_node_that_takes_too_long(slow: Slow, fault: str, way: str) -> None:
    expected, seconds, _ = TIMED[fault]
    result, took = slow.of((fault, way))
    assert result == expected
    assert seconds - 0.1 < took < seconds + 2
    site, key, address = slow.requests[fault, way]
    line = {
        "hanging": f"request failed: 504 connect-timeout key {key} node {address} tries 1 (Connection timed out)",
        "one-byte": f"request cut off: 504 idle-timeout key {key} node {address} tries 1",
    }.get(fault, f"request failed: 504 first-byte-timeout key {key} node {address} tries 1")
    site.router.wait_for_log(line)


def test_every_timeout_is_counted_and_leaves_nothing(slow: Slow) -> None:
    """In flight means: at a node; a node that is silent holds its count until the request has failed."""
    for case in SLOW_CASES:
        slow.of(case)
    for site in slow.sites():
        before, descriptors = slow.before[site]
        faults = [fault for (fault, _), (where, _, _) in slow.requests.items() if where is site]
        expected = sum((Counter({"requests": 1, **TIMED[fault][2]}) for fault in faults), Counter())
        wait_until(lambda site=site, most=descriptors: site.descriptors() <= most, 5, f"{descriptors} descriptors")
        stats = site.stats()
        assert growth(before, counts(stats)) == expected
        assert stats.numbers["in flight"] == 0

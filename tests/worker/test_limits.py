"""Limits over four workers: exact whoever takes a request, over reloads, and when a worker dies."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from tests.servers import (
    Client,
    Connection,
    Handler,
    Router,
    Servers,
    close_at_once,
    get,
    hang,
    local,
    post,
    reset_after_packet,
    reset_at_once,
    wait_until,
)
from tests.servers.wire import Reply

WORKERS = 4
RULES = """\
route-run = addheader:X-Worker: ${uwsgi[wid]}
route = ^/rate limit:key=${QUERY_STRING},rate=100/s,burst=200
route = ^/slow limit:key=${QUERY_STRING},rate=5/h
route = ^/held concurrency:key=${QUERY_STRING},most=3
route-if-not = startswith:${PATH_INFO};/held return:204
"""
LINE = """\
route = ^/line concurrency:key=${QUERY_STRING},most=1,queue=3,timeout=30
route = ^/short concurrency:key=${QUERY_STRING},most=1,queue=3,timeout=1
route = ^/quick return:204
"""


class Gates:
    """A node whose requests wait until their gate is opened; ``inside`` by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: defaultdict[bytes, threading.Event] = defaultdict(threading.Event)
        self.inside: defaultdict[bytes, int] = defaultdict(int)
        self.most: defaultdict[bytes, int] = defaultdict(int)

    def open(self, key: bytes) -> None:
        self._open[key].set()

    def __call__(self, connection: Connection) -> None:
        key = connection.read_packet().get(b"QUERY_STRING") or b""
        with self._lock:
            self.inside[key] += 1
            self.most[key] = max(self.most[key], self.inside[key])
        while not self._open[key].wait(0.01) and not connection.stopping.is_set():
            if select.select([connection.socket], [], [], 0)[0]:
                break  # the router has given it up
        with self._lock:
            self.inside[key] -= 1
        if self._open[key].is_set():
            connection.answer(b"through")


class Place:
    """A router with four workers, and its node."""

    def __init__(self, servers: Servers, rules: str) -> None:
        self.gates = Gates()
        self.node = servers.node(self.gates)
        self.address = local()
        lines = ["[uwsgirouter]", f"fastrouter = {self.address}", f"fastrouter-processes = {WORKERS}"]
        self.router: Router = servers.router(
            config="\n".join([*lines, f"fastrouter-to = {self.node.address}", rules, ""])
        )
        self.router.wait_for_workers(WORKERS)

    def begin(self, path: str, key: str) -> Client:
        """A request that is sent."""
        client = Client(self.address, 30)
        client.send_packet(get("any.example", f"{path}?{key}", extra=[(b"QUERY_STRING", key.encode())]))
        return client

    def ask(self, path: str, key: str) -> Reply:
        with self.begin(path, key) as client:
            return client.reply()

    @contextmanager
    def inside(self, path: str, key: str, count: int) -> Iterator[list[Client]]:
        """So many requests that the node has."""
        with ExitStack() as stack:
            clients = [stack.enter_context(self.begin(path, key)) for _ in range(count)]
            wait_until(lambda: self.gates.inside[key.encode()] == count, 20, f"{count} requests are with the node")
            yield clients


@pytest.fixture(scope="module")
def place(started: Servers) -> Place:
    return Place(started, RULES)


@pytest.fixture(scope="module")
def line(started: Servers) -> Place:
    return Place(started, LINE)


class Answered(NamedTuple):
    """A reply, and when it was asked for and had: the worker decided in between."""

    asked: float
    had: float
    reply: Reply


def flood(place: Place, path: str, key: str, seconds: float) -> list[Answered]:
    """All that several clients get who ask without a pause, in the order in which they asked."""
    began = time.monotonic()

    def work(_: int) -> list[Answered]:
        found = []
        while (asked := time.monotonic()) - began < seconds:
            reply = place.ask(path, key)
            found.append(Answered(asked, time.monotonic(), reply))
        return found

    with ThreadPoolExecutor(4) as pool:
        return sorted((one for several in pool.map(work, range(4)) for one in several), key=lambda one: one.asked)


def test_what_passes_is_the_rate_and_the_burst(place: Place) -> None:
    """The bucket was empty when somebody was refused last: until then all that there was had been given out."""
    found = flood(place, "/rate", "exact", 2.5)
    refused = [one for one in found if one.reply.status == 429]
    assert refused, "the clients were too slow to be refused"
    passed, last = [one for one in found if one.reply.status == 204], refused[-1]
    begun = found[0].asked, min(one.had for one in found)
    least, most = (200 + 100 * seconds for seconds in (last.asked - begun[1], last.had - begun[0]))
    assert sum(one.asked <= last.had for one in passed) >= 0.99 * least - 1
    assert sum(one.had <= last.asked for one in passed) <= 1.01 * most + 1
    assert len({one.reply.header("x-worker") for one in found}) > 1, "one worker alone answered"
    assert last.reply.header("retry-after") == "1"


def test_a_reload_and_a_killed_worker_give_nobody_a_new_bucket(place: Place) -> None:
    assert [place.ask("/slow", "reload").status for _ in range(7)] == [204] * 5 + [429] * 2
    before = place.router.workers()
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: before[0] not in place.router.workers() and len(place.router.workers()) == WORKERS, 20, "it is")
    assert {place.ask("/slow", "reload").status for _ in range(20)} == {429}
    before = place.router.workers()
    place.router.signal(signal.SIGHUP)
    wait_until(lambda: not set(before) & set(place.router.workers()) and place.router.workers(), 20, "they are new")
    place.router.wait_for_workers(WORKERS)
    assert {place.ask("/slow", "reload").status for _ in range(20)} == {429}
    assert "request failed: 429 limited key any.example" in place.router.log()


def test_requests_under_way_are_counted_over_all_workers(place: Place) -> None:
    with place.inside("/held", "all", 3) as clients:
        assert [place.ask("/held", "all").status for _ in range(10)] == [429] * 10
        place.gates.open(b"all")
        assert [client.reply().status for client in clients] == [200] * 3
    wait_until(lambda: place.ask("/held", "all").status == 200, 20, "they are over")


def test_a_client_that_goes_away_holds_nothing(place: Place) -> None:
    with place.inside("/held", "gone", 3) as clients:
        assert place.ask("/held", "gone").status == 429
        clients[0].reset()
        clients[1].reset()
        wait_until(lambda: place.gates.inside[b"gone"] == 1, 20, "the node is told")
        with ExitStack() as stack:
            for count in (2, 3):
                wait_until(lambda: is_admitted(place, stack, "gone", count), 20, "a place is free")  # noqa: B023
            assert place.ask("/held", "gone").status == 429
            place.gates.open(b"gone")
            assert clients[2].reply().status == 200


def is_admitted(place: Place, stack: ExitStack, key: str, count: int) -> bool:
    """Ask; whether the node has so many requests then (else it was refused)."""
    client = stack.enter_context(place.begin("/held", key))
    return wait_until(lambda: place.gates.inside[key.encode()] == count or answered(client), 20, "a word") and not (
        answered(client)
    )


def answered(client: Client) -> bool:
    """Whether anything of an answer is there."""
    return bool(select.select([client.socket], [], [], 0)[0])


def test_a_killed_worker_holds_nothing(place: Place) -> None:
    with place.inside("/held", "killed", 3):
        assert place.ask("/held", "killed").status == 429
        before = place.router.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        place.gates.open(b"killed")
        wait_until(lambda: not set(before) & set(place.router.workers()), 20, "others come")
        place.router.wait_for_workers(WORKERS)
        assert [place.ask("/held", "killed").status for _ in range(10)] == [200] * 10


def test_nothing_is_left_over_after_many_requests(place: Place) -> None:
    place.gates.open(b"many")
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda _: place.ask("/held", "many").status, range(600))) <= {200, 429}
    with place.inside("/held", "many again", 3):
        place.gates.open(b"many again")
    assert [place.ask("/held", "many").status for _ in range(5)] == [200] * 5


def test_a_line_is_bounded_and_moves(line: Place) -> None:
    with line.inside("/line", "k", 1) as (first,), ExitStack() as stack:
        waiting = full(line, stack, "k")
        assert line.ask("/quick", "k").status == 204, "nobody else waits"
        assert not any(answered(client) for client in waiting)
        line.gates.open(b"k")
        assert [client.reply().status for client in (first, *waiting)] == [200] * 4
    assert line.gates.most[b"k"] == 1


def full(line: Place, stack: ExitStack, key: str) -> list[Client]:
    """Ask until the line is full; those who wait in it."""
    clients = [stack.enter_context(line.begin("/line", key)) for _ in range(4)]
    wait_until(lambda: any(answered(client) for client in clients), 20, "one is too many")
    (refused,) = [client for client in clients if answered(client)]
    assert refused.reply().status == 429
    return [client for client in clients if client is not refused]


def test_who_waits_too_long_is_refused(line: Place) -> None:
    with line.inside("/short", "late", 1) as (first,):
        began = time.monotonic()
        assert line.ask("/short", "late").status == 429
        assert time.monotonic() - began >= 1.0
        line.gates.open(b"late")
        assert first.reply().status == 200


def test_who_goes_away_while_it_waits_leaves_the_line(line: Place) -> None:
    with line.inside("/line", "left", 1) as (first,), ExitStack() as stack:
        for client in full(line, stack, "left"):
            client.reset()
        line.gates.open(b"left")
        assert first.reply().status == 200
    wait_until(lambda: line.ask("/line", "left").status == 200, 20, "nobody is in the way")
    assert line.gates.most[b"left"] == 1


def half(connection: Connection) -> None:
    """Half an answer, then a reset."""
    connection.read_packet()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    connection.reset()


ENDS: dict[str, Handler] = {
    "reset": reset_at_once,
    "closed": close_at_once,
    "packet": reset_after_packet,
    "half": half,
    "hang": hang,
    "harakiri": hang,
    "body": hang,
}


@pytest.fixture(scope="module")
def ends(started: Servers) -> tuple[Servers, str]:
    """A router with one worker whose nodes do what ENDS says of the first part of the path; one request of each."""
    address = local()
    lines = ["[uwsgirouter]", f"fastrouter = {address}", "fastrouter-timeout = 1", "fastrouter-to = 127.0.0.1:1"]
    lines += ["route-run = concurrency:key=${PATH_INFO},most=1", "route = ^/harakiri harakiri:1"]
    for name, handler in ENDS.items():
        node = started.node(handler)
        node.expect_errors()
        lines.append(f"route = ^/{name} node:{node.address}")
    started.router(config="\n".join([*lines, "route = ^/twice redirect:/x", ""]))
    return started, address


@pytest.mark.parametrize("name", ["reset", "closed", "packet", "half", "hang", "harakiri", "nowhere", "twice"])
def test_whatever_ends_a_request_ends_its_count(ends: tuple[Servers, str], name: str) -> None:
    servers, address = ends
    for _ in range(2):
        with servers.client(address) as client:
            client.send_packet(get("any.example", f"/{name}"))
            data, _ = client.read_all(20)
        assert b" 429 " not in data, "the one before is counted still"


def test_a_body_that_breaks_off_ends_its_count(ends: tuple[Servers, str]) -> None:
    servers, address = ends
    with servers.client(address) as client:
        client.send_packet(post("any.example", 100_000, "/body"), b"x" * 1000)
        wait_until(lambda: b" 429 " in fetch_raw(servers, address, "/body"), 20, "it is under way")
        client.reset()
    wait_until(lambda: b" 429 " not in fetch_raw(servers, address, "/body"), 20, "it is over")


def fetch_raw(servers: Servers, address: str, path: str) -> bytes:
    with servers.client(address) as client:
        client.send_packet(get("any.example", path))
        return client.read_all(20)[0]

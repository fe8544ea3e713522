"""Announcements: nodes come, go, fail and return, and all workers see the same; bad datagrams harm nobody."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import statistics
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.master.watching import assert_no_failure, load, wait_for_serving
from tests.servers import (
    Client,
    Connection,
    Node,
    Router,
    Servers,
    announce,
    announcement,
    answer,
    fetch,
    free_port,
    free_udp_port,
    get,
    local,
    wait_until,
)
from tests.servers.wire import UNSUBSCRIBE, send_datagram, where
from tests.worker.site import memory, stats

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"uwsgi"]
"""


class Town:
    """A router with two workers that hears announcements on UDP over IPv4 and IPv6, and on a unix socket."""

    def __init__(self, servers: Servers, *lines: str, processes: int = 2) -> None:
        self.servers = servers
        self.address = local()
        self.v4 = f"127.0.0.1:{free_udp_port()}"
        self.v6 = f"[::1]:{free_udp_port()}"
        self.unix = servers.path(f"announce-{free_port()}")
        config = ["[uwsgirouter]", f"fastrouter = {self.address}", f"fastrouter-processes = {processes}"]
        config += [f"fastrouter-subscription-server = {server}" for server in (self.v4, self.v6, self.unix)]
        self.router: Router = servers.router(config="\n".join([*config, *lines, ""]))
        self.workers = wait_for_serving(self.router, processes)

    def server(self, kind: str) -> str:
        return {"v4": self.v4, "v6": self.v6, "unix": self.unix}[kind]

    def node(self, name: bytes) -> Node:
        return self.servers.node(answer(name))

    def known(self, key: str, address: str) -> None:
        """Wait until the master logged the node and both workers had time to read of it."""
        self.router.wait_for_log(f"{key} => new node: {address}")
        wait_until(lambda: self.all_answer(key), 5, f"{key} is served by all workers")

    def all_answer(self, key: str) -> bool:
        return {fetch(self.address, key).status for _ in range(6)} == {200}

    def bodies(self, key: str, count: int) -> list[bytes]:
        return [fetch(self.address, key).body for _ in range(count)]


@pytest.fixture(scope="module")
def town(started: Servers) -> Town:
    """One router for most of the tests; each takes keys of its own."""
    return Town(started, "subscription-tolerance = 600")


@pytest.mark.parametrize("kind", ["v4", "v6", "unix"])
def test_come_and_go(town: Town, kind: str) -> None:
    """The log has the FastRouter's words, which people look for."""
    key = f"{kind}.example"
    node = town.node(b"here")
    announce(town.server(kind), key, node.address)
    town.known(key, node.address)
    prefix = f"[uwsgi-subscription for pid {town.router.pid}]"
    log = town.router.log()
    assert re.search(rf"{re.escape(prefix)} new pool: {key} \(hash key: \d+\)\n", log)
    assert f"{prefix} {key} => new node: {node.address}\n" in log
    announce(town.server(kind), key, node.address)
    assert town.bodies(key, 4) == [b"here"] * 4
    announce(town.server(kind), key, node.address, UNSUBSCRIBE)
    # Or drained: its last session may just end.
    town.router.wait_for_log(f"{prefix} {key} => removing node: {node.address} (", 15)
    wait_until(lambda: {fetch(town.address, key).status for _ in range(6)} == {503}, 5, "it is gone")
    assert town.router.log().count(f"{key} => new node") == 1, "the second announcement was no news"


@pytest.mark.parametrize("form", [":{port}", "0.0.0.0:{port}"])
@pytest.mark.parametrize("kind", ["v4", "v6", "unix"])
def test_an_address_without_a_host_is_the_senders(town: Town, kind: str, form: str) -> None:
    node = town.servers.node(answer(b"here"), "[::1]:0" if kind == "v6" else "127.0.0.1:0")
    port = node.address.rpartition(":")[2]
    key = f"{kind}-{len(form)}.example"
    announce(town.server(kind), key, form.format(port=port))
    town.known(key, node.address)
    assert fetch(town.address, key).body == b"here"
    announce(town.server(kind), key, form.format(port=port), UNSUBSCRIBE)
    town.router.wait_for_log(f"{key} => removing node: {node.address} (unsubscribed)")


def test_each_worker_sees_a_change_within_50_ms(town: Town) -> None:
    """One worker at a time is asked, the other one is stopped meanwhile."""
    node = town.node(b"new")
    for asked, other in (town.workers, town.workers[::-1]):
        os.kill(other, signal.SIGSTOP)
        try:
            delays = []
            for number in range(5):
                key = f"quick-{asked}-{number}.example"
                begin = time.monotonic()
                announce(town.v4, key, node.address)
                wait_until(lambda: fetch(town.address, key).status == 200, 5, "it is served")  # noqa: B023
                delays.append(time.monotonic() - begin)
        finally:
            os.kill(other, signal.SIGCONT)
        assert statistics.median(delays) < 0.05, delays
        assert wait_for_serving(town.router, 2) == town.workers


@pytest.mark.parametrize(("weights", "turns"), [((3, 1), 40), ((3, 2), 50), ((1, 1), 20), ((5, 1, 1), 70)])
def test_weights(single: Single, weights: tuple[int, ...], turns: int) -> None:
    """Smooth: in every round each node has its share, and the heavy one does not take its turns in one go."""
    key = f"weights-{'-'.join(map(str, weights))}.example"
    nodes = [single.node(b"%d" % number) for number in range(len(weights))]
    for node, weight in zip(nodes, weights, strict=True):
        announce(single.v4, key, node.address, extra={"weight": weight})
        single.router.wait_for_log(f"{key} => new node: {node.address}")
    single.settle()
    bodies = single.bodies(key, turns)
    total = sum(weights)
    for start in range(0, turns, total):
        share = Counter(bodies[start : start + total])
        assert [share[b"%d" % number] for number in range(len(weights))] == list(weights)
    if weights == (3, 1):
        assert b"0000" not in b"".join(bodies)


class Single(Town):
    """With one worker, so that turns can be counted."""

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers, "subscription-tolerance = 600", processes=1)
        self.probe = self.node(b"probe")
        self.count = 0

    def settle(self) -> None:
        """The worker knows all that was announced so far."""
        self.count += 1
        key = f"settled-{self.count}.example"
        announce(self.v4, key, self.probe.address)
        wait_until(lambda: fetch(self.address, key).status == 200, 5, "the worker knows")


@pytest.fixture(scope="module")
def single(started: Servers) -> Single:
    """A router with one worker."""
    return Single(started)


def test_another_weight_is_taken_over(single: Single) -> None:
    one, two = single.node(b"1"), single.node(b"2")
    for node in (one, two):
        announce(single.v4, "reweighed.example", node.address)
    single.settle()
    assert Counter(single.bodies("reweighed.example", 20)) == {b"1": 10, b"2": 10}
    announce(single.v4, "reweighed.example", one.address, extra={"weight": 4})
    single.settle()
    assert Counter(single.bodies("reweighed.example", 20)) == {b"1": 16, b"2": 4}


def test_a_node_that_takes_leave_finishes_its_requests(single: Single) -> None:
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(20)
        connection.answer(b"slow")

    leaving, staying = single.servers.node(slow), single.node(b"stays")
    key = "leaving.example"
    announce(single.v4, key, leaving.address)
    single.settle()
    with Client(single.address) as client:
        client.send_packet(get(key))
        leaving.wait_for(1)
        announce(single.v4, key, staying.address)
        announce(single.v4, key, leaving.address, UNSUBSCRIBE)
        single.router.wait_for_log(f"{key} => draining node: {leaving.address} (unsubscribed)")
        single.settle()
        assert single.bodies(key, 6) == [b"stays"] * 6
        go_on.set()
        assert client.reply().body == b"slow"
    single.router.wait_for_log(f"{key} => removing node: {leaving.address} (drained)")
    assert len(leaving.connections) == 1


def test_a_node_that_takes_leave_may_come_back(single: Single) -> None:
    """A restart that is quicker than its own requests: unsubscribed, and announced again before it was drained."""
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(20)
        connection.answer(b"slow")

    node = single.servers.node(slow)
    key = "restarted.example"
    announce(single.v4, key, node.address)
    single.settle()
    with Client(single.address) as client, Client(single.address) as second:
        client.send_packet(get(key))
        node.wait_for(1)
        announce(single.v4, key, node.address, UNSUBSCRIBE)
        single.router.wait_for_log(f"{key} => draining node: {node.address}")
        announce(single.v4, key, node.address)
        single.router.wait_for_log(f"{key} => node is back: {node.address}")
        single.settle()
        second.send_packet(get(key))
        node.wait_for(2)
        go_on.set()
        assert client.reply().body == second.reply().body == b"slow"


def test_a_failed_node_is_skipped_by_all_workers_until_it_announces_itself(town: Town) -> None:
    key = "failing.example"
    failing, well = town.node(b"failing"), town.node(b"well")
    for node in (failing, well):
        announce(town.v4, key, node.address)
        town.known(key, node.address)
    failing.refuse()
    with load(town.address, key, rate=300) as asked:
        mark = f"{key} => marking {failing.address} as failed (Connection refused)"
        town.router.wait_for_log(mark)
        begin = time.monotonic()
        many = len(asked.results) + 100
        wait_until(lambda: len(asked.results) > many, 10, "the load goes on")
    assert_no_failure(asked.results)
    assert {result.body for result in asked.since(begin + 0.1)} == {b"well"}
    assert town.router.log().count(mark) == 1
    failing.accept_again()
    announce(town.v4, key, failing.address)
    town.router.wait_for_log(f"{key} => node is back: {failing.address}")
    wait_until(lambda: b"failing" in town.bodies(key, 4), 5, "it is given requests again")


def test_expiry(started: Servers) -> None:
    """Silent for longer than subscription-tolerance: gone. Re-announcing in time: not."""
    town = Town(started, "subscription-tolerance = 1")
    silent, alive = town.node(b"silent"), town.node(b"alive")
    key = "expiring.example"
    begin = time.monotonic()
    announce(town.v4, key, silent.address)
    gone = f"{key} => marking {silent.address} as failed (no announce received in 1 seconds)"

    def announced_until_gone() -> bool:
        announce(town.v4, key, alive.address)
        return gone in town.router.log()

    wait_until(announced_until_gone, 5, "the silent one expires")
    assert 0.9 < time.monotonic() - begin < 3
    for _ in range(3):
        announce(town.v4, key, alive.address)
        assert town.bodies(key, 4) == [b"alive"] * 4
    assert f"{key} => marking {alive.address}" not in town.router.log()


def test_real_uwsgi_announces_itself(started: Servers) -> None:
    """--subscribe2 and --subscribe-to of the real one, over UDP and over a unix socket; SIGINT unsubscribes."""
    town = Town(started)
    app = Path(started.path("app.py"))
    app.write_text(APP)
    common = ["--socket", "127.0.0.1:0", "--wsgi-file", str(app), "--master"]
    newer = started.uwsgi(*common, "--subscribe2", f"server={town.v4},key=newer.example,weight=3,modifier1=0")
    older = started.uwsgi(*common, "--subscribe-to", f"{town.unix}:older.example")
    for key, app_server in (("newer.example", newer), ("older.example", older)):
        town.known(key, app_server.address)
        assert town.bodies(key, 4) == [b"uwsgi"] * 4
        app_server.signal(signal.SIGINT)
        town.router.wait_for_log(f"{key} => removing node: {app_server.address} (", 15)  # or drained, likewise
        wait_until(lambda: fetch(town.address, key).status == 503, 5, "it is gone")  # noqa: B023
    assert [app_server.wait() for app_server in (newer, older)] == [0, 0]


def test_sizes_of_keys_and_addresses(single: Single) -> None:
    """0, 255, 256 and 4,000 bytes: what can be served is, the rest is counted by its reason."""
    node = single.node(b"long")
    before = stats(single.router).rejects
    datagrams = [
        announcement("", node.address),
        announcement("k", ""),
        announcement("k" * 256, node.address),
        announcement("k" * 4000, node.address),
        announcement("k", "a" * 256),
        announcement("k", "a" * 4000),
        announcement("k", "/" + "a" * 254),
        announcement("k" * 5000, node.address),
    ]
    for datagram in datagrams:
        send_datagram(single.v4, datagram)
    announce(single.v4, "k" * 255, node.address)
    single.settle()
    assert fetch(single.address, "k" * 255).body == b"long"
    assert fetch(single.address, "k" * 254).status == 503
    after = stats(single.router).rejects
    added = {name: after[name] - before.get(name, 0) for name in after}
    assert {name: count for name, count in added.items() if count} == {
        "no-key": 1,
        "no-address": 1,
        "key-too-long": 2,
        "address-too-long": 2,
        "bad-address": 1,
        "too-long": 1,
    }


def test_four_thousand_bad_datagrams(started: Servers) -> None:
    """Random and mutated ones: the master lives, counts them, says little, and what it kept is given back."""
    # A mutated address may be a host name, which would start a resolver.
    town = Town(started, "subscription-tolerance = 2", "subscription-resolve = false", processes=1)
    node = town.node(b"served")
    announce(town.v4, "good.example", node.address)
    generator = random.Random(6)
    good = announcement("good.example", node.address)
    fuzz(town, good, generator, 500)
    wait_until(lambda: nodes_now(town) == 0, 10, "what was taken for a node expires")
    pids = (town.router.pid, *town.workers)
    held = {pid: (memory(pid), len(os.listdir(f"/proc/{pid}/fd"))) for pid in pids}
    before = sum(stats(town.router).rejects.values())
    begin = time.time()
    fuzz(town, good, generator, 4000)
    wait_until(lambda: sum(stats(town.router).rejects.values()) - before > 2000, 10, "they are counted")
    seconds = int(time.time() - begin) + 2
    announce(town.v4, "good.example", node.address)
    wait_until(lambda: fetch(town.address, "good.example").body == b"served", 5, "it goes on")
    assert town.router.running
    assert wait_for_serving(town.router, 1) == town.workers
    lines = [line[:19] for line in town.router.log().splitlines() if "bad datagram from" in line]
    assert len(set(lines)) <= seconds + 10
    assert max(map(lines.count, lines)) <= 2  # one in each second of the monotonic clock
    assert "Traceback" not in town.router.log()
    # Some mutated ones are good announcements: they expire.
    wait_until(lambda: nodes_now(town) == 0, 10, "what was taken for a node is gone")
    for pid, (bytes_before, descriptors) in held.items():
        assert memory(pid) - bytes_before < 2 << 20
        assert len(os.listdir(f"/proc/{pid}/fd")) == descriptors


def nodes_now(town: Town) -> int:
    """How many nodes the registry holds."""
    return stats(town.router).numbers["nodes"]


def fuzz(town: Town, good: bytes, generator: random.Random, count: int) -> None:
    """Datagrams of any sort, half of them nearly good, to each of the servers."""
    open_sockets = []
    for server in (town.v4, town.v6, town.unix):
        family, sockaddr = where(server)
        open_sockets.append((socket.socket(family, socket.SOCK_DGRAM), sockaddr))
    try:
        for number in range(count):
            sock, sockaddr = open_sockets[number % 3]
            data = mutated(good, generator) if number % 2 else generator.randbytes(generator.randrange(0, 300))
            sock.sendto(data, sockaddr)
            if number % 50 == 0:
                time.sleep(0.002)  # the socket's buffer has an end
    finally:
        for sock, _ in open_sockets:
            sock.close()


def mutated(data: bytes, generator: random.Random) -> bytes:
    """A few bytes changed, taken out or put in."""
    result = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        at = generator.randrange(len(result))
        how = generator.randrange(3)
        if how == 0:
            result[at] = generator.randrange(256)
        elif how == 1:
            del result[at : at + generator.randrange(1, 20)]
            result = result or bytearray(b"\0")
        else:
            result[at:at] = generator.randbytes(generator.randrange(1, 20))
    return bytes(result)


def test_a_flood_does_not_keep_the_master_from_its_workers(town: Town) -> None:
    """A worker that is killed amid a flood of announcements is back as soon as ever."""
    stop = threading.Event()
    node = town.node(b"flooded")
    datagram = announcement("flood.example", node.address)

    def flood() -> None:
        family, sockaddr = where(town.v4)
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            while not stop.is_set():
                sender.sendto(datagram, sockaddr)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    try:
        town.known("flood.example", node.address)
        os.kill(town.workers[0], signal.SIGKILL)
        begin = time.monotonic()
        wait_until(lambda: town.workers[0] not in wait_for_serving(town.router, 2), 5, "it is back")
        assert time.monotonic() - begin < 2
        assert fetch(town.address, "flood.example").body == b"flooded"
    finally:
        stop.set()
        thread.join()

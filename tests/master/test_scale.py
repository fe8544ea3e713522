"""Thousands of nodes that announce themselves all the time, and floods of junk: nobody is lost, and it costs little.

docs/scale.md has the figures of 50,000 nodes and 100,000 junk datagrams a second (``make scale``).
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from scripts.scale.sending import Barrage, announcements
from tests.servers import (
    Router,
    Servers,
    SteadyLoad,
    announce,
    answer,
    fetch,
    free_udp_port,
    local,
    uwsgi_get,
    wait_until,
)
from tests.servers.process import Process
from tests.servers.wire import UNSUBSCRIBE
from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.log import Log
from uwsgirouter.master.downlink import Downlink
from uwsgirouter.master.receive_queue import DATAGRAM_SIZE, ReceiveQueue
from uwsgirouter.master.subscriptions import Rejects, SubscriptionServer
from uwsgirouter.model.announced import Announced
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.trust import Trust
from uwsgirouter.protocol.repeated import Reader
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.subscription import Announce, decode_announce
from uwsgirouter.settings.senders import Rules

NODES, KEYS = 5_000, 2_000
AT_ONCE = 100
"""Datagrams that fit into any queue."""
EXPIRED = "no announce received"


class Forgetful(Reader):
    """Reads each datagram anew."""

    def read(self, datagram: bytes) -> Announce:
        return decode_announce(datagram)


class Office:
    """The master's part in announcements, with a socket of its own, and the channel of one worker."""

    def __init__(self) -> None:
        self.table = RouteTable(WeightedRoundRobin)
        self.registry = Registry(self.table, lambda id: 0, 17.0, 30.0)
        upper, self.worker = socket.socketpair()
        self.worker.setblocking(False)
        self.downlink = Downlink(upper, self.table)
        self.trust = Trust(Rules(), Replays(), lambda key: None, lambda key: ())
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.server = self.reading_with(Reader())
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(self.sock.getsockname())

    def reading_with(self, reader: Reader) -> SubscriptionServer:
        return SubscriptionServer(self.sock, self.accept, Rejects(Log("test")), self.trust, reader)

    def accept(self, announce: Announce, sender: object) -> bool:
        changes = self.registry.announce(announce, time.monotonic())
        for change in changes:
            if change.event is not None:
                self.downlink.node_changed(change.event.id)
        return bool(changes)

    def take(self, datagrams: list[bytes]) -> float:
        """Seconds of CPU that it takes to read them all; sending is not in it."""
        used = 0.0
        for start in range(0, len(datagrams), AT_ONCE):
            for datagram in datagrams[start : start + AT_ONCE]:
                self.sender.send(datagram)
            before = time.process_time()
            self.server.read(time.monotonic())
            while self.server.is_behind:
                self.server.read(time.monotonic())
            used += time.process_time() - before
        return used

    def told(self) -> int:
        """Bytes that the worker is told."""
        count = 0
        while True:
            self.downlink.write()
            try:
                count += len(self.worker.recv(1 << 20))
            except BlockingIOError:
                if not self.downlink.waiting:
                    return count

    def close(self) -> None:
        for sock in (self.sock, self.sender, self.worker, self.downlink.sock):
            sock.close()


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.close()


def test_an_announcement_that_changes_nothing_is_cheap(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far cheaper than by the long way, both measured here and now; and no worker hears of it."""
    datagrams = announcements(NODES, KEYS)
    office.take(datagrams)
    assert (len(office.table.nodes), len(office.table.slots)) == (NODES, KEYS)
    assert office.told() > 50 * NODES
    short = min(office.take(datagrams) for _ in range(2))
    assert office.told() == 0
    monkeypatch.setattr(Announced, "_repeats", lambda self, node, announce: False)
    office.server = office.reading_with(Forgetful())
    long = min(office.take(datagrams) for _ in range(2))
    assert office.told() == 0
    assert len(office.table.nodes) == NODES
    assert short < 0.6 * long, f"{short / NODES * 1e6:.1f} and {long / NODES * 1e6:.1f} us each"


def test_a_second_does_not_cost_a_look_at_every_node() -> None:
    """A hundred times as many nodes, and the same for the master's tick and for what a cheap router asks."""

    def cost(count: int) -> float:
        table = RouteTable(WeightedRoundRobin)
        registry = Registry(table, lambda id: 0, 17.0, 30.0)
        for datagram in announcements(count, max(1, count // 2)):
            registry.announce(decode_announce(datagram), 0.0)
        before = time.process_time()
        for _ in range(300):
            assert registry.expire(1.0) == []
            assert table.available()
        return time.process_time() - before

    assert cost(NODES) < 10 * cost(NODES // 100) + 0.05


class Crowd:
    """A router that forgets nodes soon, and a node under twenty keys that announces them twice a second."""

    def __init__(self, servers: Servers, tolerance: int) -> None:
        self.servers = servers
        self.address, self.server = local(), f"127.0.0.1:{free_udp_port()}"
        self.node = servers.node(answer(b"here"))
        self.router: Router = servers.router(
            config=f"[uwsgirouter]\nfastrouter = {self.address}\nfastrouter-processes = 2\n"
            f"fastrouter-subscription-server = {self.server}\nsubscription-tolerance = {tolerance}\n"
        )
        keys = [f"good{number}.example" for number in range(20)]
        alive = [text for key in keys for text in ("--alive", key, self.node.address)]
        self.send(*alive, "--rate", "40", "--seconds", "100")
        for key in keys:
            self.router.wait_for_log(f"{key} => new node: {self.node.address}", 15)
        wait_until(lambda: all(fetch(self.address, key).status == 200 for key in keys), 10, "all keys are served")

    def send(self, *arguments: str) -> Process:
        return self.servers.process(sys.executable, "-m", "scripts.scale.sending", self.server, *arguments)


def test_a_flood_harms_nobody(servers: Servers) -> None:
    """Of the dearest junk, at the rate that the sender manages: more comes than can be read, so much is lost.

    Good nodes stay, requests go on, the master obeys; and a node that is really gone goes in the end all the same.
    """
    crowd = Crowd(servers, tolerance=3)
    announce(crowd.server, "gone.example", "127.0.0.1:1")
    crowd.router.wait_for_log("gone.example => new node: 127.0.0.1:1")
    with SteadyLoad(uwsgi_get(crowd.address, "good0.example"), rate=50, threads=4) as load:
        junk = crowd.send("--junk", "crowded", "--rate", "100000", "--seconds", "3")
        crowd.router.wait_for_log("too many variables", 15)
        crowd.router.signal(signal.SIGUSR1)
        crowd.router.wait_for_log("stats: 21 nodes", 15)
        assert junk.wait(30) == 0
        crowd.router.wait_for_log(f"gone.example => marking 127.0.0.1:1 as failed ({EXPIRED}", 30)
    assert load.failures == []
    assert crowd.router.log().count(EXPIRED) == 1
    crowd.router.signal(signal.SIGUSR1)
    log = crowd.router.wait_for_log("stats: 20 nodes", 15)
    assert "too-many-variables=" in log.rpartition("stats: ")[2]


def test_a_master_that_was_stopped_reads_before_it_judges(servers: Servers) -> None:
    """More than one pass of announcements waits for it: none of the nodes has been silent."""
    address, server = local(), f"127.0.0.1:{free_udp_port()}"
    router = servers.router(
        config=f"[uwsgirouter]\nfastrouter = {address}\nfastrouter-subscription-server = {server}\n"
        "subscription-tolerance = 2\n"
    )
    nodes = [f"127.0.0.1:{port}" for port in range(10_000, 10_400)]
    for node in nodes:
        announce(server, "a.example", node)
    router.wait_for_log(f"new node: {nodes[-1]}")
    router.signal(signal.SIGSTOP)
    try:
        time.sleep(3)  # longer than they are forgiven
        for _ in range(2):
            for node in nodes:
                announce(server, "a.example", node)
        announce(server, "last.example", "127.0.0.1:1")
    finally:
        router.signal(signal.SIGCONT)
    log = router.wait_for_log("last.example => new node")
    assert EXPIRED not in log


class Hum:
    """A thousand announcements a second of nodes that are known, to a router with two workers."""

    NODES = 200
    PER_SECOND = 1000

    def __init__(self, servers: Servers) -> None:
        self.address, self.server = local(), f"127.0.0.1:{free_udp_port()}"
        self.router: Router = servers.router(
            config=f"[uwsgirouter]\nfastrouter = {self.address}\nfastrouter-processes = 2\n"
            f"fastrouter-subscription-server = {self.server}\n"
        )
        numbers = ("--nodes", str(self.NODES), "--keys", "100", "--rate", str(self.PER_SECOND), "--seconds", "100")
        servers.process(sys.executable, "-m", "scripts.scale.sending", self.server, *numbers)
        self.wait_for_nodes(self.NODES)

    def wait_for_nodes(self, count: int) -> str:
        """Until that many are known; the stats line that says so."""
        lines = [""]

        def says_so() -> bool:
            before = self.router.log().count("] stats: ")
            self.router.signal(signal.SIGUSR1)
            wait_until(lambda: self.router.log().count("] stats: ") > before, 15, "a stats line")
            lines[0] = self.router.log().rpartition("] stats: ")[2].partition("\n")[0]
            return lines[0].startswith(f"{count} nodes")

        wait_until(says_so, 15, f"{count} nodes")
        return lines[0]

    def wake_ups(self) -> int:
        """Of the master, since it was started."""
        with open(f"/proc/{self.router.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))

    @property
    def room(self) -> int:
        """Announcements that wait in its queue without harm, by what the kernel gives anybody like us."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as like_it:
            return ReceiveQueue(like_it).size // DATAGRAM_SIZE


def test_between_known_announcements_the_master_rests(servers: Servers) -> None:
    """So a thousand a second wake it up some fifty times; but who comes and who goes is told to all as ever."""
    hum = Hum(servers)
    node = servers.node(answer(b"here"))
    before, start = hum.wake_ups(), time.monotonic()
    time.sleep(1)
    used, passed = hum.wake_ups() - before, time.monotonic() - start
    assert used < 0.6 * Hum.PER_SECOND * passed
    for _ in range(3):
        announce(hum.server, "new.example", node.address)
        wait_until(lambda: fetch(hum.address, "new.example").status == 200, 10, "the new node is served")
        announce(hum.server, "new.example", node.address, UNSUBSCRIBE)
        wait_until(lambda: fetch(hum.address, "new.example").status != 200, 10, "its farewell was heard")


def test_a_burst_in_a_rest_is_not_lost(servers: Servers) -> None:
    """As many new nodes as the kernel's queue has room for, at once, while the master rests."""
    hum = Hum(servers)
    count = min(2000, hum.room // 2)
    barrage = Barrage(hum.server, announcements(Hum.NODES + count, 100)[Hum.NODES :])
    with barrage.sock:
        assert barrage.send(count) == count
    assert "lost=" not in hum.wait_for_nodes(Hum.NODES + count)

"""Reloads and stops while requests are in every phase: nothing is lost, and nothing holds the router up for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.master.watching import title
from tests.servers import Client, Connection, End, Reply, Servers, fetch, get, packet, post, wait_until
from tests.worker.site import links
from tests.worker.test_failures import stuffed, told
from tests.worker.test_faults_mapping import Asking

MEMORY, FILE = 60_000, 2_000_000


class Phases:
    """A client in every phase that a request can be in, each with its key's node behind the same mapper."""

    def __init__(self, servers: Servers, *lines: str) -> None:
        self.spool = Path(servers.path("spool"))
        self.spool.mkdir()
        self.site = Asking(
            servers,
            "fastrouter-post-buffering = 65536",
            f"fastrouter-post-buffering-dir = {self.spool}",
            *lines,
        )
        self.worker = self.site.worker
        self._go = threading.Event()
        self.node = servers.node(self.held)
        self.live = servers.node(self.live_handler)
        self.clients: dict[str, Client] = {name: servers.client(self.site.tcp) for name in FINISH}
        self.key = self.site.to(self.live)
        self.waiting = self.site.to(self.live, what="waits")
        for name, client in self.clients.items():
            BEGIN[name](self, client)
        wait_until(lambda: self.site.stats().numbers["requests"] == len(self.clients) - 1, 5, "all but half a packet")
        wait_until(lambda: self.site.asked(self.waiting), 5, "the mapper is asked")
        wait_until(lambda: any(link.startswith(str(self.spool)) for link in links(self.worker)), 5, "a file is open")
        self.node.wait_for(2)

    def held(self, connection: Connection) -> None:
        """Answer when the test says so; half of it at once where the path is /half."""
        if connection.read_packet().get(b"PATH_INFO") == b"/half":
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nok")
            self._go.wait(20)
        else:
            self._go.wait(20)
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nok")

    @staticmethod
    def live_handler(connection: Connection) -> None:
        """Answer how long the body is."""
        connection.read_packet()
        connection.answer(b"%d" % len(connection.read_body()))

    def finish(self) -> dict[str, bytes]:
        """Each client does what is still to be done, and gets its answer."""
        self._go.set()
        for name, client in self.clients.items():
            FINISH[name](self, client)
        return {name: client.reply().body for name, client in self.clients.items()}

    def release(self) -> None:
        """Nobody waits any longer."""
        self._go.set()


BEGIN = {
    "packet": lambda phases, client: client.send(packet(get(phases.key))[:-1]),
    "memory": lambda phases, client: client.send_packet(post(phases.key, MEMORY), bytes(MEMORY - 1)),
    "file": lambda phases, client: client.send_packet(post(phases.key, FILE), bytes(FILE - 1)),
    "map": lambda phases, client: client.send_packet(get(phases.waiting)),
    "wait": lambda phases, client: client.send_packet(get(phases.site.to(phases.node))),
    "relay": lambda phases, client: client.send_packet(get(phases.site.to(phases.node), "/half")),
}
FINISH = {
    "packet": lambda phases, client: client.send(packet(get(phases.key))[-1:]),
    "memory": lambda _, client: client.send(b"\0"),
    "file": lambda _, client: client.send(b"\0"),
    "map": lambda phases, _: phases.site.let(phases.waiting),
    "wait": lambda *_: None,
    "relay": lambda *_: None,
}
ANSWERS = {"packet": b"0", "memory": b"60000", "file": b"2000000", "map": b"0", "wait": b"ok", "relay": b"ok"}


def test_a_reload_in_every_phase(servers: Servers) -> None:
    phases = Phases(servers)
    phases.site.router.hup()
    wait_until(lambda: " draining 6" in title(phases.worker), 5, "the old worker has them all")
    assert fetch(phases.site.tcp, phases.key).body == b"0"
    assert phases.finish() == ANSWERS
    wait_until(lambda: phases.worker not in phases.site.router.workers(), 5, "the old worker is gone")
    assert fetch(phases.site.tcp, phases.key, body=bytes(MEMORY)).body == b"60000"
    assert os.listdir(phases.spool) == []


def test_a_stop_in_every_phase(servers: Servers) -> None:
    phases = Phases(servers)
    phases.site.router.signal(signal.SIGTERM)
    wait_until(lambda: " draining 6" in title(phases.worker), 5, "the worker has them all")
    assert phases.finish() == ANSWERS
    assert phases.site.router.wait(5) == 0
    assert os.listdir(phases.spool) == []


def mercy_ends(number: signal.Signals) -> None:
    """A router of its own, whose requests in all phases are given up a second after the signal."""
    with contextlib.closing(Servers()) as servers, stuffed("127.0.0.1:0") as hanging:
        phases = Phases(servers, "reload-mercy = 1", "fastrouter-connect-timeout = 30")
        site = phases.site
        phases.clients["connect"] = servers.client(site.tcp)
        phases.clients["connect"].send_packet(get(site.to(hanging)))
        wait_until(lambda: site.stats().numbers["in flight"] == 3, 5, "one is connecting")
        site.router.signal(number)
        raw = {name: client.read_all() for name, client in phases.clients.items()}
        assert raw.pop("relay") == (b"HTTP/1.1 200 OK\r\n\r\nok", End.RESET)
        assert raw.keys() == {"packet", "memory", "file", "map", "wait", "connect"}
        assert {(told(Reply.parse(data)), end) for data, end in raw.values()} == {((503, "stopped"), End.EOF)}
        wait_until(lambda: phases.worker not in site.router.workers(), 5, "the worker is gone")
        assert site.is_over(phases.waiting)
        assert os.listdir(phases.spool) == []
        phases.release()
        if number is signal.SIGHUP:
            assert fetch(site.tcp, phases.key).body == b"0"
        else:
            assert site.router.wait(5) == 0


def test_mercy_has_an_end_in_every_phase() -> None:
    """Whoever has no answer yet is told; one that had begun is cut. INT has no mercy at all."""
    with ThreadPoolExecutor(3) as pool:
        for _ in pool.map(mercy_ends, (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)):
            pass

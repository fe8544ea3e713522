"""What the buffering of bodies is for: slow clients keep no process of a node. The node is a real one with two."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import Client, End, Servers, UwsgiApp, get, post, wait_until
from tests.worker.site import Site

SIZE = 5 << 20
CLIENTS = 10
BLOCK = 4096

APP = """
import hashlib
def application(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [hashlib.sha256(body).hexdigest().encode()]
"""


@pytest.fixture(scope="module")
def node(started: Servers) -> UwsgiApp:
    """Two processes, one request at a time in each."""
    app = Path(started.path("hashing.py"))
    app.write_text(APP)
    return started.uwsgi("--socket", "127.0.0.1:0", "--master", "--processes", "2", "--wsgi-file", str(app))


class Trickle:
    """Ten clients that upload five megabytes each, a few bytes at a time until :meth:`hurry`."""

    def __init__(self, site: Site) -> None:
        self.bodies = [random.Random(number).randbytes(SIZE) for number in range(CLIENTS)]
        self._clients = [site.servers.client(site.tcp) for _ in self.bodies]
        self._sent = 0
        self._stop = threading.Event()
        for client in self._clients:
            client.send_packet(post("a.example", SIZE))
        self._thread = threading.Thread(target=self._drip, daemon=True)
        self._thread.start()

    def _drip(self) -> None:
        while not self._stop.wait(0.02):
            for client, body in zip(self._clients, self.bodies, strict=True):
                client.send(body[self._sent : self._sent + BLOCK])
            self._sent += BLOCK

    def hurry(self) -> list[bytes]:
        """Send the rest at once; the answers."""
        self._stop.set()
        self._thread.join()

        def finish(number: int) -> bytes:
            self._clients[number].send(self.bodies[number][self._sent :])
            return self._clients[number].reply().body

        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(finish, range(CLIENTS)))

    def expected(self) -> list[bytes]:
        """What the node answers when every body came whole."""
        return [hashlib.sha256(body).hexdigest().encode() for body in self.bodies]


NOTHING = hashlib.sha256(b"").hexdigest().encode()


@pytest.fixture
def trickle(started: Servers, node: UwsgiApp, request: pytest.FixtureRequest) -> Iterator[tuple[Site, Trickle]]:
    """A router with these lines, and the ten clients."""
    site = Site(started, f"fastrouter-to = {node.address}", *request.param, announced=False)
    trickle = Trickle(site)
    wait_until(lambda: site.stats().numbers["requests"] == CLIENTS, 5, "the router has the packets")
    yield site, trickle
    assert trickle.hurry() == trickle.expected()
    wait_until(lambda: site.stats().numbers["in flight"] == 0, 5, "nothing is in flight")


@pytest.mark.parametrize("trickle", [()], indirect=True)
def test_without_buffering_slow_clients_keep_the_node(trickle: tuple[Site, Trickle]) -> None:
    site, _ = trickle
    wait_until(lambda: site.stats().numbers["in flight"] == CLIENTS, 5, "the node has ten requests")
    other = site.servers.client(site.tcp)
    other.send_packet(get("a.example"))
    assert other.read_all(patience=1.0) == (b"", End.SILENT)


@pytest.mark.parametrize("trickle", [("fastrouter-post-buffering = 65536",)], indirect=True)
def test_with_buffering_the_node_is_free(trickle: tuple[Site, Trickle]) -> None:
    site, _ = trickle
    assert site.stats().numbers["in flight"] == 0
    begin = time.monotonic()
    for _ in range(5):
        with Client(site.tcp) as other:
            other.send_packet(get("a.example"))
            assert other.reply().body == NOTHING
    assert time.monotonic() - begin < 1.0
    assert site.stats().numbers["in flight"] == 0

"""Who gets how much, with two workers: shares by weight, few for the slow one, the same node for the same address."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.servers import (
    Client,
    Connection,
    Node,
    Router,
    Servers,
    announce,
    fetch,
    free_udp_port,
    get,
    local,
    wait_until,
)
from tests.servers.programs import UwsgiApp
from tests.servers.wire import UNSUBSCRIBE

KEY = "shared.example"


class Site:
    """A router with two workers that know each other, and a subscription server."""

    def __init__(self, servers: Servers, *lines: str) -> None:
        self.servers = servers
        self.address = local()
        self.server = f"127.0.0.1:{free_udp_port()}"
        config = f"""
            [uwsgirouter]
            fastrouter = {self.address}
            fastrouter-subscription-server = {self.server}
            subscription-tolerance = 600
            fastrouter-processes = 2
            """
        self.router: Router = servers.router(config=config + "".join(f"{line}\n" for line in lines))
        youngest = max(psutil.Process(pid).create_time() for pid in self.router.wait_for_workers(2))
        wait_until(
            lambda: time.time() > youngest + 3, 10, "each has looked, which is once a second, who the others are"
        )

    def announce(self, node: Node, **extra: int | str) -> None:
        """Until the log has it, so that the workers will have it in a moment."""
        announce(self.server, KEY, node.address, extra=dict(extra))
        self.router.wait_for_log(f"new node: {node.address}", 10)


def ask(site: Site, remote: str = "127.0.0.1") -> bytes:
    """The body of the answer to one request of a client with this address."""
    with Client(site.address) as client:
        variables = [(name, value) for name, value in get(KEY) if name != b"REMOTE_ADDR"]
        client.send_packet([*variables, (b"REMOTE_ADDR", remote.encode())])
        reply = client.reply()
    assert reply.status == 200, reply
    return reply.body


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def named(servers: Servers, name: str) -> UwsgiApp:
    """A real uWSGI that answers with its name."""
    app = servers.directory / f"{name}.py"
    app.write_text(
        f"def application(environ, start):\n    start('200 OK', [('Content-Length', '1')])\n    return [b'{name}']\n"
    )
    return servers.uwsgi(
        "--master", "--processes", "1", "--disable-logging", "--uwsgi-socket", local(), "--wsgi-file", str(app)
    )


def test_shares_are_as_the_weights(servers: Servers, pool: ThreadPoolExecutor) -> None:
    """10,000 requests, weights 1 to 5 on 5 real nodes, 2 workers: within 2 % of the weights."""
    site = Site(servers)
    for weight in range(1, 6):
        node = named(servers, str(weight))
        announce(site.server, KEY, node.address, extra={"weight": weight})
        site.router.wait_for_log(f"new node: {node.address}", 10)
    wait_until(lambda: len({ask(site) for _ in range(60)}) == 5, 20, "all nodes are known")

    def some(count: int) -> Counter[bytes]:
        return Counter(fetch(site.address, KEY).body for _ in range(count))

    served: Counter[bytes] = Counter()
    for part in pool.map(some, [1250] * 8):
        served += part
    assert served.total() == 10_000
    for weight in range(1, 6):
        expected = 10_000 * weight / 15
        assert abs(served[b"%d" % weight] - expected) <= 0.02 * expected, served


class Busy:
    """A handler that takes ``seconds`` for each request, and knows how many it had at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = 0
        self.most = 0
        self.served = 0
        self._lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        connection.read_packet()
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        connection.stopping.wait(self.seconds)
        with self._lock:
            self.now -= 1
            self.served += 1
        connection.answer()


@pytest.mark.parametrize("algo", ["lrc", "p2c"])
def test_the_slow_one_of_four_is_left_in_peace(servers: Servers, pool: ThreadPoolExecutor, algo: str) -> None:
    """By requests under way, counted over both workers; taking turns it would hold nearly all eight of them."""
    site = Site(servers, f"subscription-algo = {algo}")
    handlers = [Busy(0.3), *(Busy(0.01) for _ in range(3))]
    for handler in handlers:
        site.announce(servers.node(handler))
    wait_until(lambda: [ask(site) for _ in range(12)] and all(handler.served for handler in handlers), 30, "all known")
    for handler in handlers:
        handler.most = handler.served = 0
    list(pool.map(lambda _: [ask(site) for _ in range(25)], range(8)))
    slow, *quick = handlers
    # What two workers choose in the same moment they do not see of each other.
    assert slow.most <= max(handler.most for handler in quick) + 1, [handler.most for handler in handlers]
    assert slow.served < min(handler.served for handler in quick)


def test_an_address_has_its_node_in_both_workers(servers: Servers) -> None:
    site = Site(servers, "subscription-algo = iphash")
    names = [b"a", b"b", b"c", b"d"]
    nodes = {name: servers.node(lambda connection, name=name: _answer(connection, name)) for name in names}
    for node in nodes.values():
        site.announce(node)
    clients = [f"10.0.{number}.7" for number in range(40)]
    wait_until(lambda: len({ask(site, client) for client in clients}) == 4, 20, "all nodes are known")

    def homes() -> dict[str, set[bytes]]:
        return {client: {ask(site, client) for _ in range(6)} for client in clients}

    before = homes()
    assert all(len(home) == 1 for home in before.values()), before
    gone = nodes.pop(b"c")
    announce(site.server, KEY, gone.address, UNSUBSCRIBE)
    wait_until(lambda: b"c" not in {ask(site, client) for client in clients for _ in range(2)}, 20, "both know it")
    for client, home in homes().items():
        if before[client] != {b"c"}:
            assert home == before[client], "who was not its client stays"
        else:
            assert len(home) == 1 and home != {b"c"}


def _answer(connection: Connection, body: bytes) -> None:
    connection.read_packet()
    connection.answer(body)


def test_a_new_node_starts_slowly(servers: Servers) -> None:
    site = Site(servers, "subscription-slow-start = 4")
    old, new = (servers.node(lambda connection, name=name: _answer(connection, name)) for name in (b"old", b"new"))
    site.announce(old)
    announced = time.monotonic()
    wait_until(lambda: time.monotonic() > announced + 5, 10, "it has its whole share")
    site.announce(new)
    wait_until(lambda: ask(site) == b"new", 10, "it is known")
    assert Counter(ask(site) for _ in range(60))[b"new"] <= 24, "a tenth of a share, and a little more with each second"
    wait_until(lambda: Counter(ask(site) for _ in range(60))[b"new"] in range(28, 33), 20, "both have the same share")


def test_the_algorithm_that_a_node_wishes(servers: Servers) -> None:
    """Its announcement says iphash, and its slot follows in both workers."""
    site = Site(servers)
    for name in (b"a", b"b"):
        node = servers.node(lambda connection, name=name: _answer(connection, name))
        site.announce(node, algo="iphash")
    clients = [f"10.1.{number}.9" for number in range(20)]
    wait_until(lambda: len({ask(site, client) for client in clients}) == 2, 20, "both nodes are known")
    assert all(len({ask(site, client) for _ in range(6)}) == 1 for client in clients)


def test_backup_levels(servers: Servers) -> None:
    site = Site(servers)
    main, spare = (
        servers.node(lambda connection, name=name: _answer(connection, name)) for name in (b"main", b"spare")
    )
    site.announce(spare, backup=1)
    wait_until(lambda: {fetch(site.address, KEY).body for _ in range(8)} == {b"spare"}, 10, "nobody else is there")
    site.announce(main)
    wait_until(lambda: {ask(site) for _ in range(8)} == {b"main"}, 10, "the better level has somebody")
    main.refuse()
    assert {ask(site) for _ in range(8)} == {b"spare"}, "each request goes on to the next level"

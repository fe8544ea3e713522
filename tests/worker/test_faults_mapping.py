"""When nobody can say who serves a key, or those who serve it are dead: mappers that fail, bad keys, fallbacks."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import Client, Connection, Node, Servers, answer, get, local, packet, wait_until
from tests.worker.scarcity import without_descriptors
from tests.worker.site import Site
from tests.worker.test_failures import stuffed, told
from tests.worker.ways import accounted

SCRIPT = """
import os, sys, time
import gevent, greenlet

class Unprintable:
    def __repr__(self):
        raise ValueError("not to be shown")

RESULTS = {
    "nobody": None, "number": 5, "list": ["127.0.0.1:1"], "empty": "", "garbage": "no address", "nul": "/a\\0b",
    "port": "127.0.0.1:99999", "modifier": "127.0.0.1:1,256", "bytes": b"\\xff\\xfe", "long": "x" * 1000000,
    "lines": "a\\nb\\r\\nHTTP/1.1 200 OK", "half": "127.0.0.1:1|", "unprintable": Unprintable(),
}
RAISED = {
    "raises": lambda: ValueError("of its own"), "exits": lambda: SystemExit(3), "interrupts": KeyboardInterrupt,
    "kills": gevent.GreenletExit, "recursion": RecursionError, "memory": MemoryError,
    "timeout": lambda: gevent.Timeout(5), "stops": lambda: StopIteration(1), "refused": ConnectionRefusedError,
}

def touch(name):
    with open(os.path.join(os.path.dirname(__file__), name), "a") as file:
        file.write("x")

def get(key):
    what, _, rest = key.partition(".")
    if what in RAISED:
        raise RAISED[what]()
    if what in RESULTS:
        return RESULTS[what]
    if what == "waits":
        touch(key + ".asked")
        try:
            while not os.path.exists(os.path.join(os.path.dirname(__file__), key + ".go")):
                time.sleep(0.005)
        finally:
            touch(key + ".over")
    return bytes.fromhex(key.split(".")[1])
"""


class Asking(Site):
    """A router whose nodes a Python function names. The key ``to.HEX`` leads to that address, ``waits.HEX`` too, but
    only when :meth:`let` was called for it.
    """

    def __init__(self, servers: Servers, *lines: str, more: str = "") -> None:
        script = Path(servers.path("mapper.py"))
        script.write_text(SCRIPT + more)
        super().__init__(servers, f"fastrouter-use-code-string = 0:{script}:get", *lines, announced=False)

    def to(self, *nodes: Node | str, what: str = "to") -> str:
        """The key that leads to a node, or to several that take turns."""
        addresses = [node if isinstance(node, str) else node.address for node in nodes]
        return f"{what}.{'|'.join(addresses).encode().hex()}"

    def let(self, key: str) -> None:
        """The mapper need wait no longer."""
        Path(self.servers.path(f"{key}.go")).touch()

    def asked(self, key: str) -> bool:
        """The mapper is at it."""
        return Path(self.servers.path(f"{key}.asked")).exists()

    def is_over(self, key: str) -> bool:
        """It is not any more."""
        return Path(self.servers.path(f"{key}.over")).exists()


@pytest.fixture(scope="module")
def site(started: Servers) -> Asking:
    """A router with a mapper."""
    return Asking(started, "no-fd-passing = true")


# -- what a mapper may do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "detail"),
    [
        ("raises", "ValueError: of its own"),
        ("exits", "the mapper called exit(3)"),
        ("interrupts", "KeyboardInterrupt: "),
        ("kills", "GreenletExit: "),
        ("recursion", "RecursionError: "),
        ("memory", "MemoryError: "),
        ("timeout", "Timeout: 5 seconds"),
        ("stops", "StopIteration: 1"),
        ("refused", "ConnectionRefusedError: "),
        ("unprintable", "ValueError: not to be shown"),
    ],
)
def test_a_mapper_that_raises(site: Asking, what: str, detail: str) -> None:
    """Whatever it is: that request fails alone, and the log has the traceback (one a second)."""
    key = f"{what}.example"
    before = site.router.log().count("the mapper failed: Traceback")
    with accounted(site, {"requests": 1, "mapper-failed": 1}):
        assert told(site.fetch(key)) == (502, "mapper-failed")
    site.router.wait_for_log(f"request failed: 502 mapper-failed key {key} tries 0 ({detail})")
    if before == 0:
        assert f"] {detail}\n" in site.router.wait_for_log("the mapper failed: Traceback")
    assert site.router.workers() == [site.worker]


@pytest.fixture(scope="module")
def second(started: Servers) -> Asking:
    """Another one, which has a log of its own: the failures of a second do not fit into one."""
    return Asking(started, "no-fd-passing = true")


@pytest.mark.parametrize("what", ["number", "list", "empty", "nul", "port", "modifier", "long"])
def test_a_mapper_that_names_no_address(second: Asking, what: str) -> None:
    site = second
    key = f"{what}.example"
    with accounted(site, {"requests": 1, "mapper-failed": 1}):
        assert told(site.fetch(key)) == (502, "mapper-failed")
    assert_printable(site, f"request failed: 502 mapper-failed key {key} tries 0 (")


@pytest.mark.parametrize("what", ["garbage", "bytes", "lines"])
def test_a_mapper_that_names_a_file_that_is_not_there(site: Asking, what: str) -> None:
    """Without a colon it is a path, as with the real one, whatever its bytes."""
    key = f"{what}.example"
    with accounted(site, {"requests": 1, "failed connects": 1, "connect-failed": 1}):
        assert told(site.fetch(key)) == (502, "connect-failed")
    assert_printable(site, f"request failed: 502 connect-failed key {key} node ")


def assert_printable(site: Site, start: str) -> None:
    """What a mapper says tears no line of the log, and makes none endless."""
    (line,) = [line for line in site.router.wait_for_log(start).split("\n") if start in line]
    assert len(line) < 4096
    assert line.isprintable()


def test_a_mapper_that_knows_nobody(site: Asking) -> None:
    with accounted(site, {"requests": 1, "no-node": 1}):
        assert told(site.fetch("nobody.example")) == (503, "no-node")
    site.router.wait_for_log("request failed: 503 no-node key nobody.example tries 0")


@pytest.mark.parametrize(("kind", "leave"), [("tcp", Client.reset), ("v6", Client.reset), ("unix", Client.close)])
def test_a_client_that_goes_while_the_mapper_is_asked(site: Asking, kind: str, leave: Callable[[Client], None]) -> None:
    """Its question goes with it, and no node hears of it."""
    node = site.servers.node(answer())
    key = site.to(node, what="waits")
    with accounted(site, {"requests": 1, "clients gone": 1}):
        client = Client(site.address(kind))
        client.send_packet(get(key))
        wait_until(lambda: site.asked(key))
        leave(client)
        wait_until(lambda: site.is_over(key), 2, "the greenlet ended")
    assert node.connections == []


@pytest.mark.parametrize("leave", [Client.close, Client.half_close])
def test_a_client_that_ends_its_side_while_the_mapper_is_asked(site: Asking, leave: Callable[[Client], None]) -> None:
    """On TCP the one cannot be told from the other, so the node gets the request, with its end."""
    ends: list[bytes] = []

    def until_the_end(connection: Connection) -> None:
        connection.read_packet()
        ends.append(connection.read_until_eof())
        connection.answer(b"late")

    node = site.servers.node(until_the_end)
    key = site.to(node, what="waits")
    with accounted(site, {"requests": 1, "answered": 1}), Client(site.tcp) as client:
        client.send_packet(get(key))
        wait_until(lambda: site.asked(key))
        leave(client)
        site.let(key)
        if leave is Client.half_close:
            assert client.reply().body == b"late"
        wait_until(lambda: ends == [b""], 5, "the node saw the end")


def test_a_router_that_is_stopped_at_once_takes_its_mappers_along(started: Servers) -> None:
    """INT: the request gets its answer, the function is ended in its greenlet."""
    site = Asking(started)
    key = site.to("127.0.0.1:1", what="waits")
    Path(started.path(f"{key}.over")).unlink(missing_ok=True)
    with Client(site.tcp) as client:
        client.send_packet(get(key))
        wait_until(lambda: site.asked(key))
        site.router.signal(2)
        assert told(client.reply()) == (503, "stopped")
    assert site.router.wait(5) == 0
    assert site.is_over(key)


def test_without_a_descriptor_for_a_node_or_a_client(site: Asking) -> None:
    """A client that is here is told; one that is not waits, and is served when there are descriptors again."""
    live = site.servers.node(answer(b"live"))
    key = site.to(live)
    descriptors = site.descriptors()
    whole = packet(get(key))
    with (
        accounted(site, {"requests": 2, "overload": 1, "answered": 1}),
        Client(site.tcp) as here,
        Client(site.tcp) as waiting,
    ):
        here.send(whole[:1])
        wait_until(lambda: site.descriptors() == descriptors + 1, 5, "it is accepted")
        with without_descriptors(site):
            here.send(whole[1:])
            assert told(here.reply()) == (503, "overload")
            site.router.wait_for_log(
                f"request failed: 503 overload key {key} node {live.address} tries 1 (Too many open files)"
            )
        with without_descriptors(site):
            waiting.send(whole)
            site.router.wait_for_log("accept() failed: Too many open files")
        assert waiting.reply().body == b"live"


# -- keys that climb --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["../etc/passwd", "a/../../b", "evil.example:80", "a\0b", "\0"])
def test_a_key_that_would_lead_elsewhere(started: Servers, based: Site, key: str) -> None:
    """Told once a second at most: anybody can send them."""
    with accounted(based, {"requests": 2, "bad-key": 2}):
        assert told(based.fetch(key)) == (400, "bad-key")
        assert told(based.fetch(key, body=bytes(1 << 20))) == (400, "bad-key")
    based.router.wait_for_log("request failed: 400 bad-key key ")


@pytest.fixture(scope="module")
def based(started: Servers) -> Site:
    """A router whose nodes are in a directory, by key."""
    base = Path(started.path("nodes"))
    base.mkdir()
    return Site(
        started,
        f"fastrouter-use-base = {base}/",
        "fastrouter-post-buffering = 1000",
        "no-fd-passing = true",
        announced=False,
    )


def test_a_cache_whose_item_is_no_address(started: Servers) -> None:
    item = "add-cache-item = bad.example=127.0.0.1:99999"
    site = Site(started, "cache = 10", "fastrouter-use-cache = default", item, announced=False)
    with accounted(site, {"requests": 2, "mapper-failed": 1, "no-node": 1}):
        assert told(site.fetch("bad.example")) == (502, "mapper-failed")
        assert told(site.fetch("other.example")) == (503, "no-node")
    site.router.wait_for_log(
        "request failed: 502 mapper-failed key bad.example tries 0 (the cache has '127.0.0.1:99999' for bad.example: "
    )


# -- fallbacks --------------------------------------------------------------------------------------------------------


class Backed(Asking):
    """With two fallbacks and a short grace time."""

    def __init__(self, servers: Servers, *lines: str) -> None:
        self.fallbacks = [servers.node(answer(name)) for name in (b"first", b"second")]
        named = [f"fastrouter-fallback = {node.address}" for node in self.fallbacks]
        super().__init__(servers, "fastrouter-gracetime = 1", *named, *lines)


ONCE_REFUSED = {"requests": 1, "answered": 1, "retries": 1, "failed connects": 1}


def test_a_key_without_nodes_is_not_the_fallbacks_affair(started: Servers) -> None:
    backed = Backed(started)
    with accounted(backed, {"requests": 1, "no-node": 1}):
        assert told(backed.fetch("nobody.example")) == (503, "no-node")
    open_handed = Backed(started, "fastrouter-fallback-on-no-key = true", "fastrouter-post-buffering = 10")
    with accounted(open_handed, {"requests": 2, "answered": 2}):
        assert open_handed.fetch("nobody.example").body == b"first"
        assert open_handed.fetch("nobody.example", body=b"x" * 100).body == b"first"
    with accounted(open_handed, {"requests": 1, "mapper-failed": 1}):
        assert told(open_handed.fetch("raises.example")) == (502, "mapper-failed")


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_the_last_of_the_retries_goes_to_the_fallback(started: Servers, retries: int) -> None:
    fallback = started.node(answer(b"fallback"))
    site = Site(started, f"fastrouter-max-retries = {retries}", f"fastrouter-fallback = {fallback.address}")
    key = site.announce(site.key(), *[local() for _ in range(5)])
    if retries:
        counted = {"requests": 1, "answered": 1, "retries": retries, "failed connects": retries}
        with accounted(site, counted):
            assert site.fetch(key).body == b"fallback"
    else:
        with accounted(site, {"requests": 1, "failed connects": 1, "connect-failed": 1}):
            assert told(site.fetch(key)) == (502, "connect-failed")
    served, _ = site.serve(answer(b"node"))
    assert site.fetch(served).body == b"node"


@pytest.mark.parametrize("retries", [0, 1])
def test_a_fallback_leaves_a_mappers_node_its_turn(started: Servers, retries: int) -> None:
    """However few retries there are: the first attempt is the node's."""
    site = Backed(started, f"fastrouter-max-retries = {retries}")
    node = started.node(answer(b"node"))
    with accounted(site, {"requests": 3, "answered": 3}):
        assert [site.fetch(site.to(node)).body for _ in range(3)] == [b"node"] * 3


def test_a_mapper_is_asked_again_for_another_node(site: Asking) -> None:
    """One that takes turns names another one then, which gets the request with its body."""
    dead, live = local(), site.servers.node(answer(b"live"))
    both = site.to(dead, live)
    with accounted(site, ONCE_REFUSED):
        assert site.fetch(both, body=b"a body").body == b"live"
    with accounted(site, {"requests": 4, "answered": 4}):
        assert [site.fetch(both).body for _ in range(4)] == [b"live"] * 4


# -- what takes its time: all of it at the same time, each with a router of its own ----------------------------------


def grace(backed: Backed) -> None:
    """A fallback stands in for a dead node in its grace time, and no longer."""
    node = backed.servers.node(answer(b"node"))
    key = backed.to(node)
    assert backed.fetch(key).body == b"node"
    node.refuse()
    with accounted(backed, ONCE_REFUSED):
        assert backed.fetch(key).body == b"first"
    with accounted(backed, {"requests": 3, "answered": 3}):
        assert [backed.fetch(key, body=b"x").body for _ in range(3)] == [b"first"] * 3
    node.accept_again()
    assert backed.fetch(key).body == b"first"
    backed.router.wait_for_log(f"node {node.address} is tried again")
    with accounted(backed, {"requests": 1, "answered": 1}):
        assert backed.fetch(key).body == b"node"


def dead_fallbacks(backed: Backed) -> None:
    """A fallback is dead: the next one. All are: each is tried once more before the client is told."""
    dead = backed.to(local())
    first, second = backed.fallbacks
    first.refuse()
    with accounted(backed, {**ONCE_REFUSED, "retries": 2, "failed connects": 2}):
        assert backed.fetch(dead).body == b"second"
    with accounted(backed, {"requests": 1, "answered": 1}):
        assert backed.fetch(dead).body == b"second"
    second.refuse()
    lost = {"requests": 1, "retries": 2, "failed connects": 3, "connect-failed": 1}
    for _ in range(2):
        with accounted(backed, lost):
            assert told(backed.fetch(dead)) == (502, "connect-failed")
    log = backed.router.wait_for_log(f"request failed: 502 connect-failed key {dead} node ")
    assert re.search(rf"key {dead} node ({first.address}|{second.address}) tries 3 \(Connection refused\)", log)
    for node in (first, second):
        node.accept_again()
        backed.router.wait_for_log(f"{node.address} is tried again")
    wait_until(lambda: backed.fetch(dead).body == b"first", 2, "the first fallback serves again")


def hanging_mapper(site: Asking) -> None:
    """Only its own request waits; when that one is given up, so is the mapper."""
    live = site.servers.node(answer(b"live"))
    key = site.to(live, what="waits")
    begin = time.monotonic()
    with accounted(site, {"requests": 11, "answered": 10, "mapper-timeout": 1}), Client(site.tcp) as client:
        client.send_packet(get(key))
        wait_until(lambda: site.asked(key))
        assert [site.fetch(site.to(live)).body for _ in range(10)] == [b"live"] * 10
        assert time.monotonic() - begin < 2
        assert told(client.reply()) == (504, "mapper-timeout")
        assert 2 < time.monotonic() - begin < 5
    site.router.wait_for_log(f"request failed: 504 mapper-timeout key {key} tries 0")
    wait_until(lambda: site.is_over(key), 2, "the greenlet ended")


def gone_while_connecting(site: Asking) -> None:
    """Nobody looks at a client while its node is being connected; the session ends with the attempt."""
    with (
        stuffed("127.0.0.1:0") as hanging,
        accounted(site, {"requests": 2, "failed connects": 2, "connect-timeout": 2}),
    ):
        clients = [Client(site.tcp), Client(site.tcp)]
        for client in clients:
            client.send_packet(get(site.to(hanging)))
        wait_until(lambda: site.stats().numbers["in flight"] == 2, 5, "they are connecting")
        clients[0].close()
        clients[1].reset()


SLOW: dict[str, Callable[[Servers], None]] = {
    "grace": lambda servers: grace(Backed(servers)),
    "dead fallbacks": lambda servers: dead_fallbacks(Backed(servers)),
    "hanging mapper": lambda servers: hanging_mapper(Asking(servers, "fastrouter-first-byte-timeout = 2")),
    "gone while connecting": lambda servers: gone_while_connecting(Asking(servers, "fastrouter-connect-timeout = 1")),
}


@pytest.fixture(scope="module", autouse=True)
def slow() -> Iterator[dict[str, Future[None]]]:
    """All of them, begun when the module's first test is."""

    def run(name: str) -> None:
        with contextlib.closing(Servers()) as servers:
            SLOW[name](servers)

    with ThreadPoolExecutor(len(SLOW)) as pool:
        yield {name: pool.submit(run, name) for name in SLOW}


@pytest.mark.parametrize("name", SLOW)
def test_what_takes_its_time(slow: dict[str, Future[None]], name: str) -> None:
    slow[name].result(30)

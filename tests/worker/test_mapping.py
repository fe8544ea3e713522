"""The one way that is used of several, keys that are forced or fall back, scripts and names that hold nobody up."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.servers import (
    Client,
    Connection,
    Node,
    Reply,
    Router,
    Servers,
    announce,
    answer,
    fetch,
    free_udp_port,
    get,
    local,
    wait_until,
)
from tests.servers.wire import Variables
from tests.worker.patched import patched_router
from tests.worker.site import Site
from tests.worker.test_failures import told

ANSWERED_SOON = 0.05
"""Seconds in which those are answered who need not wait."""


def ask(address: str, variables: Variables) -> Reply:
    """One request with exactly these variables."""
    with Client(address) as client:
        client.send_packet(variables)
        return client.reply()


def without_key() -> Variables:
    """A request that does not say for whom it is."""
    return [pair for pair in get() if pair[0] not in (b"HTTP_HOST", b"SERVER_NAME")]


def write(path: str, text: str) -> str:
    Path(path).write_text(text)
    return path


def reload(router: Router, config: str | None = None) -> None:
    """HUP, until the new workers serve and the old ones are gone."""
    before = router.log().count("] reloaded in ")
    if config is not None:
        router.rewrite(config)
    router.hup()
    router.wait_for_log("] reloaded in ", count=before + 1)
    router.wait_for_workers(1)


# -- which way is used -------------------------------------------------------------------------------------------------


class Ways:
    """All ways at once, each with a node of its own for the key ``known.example``; :meth:`drop` takes one away."""

    def __init__(self, servers: Servers) -> None:
        self.listen = local()
        self.nodes = {name: servers.node(answer(name.encode()), address) for name, address in self.places(servers)}
        script = f"def get(key):\n    return {self.nodes['script'].address!r} if key == 'known.example' else None\n"
        self.server = f"127.0.0.1:{free_udp_port()}"
        self.lines = {
            "cache": f"fastrouter-use-cache\ncache = 10\nadd-cache-item = known.example={self.nodes['cache'].address}",
            "pattern": f"fastrouter-use-pattern = {servers.path('pattern-%%s')}",
            "subscription": f"fastrouter-subscription-server = {self.server}\nsubscription-tolerance = 600",
            "base": f"fastrouter-use-base = {servers.path('base-')}",
            "script": f"fastrouter-use-code-string = 0:{write(servers.path('ways.py'), script)}:get",
            "socket": f"fastrouter-use-socket\nsocket = {self.nodes['socket'].address}",
            "to": f"fastrouter-to = {self.nodes['to'].address}",
        }
        self.router = servers.router(config=self.config())
        announce(self.server, "known.example", self.nodes["subscription"].address)
        self.router.wait_for_log("known.example => new node")

    @staticmethod
    def places(servers: Servers) -> list[tuple[str, str]]:
        """The node of each way, and where it is."""
        unix = {"pattern": "pattern-known.example", "base": "base-known.example"}
        names = ("cache", "pattern", "subscription", "base", "script", "socket", "to")
        return [(name, servers.path(unix[name]) if name in unix else "127.0.0.1:0") for name in names]

    def config(self) -> str:
        """The file with the ways that are left."""
        return "\n".join(["[uwsgirouter]", f"fastrouter = {self.listen}", *self.lines.values(), ""])

    def drop(self) -> None:
        """Take the first way away."""
        del self.lines[next(iter(self.lines))]
        reload(self.router, self.config())


UNKNOWN = {
    "cache": (503, "no-node"),
    "pattern": (502, "connect-failed"),
    "subscription": (503, "no-node"),
    "base": (502, "connect-failed"),
    "script": (503, "no-node"),
}
"""What a key is told that this way does not know, although others would."""


def test_one_way_is_used_and_a_key_it_does_not_know_does_not_fall_through(started: Servers) -> None:
    ways = Ways(started)
    order = list(ways.lines)
    for name in order:
        known = fetch(ways.listen, "known.example")
        unknown = fetch(ways.listen, "unknown.example")
        assert known.body == name.encode(), f"{name} goes first"
        if name in UNKNOWN:
            assert told(unknown) == UNKNOWN[name], f"{name} does not know it"
        else:
            assert unknown.body == name.encode(), f"{name} serves every key"
        if name != order[-1]:
            ways.drop()
    assert ways.router.log().count("goes first, and only one way to find nodes is") == sum(range(len(order)))


# -- keys that are forced or fall back ---------------------------------------------------------------------------------


def test_a_forced_key_is_everybodys(started: Servers) -> None:
    base = started.path("forced-")
    started.node(answer(b"forced"), f"{base}key")
    started.node(answer(b"other"), f"{base}other")
    router = started.router(
        config=f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-base = {base}\nfastrouter-force-key = key\n"
    )
    for key in ("other", "key", "../evil", "evil:80", "nobody.example", "x" * 255, "x" * 300):
        assert fetch(router.address, key).body == b"forced", key
    assert ask(router.address, without_key()).body == b"forced"
    assert ask(router.address, [*without_key(), (b"UWSGI_FASTROUTER_KEY", b"other")]).body == b"forced"
    assert ask(router.address, [(b"HTTP_HOST", b"")]).body == b"forced"
    assert ask(router.address, []).body == b"forced"


def test_a_forced_key_of_announced_nodes_in_cheap_mode(started: Servers) -> None:
    """The forced key is what is looked up; being cheap depends on nodes, not on who asks how."""
    server = f"127.0.0.1:{free_udp_port()}"
    config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-subscription-server = {server}\n"
    router = started.router(config=config + "fastrouter-force-key = key\nfastrouter-cheap = true\n")
    router.wait_for_log("cheap mode: waiting for a node")
    node = started.node(answer(b"forced"))
    announce(server, "key", node.address)
    router.wait_for_log("leaving cheap mode")
    assert fetch(router.address, "other").body == b"forced"
    assert ask(router.address, without_key()).body == b"forced"


def test_a_key_that_nobody_announced_falls_back(started: Servers) -> None:
    """First to the nodes of the fallback key, then to the fallback node; without any key to neither."""
    fallback = started.node(answer(b"fallback"))
    site = Site(
        started,
        "fastrouter-subscription-fallback-key = spare.example",
        f"fastrouter-fallback = {fallback.address}",
        "fastrouter-fallback-on-no-key = true",
        "fastrouter-strip-port = true",
    )
    known, _ = site.serve(answer(b"known"))
    assert site.fetch("nobody.example").body == b"fallback"
    assert site.fetch("spare.example").body == b"fallback"
    spare = site.node(answer(b"spare"))
    site.announce("spare.example", spare.address)
    for key in ("nobody.example", "nobody.example:8000", "spare.example", "SPARE.example", "x" * 255):
        assert site.fetch(key).body == b"spare", key
    for key in (known, known.upper(), f"{known}:80"):
        assert site.fetch(key).body == b"known", key
    assert told(ask(site.tcp, without_key())) == (400, "no-key")
    spare.refuse()
    assert site.fetch("nobody.example").body == b"fallback", "its nodes are dead"


# -- addresses made of keys --------------------------------------------------------------------------------------------


def test_an_application_that_starts_is_served_at_once(started: Servers) -> None:
    """A key's only node is tried at each request, however often it failed; nobody waits for the grace time."""
    base = started.path("late-")
    config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-base = {base}\nfastrouter-gracetime = 3600\n"
    router = started.router(config=config)
    for _ in range(3):
        assert told(fetch(router.address, "app")) == (502, "connect-failed")
    node = started.node(answer(b"late"), f"{base}app")
    assert [fetch(router.address, "app").body for _ in range(3)] == [b"late"] * 3
    node.refuse()
    assert told(fetch(router.address, "app")) == (502, "connect-failed")
    node.accept_again()
    assert fetch(router.address, "app").body == b"late"
    assert router.log().count(f'unable to connect() to node "{base}app" (0 retries): No such file or directory') == 3


# -- scripts -----------------------------------------------------------------------------------------------------------


SLOW = """
import socket, time

def get(key):
    kind, _, rest = key.partition("+")
    if kind == "sleeps":
        time.sleep(0.5)
    elif kind == "waits":
        host, _, port = {silent!r}.rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.settimeout(5)
            assert sock.recv(1) == b"x"
    return {node!r}
"""


def late(connection: Connection) -> None:
    """Says something after a while."""
    time.sleep(0.5)
    connection.send(b"x")


def soon(address: str, key: str, while_: Client) -> None:
    """Twenty requests are answered soon although one waits (a busy machine may hold up a few)."""
    times = []
    for _ in range(20):
        begin = time.monotonic()
        assert fetch(address, key).status == 200
        times.append(time.monotonic() - begin)
    assert statistics.median(times) < ANSWERED_SOON, times
    while_.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        while_.read_some()
    while_.socket.settimeout(10)


@pytest.mark.parametrize("kind", ["sleeps", "waits"])
def test_a_script_that_blocks_delays_its_own_request_only(started: Servers, kind: str) -> None:
    script = SLOW.format(node=started.node(answer(b"node")).address, silent=started.node(late).address)
    path = write(started.path(f"{kind}.py"), script)
    router = started.router(
        config=f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-code-string = 0:{path}:get\n"
    )
    assert fetch(router.address, "fast").body == b"node"
    begin = time.monotonic()
    with Client(router.address) as slow:
        slow.send_packet(get(f"{kind}+x"))
        soon(router.address, "fast", slow)
        assert slow.reply().body == b"node"
    assert 0.5 <= time.monotonic() - begin < 3
    assert "Warning" not in router.log(), "gevent says so when it comes too late"


MEGAMAPPER = """
domains = {}
domains['example.com'] = {'nodes': (%r, %r), 'node': 0}
domains[b'bytes.example'] = {'nodes': (%r, %r), 'node': 0}

DEFAULT_NODE = %r

def get(key):
    if key not in domains:
        return DEFAULT_NODE
    nodes = domains[key]['nodes']
    current_node = domains[key]['node']
    domains[key]['node'] = (current_node + 1) %% len(nodes)
    return nodes[current_node]
"""


def bodies(address: str, key: str, count: int) -> list[bytes]:
    return [fetch(address, key).body for _ in range(count)]


def test_a_script_that_takes_turns(started: Servers) -> None:
    nodes = [started.node(answer(b"%d" % number)) for number in range(3)]
    one, two, default = (node.address for node in nodes)
    text = MEGAMAPPER % (one, two, one.encode(), two.encode(), default.encode())
    path = write(started.path("mega.py"), text)
    config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-code-string = 0:{path}:get\n"
    router = started.router(config=config)
    assert bodies(router.address, "example.com", 6) == [b"0", b"1"] * 3
    assert bodies(router.address, "bytes.example", 4) == [b"0", b"1"] * 2
    assert bodies(router.address, "nobody.example", 3) == [b"2"] * 3
    nodes[1].refuse()
    assert bodies(router.address, "example.com", 6) == [b"0"] * 6, "it is asked again for one that is up"
    assert router.log().count(f'unable to connect() to node "{two}"') == 1


def naming(node: Node | str, then: str = "") -> str:
    address = node if isinstance(node, str) else node.address
    return f"def get(key):\n    return {address!r}\n{then}"


def test_hup_reads_the_script_anew_and_a_broken_one_changes_nothing(started: Servers) -> None:
    old, new = (started.node(answer(name)) for name in (b"old", b"new"))
    path = write(started.path("reloaded.py"), naming(old))
    config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-code-string = 0:{path}:get\n"
    router = started.router(config=config)
    assert fetch(router.address, "a").body == b"old"
    write(path, naming(new))
    assert fetch(router.address, "a").body == b"old", "not before HUP"
    reload(router)
    wait_until(lambda: fetch(router.address, "a").body == b"new", 5, "the new script")
    (worker,) = router.wait_for_workers(1)
    broken = ["def get(key:\n", "1 / 0\n", "import sys\nsys.exit(3)\n", ""]
    for count, text in enumerate(broken, start=1):
        write(path, text)
        router.hup()
        router.wait_for_log("reload failed: the old configuration stays in use", count=count)
        assert fetch(router.address, "a").body == b"new"
    log = router.log()
    for said in ("SyntaxError", "ZeroDivisionError", "called exit(3)", "has no function get"):
        assert said in log
    assert router.wait_for_workers(1) == [worker]
    write(path, naming(old))
    reload(router)
    wait_until(lambda: fetch(router.address, "a").body == b"old", 5, "mended")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("5:mapper.pl:get", "plugin 5 cannot be used: the router runs Python functions only"),
        ("0:mapper.py", "expected 0:FILE:FUNCTION, as in 0:mapper.py:get"),
    ],
)
def test_what_is_refused_at_start(started: Servers, value: str, said: str) -> None:
    config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-code-string = {value}\n"
    router = started.router(config=config, ready=False)
    assert router.wait(5) == 1
    assert f"{router.config_file}:3: fastrouter-use-code-string = {value}: {said}" in router.log()


def test_a_script_that_is_broken_at_start(started: Servers) -> None:
    path = write(started.path("broken.py"), "1 / 0\n")
    config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-code-string = 0:{path}:get\n"
    router = started.router(config=config, ready=False)
    assert router.wait(10) != 0
    assert "ZeroDivisionError" in router.log()


# -- names -------------------------------------------------------------------------------------------------------------


NAMES = """
import threading, time
import uwsgirouter.worker.lookup
answered = threading.Event()

def addresses(host):
    if host.startswith("dead"):
        time.sleep(1.2)
        return "no answer"
    return {hosts!r}.get(host, "Name or service not known")

uwsgirouter.worker.lookup._addresses = addresses
"""


def test_names_of_keys(started: Servers) -> None:
    """Several addresses are tried in turn, an unknown name fails alone, and a dead name server holds up nobody else."""
    node = started.node(answer(b"node"))
    port = node.address.rpartition(":")[2]
    hosts = {"app.example": ["::1", "127.0.0.77", "127.0.0.1"], "one.example": ["127.0.0.1"]}
    router = patched_router(
        started,
        NAMES.format(hosts=hosts),
        config=f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-pattern = %%s.example:{port}\n",
    )
    (worker,) = router.wait_for_workers(1)
    assert fetch(router.address, "app").body == b"node", "the third address"
    assert [fetch(router.address, "app").body for _ in range(3)] == [b"node"] * 3
    assert router.log().count("unable to connect()") == 2, "those that refused are skipped"
    reply = fetch(router.address, "unknown")
    assert told(reply) == (502, "mapper-failed")
    router.wait_for_log("key unknown tries 0 (cannot resolve unknown.example: Name or service not known)")
    assert told(fetch(router.address, "a b")) == (400, "bad-key")
    waiting = [Client(router.address) for _ in range(12)]
    try:
        for number, client in enumerate(waiting):
            client.send_packet(get(f"dead-{number // 2}"))
        soon(router.address, "app", waiting[0])
        soon(router.address, "one", waiting[1])
        assert told(waiting[0].reply()) == told(waiting[1].reply()) == (502, "mapper-failed")
    finally:
        for client in waiting:
            client.close()
    assert router.workers() == [worker]


def test_several_nodes_of_one_item_take_turns_and_share_their_fate(started: Servers) -> None:
    one, two = (started.node(answer(name)) for name in (b"one", b"two"))
    items = {
        "both": f" {one.address} | {two.address},5 |",
        "first": one.address,
        "broken": "nonsense:port",
        "v6": "[::1]:1",
    }
    lines = "".join(f"add-cache-item = {key}={value}\n" for key, value in items.items())
    router = started.router(config=f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-use-cache\ncache = 10\n{lines}")
    assert bodies(router.address, "both", 4) == [b"one", b"two"] * 2
    packets = [connection.packet for connection in two.connections]
    assert [found.modifier1 for found in packets if found is not None] == [5, 5]
    one.refuse()
    assert told(fetch(router.address, "first")) == (502, "connect-failed")
    assert bodies(router.address, "both", 3) == [b"two"] * 3
    assert router.log().count(f'unable to connect() to node "{one.address}"') == 1
    one.accept_again()
    assert fetch(router.address, "first").body == b"one"
    assert told(fetch(router.address, "v6")) == (502, "connect-failed")
    assert told(fetch(router.address, "broken")) == (502, "mapper-failed")
    router.wait_for_log("(the cache has 'nonsense:port' for broken: address 'nonsense:port': a port is a number")

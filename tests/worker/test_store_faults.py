"""Rules on memcached and Redis in a real worker: the servers stopped, started anew, frozen, slow; and nothing leaks."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import Memcached, Redis, Reply, Servers, answer, get, wait_until
from tests.servers.services import Detour
from tests.worker.site import Site

KINDS = ["memcached", "redis"]
MOST = 4
Store = Memcached | Redis
RULES = """
service-timeout = {timeout}
service-connect-timeout = 1
service-connections = {most}
route = ^/quick return:204
route = ^/memcached/get/(.*) memcached:addr={memcached},key=$1
route = ^/memcached/go/(.*) memcached-continue:addr={memcached},key=$1
route = ^/memcached/keep/(.*) memcachedstore:addr={memcached},key=$1
route = ^/memcached/slow/(.*) memcached:addr={memcached_slow},key=$1
route = ^/redis/get/(.*) redis:addr={redis},key=$1
route = ^/redis/go/(.*) redis-continue:addr={redis},key=$1
route = ^/redis/keep/(.*) redisstore:addr={redis},key=$1
route = ^/redis/slow/(.*) redis:addr={redis_slow},key=$1
fastrouter-to = {node}
fastrouter-timeout = 30
"""


class Field:
    """A router between a node and the stores."""

    def __init__(self, servers: Servers, *more: str, timeout: int = 1) -> None:
        self.stores: dict[str, Store] = {kind.name: servers.daemon(kind) for kind in (Memcached, Redis)}
        self.slow: dict[str, Detour] = {name: servers.detour(store.address) for name, store in self.stores.items()}
        self.node = servers.node(answer(b"of the node"))
        places = {name: store.address for name, store in self.stores.items()}
        places.update({f"{name}_slow": way.address for name, way in self.slow.items()})
        lines = RULES.format(most=MOST, timeout=timeout, node=self.node.address, **places).split("\n")
        self.site = Site(servers, *lines, *more, announced=False)

    def ask(self, path: str) -> Reply:
        """One request; its answer comes in any case."""
        with self.site.servers.client(self.site.tcp) as client:
            client.socket.settimeout(30)
            client.send_packet(get("any.example", path))
            return client.reply()

    def several(self, path: str, count: int) -> Counter[tuple[int, str]]:
        """So many beside each other; statuses and causes."""
        with ThreadPoolExecutor(count) as pool:
            replies = list(pool.map(self.ask, [path] * count))
        return Counter((reply.status, reply.header("x-uwsgirouter-cause") or "") for reply in replies)

    def answers(self, path: str, body: bytes = b"value") -> None:
        """It does, by and by."""
        wait_until(lambda: (reply := self.ask(path)).status == 200 and reply.body == body, 30, f"{path} is answered")


@pytest.fixture(scope="module")
def field(started: Servers) -> Field:
    return Field(started)


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest, field: Field) -> str:
    """A store that is up and has the item ``k``."""
    found: str = request.param
    field.stores[found].set("k", b"value")
    field.answers(f"/{found}/get/k")
    return found


def test_it_is_stopped_and_comes_back(field: Field, name: str) -> None:
    store = field.stores[name]
    store.stop()
    try:
        for _ in range(10):
            reply = field.ask(f"/{name}/get/k")
            assert (reply.status, reply.header("x-uwsgirouter-cause")) == (502, "service-failed")
            assert field.ask(f"/{name}/go/k").body == b"of the node"
            assert field.ask(f"/{name}/keep/k").body == b"of the node"
            assert field.ask("/quick").status == 204
        log = field.site.router.wait_for_log(f"{name} {store.address} is down: ")
        assert f"{name}store k: {name} {store.address}" in log
    finally:
        store.start()
    store.set("k", b"value")
    field.answers(f"/{name}/get/k")
    field.site.router.wait_for_log(f"{name} {store.address} answers again")


def test_a_server_that_was_started_anew_is_not_noticed(field: Field, name: str) -> None:
    store = field.stores[name]
    assert set(field.several(f"/{name}/get/k", 3 * MOST)) == {(200, "")}
    before = field.site.router.log().count(f"{store.address} is down")
    store.stop()
    store.start()
    store.set("k", b"value")
    assert [field.ask(f"/{name}/get/k").body for _ in range(3 * MOST)] == [b"value"] * 3 * MOST
    assert set(field.several(f"/{name}/get/k", 3 * MOST)) == {(200, "")}
    assert field.site.router.log().count(f"{store.address} is down") == before


def test_it_is_frozen_under_load(field: Field, name: str) -> None:
    store = field.stores[name]
    with ThreadPoolExecutor(1) as beside:
        store.freeze()
        try:
            load = beside.submit(field.several, f"/{name}/get/k", 30)
            quick = [field.ask("/quick").status for _ in range(50)]
            assert not load.done(), "those were answered while others wait"
            assert field.ask(f"/{name}/go/k").body == b"of the node"
            assert field.ask(f"/{name}/keep/other").body == b"of the node"
            found = load.result()
        finally:
            store.thaw()
    assert quick == [204] * 50
    assert sum(found.values()) == 30
    assert set(found) <= {(502, "service-failed"), (503, "service-busy")}
    field.answers(f"/{name}/get/k")


def test_keeping_waits_for_nobody(field: Field, name: str) -> None:
    """More bodies than are held for a server that does not take them."""
    store, router = field.stores[name], field.site.router
    down = f"{name} {store.address} is down: "
    before = router.log().count(down)
    with store.frozen():
        replies = [field.ask(f"/{name}/keep/held-{number}") for number in range(8 * MOST)]
        router.wait_for_log(down, 20, before + 1)
        replies += [field.ask(f"/{name}/keep/late-{number}") for number in range(20)]
    assert {reply.body for reply in replies} == {b"of the node"}
    field.answers(f"/{name}/get/k")
    assert field.ask(f"/{name}/keep/again").body == b"of the node"
    wait_until(lambda: store.get("again") == b"of the node", 20, "it is kept")


def test_it_is_slow(field: Field, name: str) -> None:
    way = field.slow[name]
    path = f"/{name}/slow/k"
    way.delay = 0.1
    assert set(field.several(path, 3 * MOST)) == {(200, "")}
    assert way.made <= MOST
    try:
        way.delay = 0.6
        found = field.several(path, 6 * MOST)
        assert set(found) <= {(200, ""), (503, "service-busy"), (502, "service-failed")}
        assert found[200, ""] >= MOST
        assert found[503, "service-busy"]
        way.delay = 3
        assert field.ask(path).status == 502
    finally:
        way.delay = 0
    field.answers(path)


def test_nothing_is_left(field: Field, name: str) -> None:
    store, site = field.stores[name], field.site
    paths = [f"/{name}/{way}/k" for way in ("get", "go", "keep")]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(field.ask, paths * 10))
        before = site.descriptors(), threads(site)
        assert store.connections() <= 2 * MOST, "straight, and by the detour"
        replies = list(pool.map(field.ask, paths * 100))
    assert {reply.status for reply in replies} == {200}
    wait_until(lambda: site.descriptors() <= before[0] + MOST, 20, "no descriptor is left")
    assert threads(site) <= before[1] + MOST
    assert store.connections() <= 2 * MOST


def threads(site: Site) -> int:
    return len(os.listdir(f"/proc/{site.worker}/task"))


FUNCTION = """\
import time, uwsgi

def hello(seconds):
    time.sleep(float(seconds))
    return b"hello"

uwsgi.register_rpc("hello", hello)
"""


def test_beside_scripts(servers: Servers) -> None:
    """Whose sockets and threads are gevent's, in the whole process."""
    script = servers.directory / "funcs.py"
    script.write_text(FUNCTION)
    field = Field(servers, f"import = {script}", "route = ^/rpc rpc:hello 0.2")
    for name, store in field.stores.items():
        store.set("k", b"value")
        field.answers(f"/{name}/get/k")
    with ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(field.ask, "/rpc") for _ in range(3)]
        paths = [f"/{name}/{way}/k" for name in KINDS for way in ("get", "go", "keep")]
        replies = list(pool.map(field.ask, paths * 10))
        before = field.site.descriptors(), threads(field.site)
        replies += pool.map(field.ask, paths * 30)
        assert {reply.status for reply in replies} == {200}
        assert [each.result().body for each in slow] == [b"hello"] * 3
    # A thread has a loop of its own here.
    wait_until(lambda: field.site.descriptors() <= before[0] + 6 * 2 * MOST, 20, "no descriptor is left")
    assert threads(field.site) <= before[1] + 2 * MOST
    redis = field.stores["redis"]
    with redis.frozen():
        assert field.ask("/redis/get/k").status in (502, 503)
        assert field.ask("/quick").status == 204
    redis.set("k", b"value")
    field.answers("/redis/get/k")


def title(pid: int) -> str:
    """What ps shows of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def test_leaving_waits_for_no_thread(servers: Servers) -> None:
    """Neither a drain nor a stop: the threads of this test wait for two minutes."""
    field = Field(servers, timeout=120)
    router, store = field.site.router, field.stores["redis"]
    store.set("k", b"value")
    field.answers("/redis/get/k")
    with ThreadPoolExecutor(4) as pool:
        store.freeze()
        assert field.ask("/redis/keep/k").body == b"of the node"
        router.signal(signal.SIGHUP)
        wait_until(lambda: (now := router.workers()) and field.site.worker not in now, 30, "the old worker is gone")
        assert field.ask("/redis/keep/k").body == b"of the node"
        under_way = [pool.submit(field.ask, "/redis/get/k") for _ in range(3)]
        wait_until(lambda: " 3 sessions" in title(router.workers()[0]), 20, "all three are there")
        router.signal(signal.SIGINT)
        assert router.wait(30) == 0
        assert {future.result().status for future in under_way} == {503}

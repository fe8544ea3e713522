"""Caches on Redis in real routers: several share one, and none waits for it longer than it must."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.servers import Redis, Router, Servers, SteadyLoad, answer, fetch, local, uwsgi_get, wait_until
from tests.servers.programs import environment
from tests.servers.wire import Reply

SCRIPT = """\
import uwsgi

def count(key):
    uwsgi.cache_inc(key, 2)
    return b"%d" % uwsgi.cache_num(key)

def found(key):
    return uwsgi.cache_get(key) or b"nothing"

uwsgi.register_rpc("count", count)
uwsgi.register_rpc("found", found)
uwsgi.cache_set("script", b"%d" % uwsgi.worker_id())
"""
RULES = """\
import = {script}
cache-stale = 60
service-connect-timeout = 0.5
service-timeout = 0.5
route = ^/quick return:204
route-if = incache:key=${{PATH_INFO}} addvar:IN=yes
route-run = addheader:X-In: [${{IN}}]
route = ^/set/(.*) cacheset:key=/get/$1,value=${{QUERY_STRING}}
route = ^/inc cacheinc:key=n
route = ^/inc cachevar:key=n,var=N,as_num=1
route = ^/inc addheader:X-N: ${{N}}
route = ^/(set|inc) return:200
route = ^/get/ cache:key=${{PATH_INFO}},content_type=text/x
route = ^/get/ return:404
route = ^/page cache:key=${{PATH_INFO}}
route = ^/page cachestore:key=${{PATH_INFO}}
route = ^/count rpc:count m
route = ^/found rpc:found script
"""


class Place:
    """Two routers with a cache on one Redis."""

    def __init__(self, servers: Servers, directory: Path) -> None:
        self.redis = servers.daemon(Redis)
        script = directory / "script.py"
        script.write_text(SCRIPT)
        self.node = servers.node(answer(b"of the node"))
        self.addresses = [local(), local()]
        self.routers: list[Router] = []
        for number, address in enumerate(self.addresses):
            lines = ["[uwsgirouter]", f"fastrouter = {address}"]
            lines += [f"cache2 = name=far,url=redis://{self.redis.address}/3"]
            lines += ["fastrouter-use-cache = far" if number else f"fastrouter-to = {self.node.address}"]
            rules = RULES.format(script=script) if not number else "cache-stale = 60\nservice-timeout = 0.5"
            self.routers.append(servers.router(config="\n".join([*lines, rules, ""])))
        for router in self.routers:
            router.wait_for_workers(1)

    def ask(self, path: str) -> Reply:
        """The router with rules."""
        return fetch(self.addresses[0], path=path)

    def mapped(self, key: str) -> Reply:
        """The router that finds its nodes in the cache."""
        return fetch(self.addresses[1], key)

    def ctl(self, *words: str, router: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "uwsgirouter.control", "cache", "--router", str(self.routers[router].pid)]
        return subprocess.run(
            [*command, *words], capture_output=True, text=True, timeout=60, env={**environment(None)}, check=False
        )


@pytest.fixture(scope="module")
def place(started: Servers, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(started, tmp_path_factory.mktemp("remote"))


@pytest.fixture(autouse=True)
def thawed(place: Place) -> Iterator[None]:
    yield
    place.redis.thaw()
    if not place.redis.running:
        place.redis.start()
    wait_until(lambda: place.ask("/set/there?v").status in (200, 500), 20, "it is asked again")
    wait_until(lambda: place.ask("/get/there").status == 200, 20, "it is asked again")


def test_the_actions_work_on_it(place: Place) -> None:
    assert place.ask("/get/a").status == 404
    assert place.ask("/set/a?one").status == 200
    reply = place.ask("/get/a")
    assert (reply.status, reply.body, reply.header("x-in"), reply.header("content-type")) == (
        200,
        b"one",
        "[yes]",
        "text/x",
    )
    assert place.ask("/set/a?two").status == 500, "it is there already"
    assert [place.ask("/inc").header("x-n") for _ in range(3)] == ["1", "2", "3"]
    assert place.ask("/page/1").body == b"of the node"
    wait_until(lambda: place.ctl("get", "/page/1").stdout == "of the node\n", 20, "it is kept")
    asked = len(place.node.connections)
    assert place.ask("/page/1").body == b"of the node"
    assert len(place.node.connections) == asked, "out of the cache"


def test_the_scripts_calls_work_on_it(place: Place) -> None:
    assert [place.ask("/count").body for _ in range(3)] == [b"2", b"4", b"6"]
    assert place.ask("/found").body == b"0", "set by the process that runs the scripts"


def test_a_router_finds_what_another_one_has_stored(place: Place) -> None:
    assert place.mapped("one.example").status == 503
    assert place.ctl("set", "one.example", place.node.address).returncode == 0
    assert place.mapped("one.example").body == b"of the node"
    assert place.ctl("get", "one.example", router=1).stdout == f"{place.node.address}\n"
    assert place.ctl("del", "one.example", router=1).returncode == 0
    assert place.mapped("one.example").status == 503
    assert "items (" in place.ctl("stats").stdout


def test_away_a_known_node_is_found_and_changes_are_not_made(place: Place) -> None:
    place.ctl("set", "known.example", place.node.address)
    assert place.mapped("known.example").status == 200
    place.ask("/set/known?value")
    assert place.ask("/get/known").status == 200
    place.redis.stop()
    assert {place.mapped("known.example").status for _ in range(20)} == {200}
    assert place.mapped("unknown.example").status == 503
    assert place.ask("/get/known").body == b"value"
    assert place.ask("/inc").status == 200, "it counts nothing, and ends nothing"
    assert place.ctl("get", "known.example").returncode == 7
    log = place.routers[0].log()
    assert "cache far: not written: redis" in log
    assert "what was seen last counts" in log


def test_frozen_under_load_no_request_hangs_and_nobody_else_waits(place: Place) -> None:
    place.ctl("set", "load.example", place.node.address)
    # (Redis was away a moment ago: it may still be let alone.)
    wait_until(lambda: place.mapped("load.example").status == 200, 20, "Redis is asked again")
    load = SteadyLoad(uwsgi_get(place.addresses[1], "load.example"), rate=60)
    with load:
        wait_until(lambda: len(load.results) > 20, 20, "it runs")
        with place.redis.frozen(), ThreadPoolExecutor(8) as pool:
            began = time.monotonic()
            slow = [pool.submit(place.ask, "/get/nobody") for _ in range(8)]
            for _ in range(50):
                assert place.ask("/quick").status == 204
            assert {one.result().status for one in slow} == {404}
            assert time.monotonic() - began < 20
            wait_until(lambda: sum(result.at > began + 1.5 for result in load.results) > 20, 20, "it goes on")
    assert not load.failures, load.failures[:3]


def test_nothing_is_left_over(place: Place) -> None:
    """Threads and connections are those of the pool (eight), however many requests there were. A thread has a
    connection, a loop of its own, and perhaps one more thread that looks up names for that.
    """
    (worker,) = place.routers[0].workers()
    process = psutil.Process(worker)

    def ask(number: int) -> int:
        return place.ask(f"/get/{number % 7}").status

    before = process.num_fds()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(600))) <= {200, 404}
    wait_until(lambda: process.num_fds() <= before + 8 * 5, 20, "no more descriptors")
    # Not from what there was before: that may have been one, or all of them.
    assert process.num_threads() <= 1 + 8 * 2
    assert place.redis.connections() <= 2 * (8 + 1)

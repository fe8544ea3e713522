"""An operator takes nodes out and lets them back while requests go on, with uwsgirouterctl over the control socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.master.watching import assert_no_failure, load, wait_for_serving
from tests.servers import Client, Connection, Router, Servers, answer, fetch, get, local, wait_until
from tests.servers.programs import environment
from tests.servers.wire import Reply
from uwsgirouter.control.base import Exit
from uwsgirouter.control.finding import VARIABLE

PATIENCE = 20.0
KEY = "a.example"


class Operator:
    """uwsgirouterctl with the router's socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "uwsgirouter.control", *arguments]

    def run(self, *arguments: str, code: Exit = Exit.OK) -> str:
        """What it prints."""
        env = {**os.environ, **environment(None), VARIABLE: self.path}
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        env = {**os.environ, **environment(None), VARIABLE: self.path}
        return subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE, text=True, env=env)

    def nodes(self, key: str = KEY) -> dict[str, dict[str, object]]:
        """The nodes of a key by address."""
        return {row["node"]: row for row in json.loads(self.run("nodes", key, "--json"))}


class Site:
    """A router with three announced nodes that say their names."""

    def __init__(self, servers: Servers, *lines: str, cores: str = "0") -> None:
        self.operator = Operator(servers.path("c.sock"))
        self.slow: list[bytes] = []
        self.pause = threading.Event()
        self.pause.set()
        self.nodes = [servers.node(self.handler(b"%d" % number)) for number in range(3)]
        listener, server = local(), local()
        config = ["[uwsgirouter]", f"fastrouter = {listener}", f"fastrouter-subscription-server = {server}"]
        config += [f"control-socket = {self.operator.path}", "fastrouter-processes = 2", *lines, ""]
        self.router: Router = servers.router(config="\n".join(config))
        for node in self.nodes:
            servers.announcer(self.router.server, KEY, node.address, "--every", "0.2", "--cores", cores)
        wait_for_serving(self.router, 2)
        self.operator.run("wait", KEY, "--min-nodes", "3", "--timeout", "30")

    def handler(self, name: bytes) -> Callable[[Connection], None]:
        def handle(connection: Connection) -> None:
            if connection.read_packet().get(b"PATH_INFO") == b"/slow":
                self.slow.append(name)
                self.pause.wait(60)
            connection.answer(name)

        return handle

    @contextmanager
    def slow_request_at(self, name: bytes) -> Iterator[None]:
        """A request is under way at node ``name`` (others perhaps at others); it is whole at the end."""
        bodies: list[bytes] = []
        threads: list[threading.Thread] = []

        def ask() -> None:
            bodies.append(fetch(self.router.address, KEY, "/slow").body)

        self.pause.clear()
        try:
            while name not in self.slow:
                threads.append(threading.Thread(target=ask))
                threads[-1].start()
                wait_until(lambda: len(self.slow) == len(threads), PATIENCE, "it is under way")
            yield
        finally:
            self.pause.set()
            for thread in threads:
                thread.join(30)
        assert name in bodies and len(bodies) == len(threads)


def test_drain_under_load(servers: Servers) -> None:
    site = Site(servers)
    operator, node = site.operator, site.nodes[0]
    with load(site.router.address, rate=200.0) as traffic:
        wait_until(lambda: len(traffic.share()) == 3, PATIENCE, "all three answer")
        with site.slow_request_at(b"0"):
            waiting = operator.start("drain", KEY, node.address, "--wait", "--timeout", "60")
            wait_until(lambda: operator.nodes()[node.address]["state"] == "draining", PATIENCE, "it drains")
            early = "not before the last request there is over"
            assert operator.run("drain", KEY, node.address, "--wait", "--timeout", "0.5", code=Exit.TIMEOUT), early
            assert waiting.poll() is None, early
        out, _ = waiting.communicate(timeout=60)
        assert (waiting.returncode, "0 requests under way (drained by an operator (uid 0))" in out) == (0, True)

        # Nobody may choose it any more. What it announces does not bring it back, nor does a reload.
        node.refuse()
        quiet = time.monotonic()
        site.router.hup()
        site.router.wait_for_log("reloaded in ", PATIENCE)
        row = operator.nodes()[node.address]
        assert isinstance(row["announced"], float) and isinstance(row["since"], float)
        heard = row["announced"]
        wait_until(lambda: operator.nodes()[node.address]["announced"] != heard, PATIENCE, "it announces itself still")
        wait_until(lambda: len(traffic.since(quiet)) > 300, PATIENCE, "many requests")
        assert b"0" not in traffic.share(quiet)
        assert operator.nodes()[node.address]["state"] == "draining"

        assert f"marking {node.address} as failed" not in site.router.log()
        node.accept_again()
        operator.run("ready", KEY, node.address, "--wait", "--timeout", "30")
        back = time.monotonic()
        wait_until(lambda: b"0" in traffic.share(back), PATIENCE, "it is given requests again")
    assert_no_failure(traffic.results)


def test_an_order_outlasts_the_node(servers: Servers) -> None:
    site = Site(servers)
    operator, node = site.operator, site.nodes[1]
    operator.run("down", KEY, node.address)
    announcer = servers.announcer(site.router.server, "b.example", node.address)
    operator.run("wait", "b.example", "--min-nodes", "1")
    operator.run("drain", "b.example", node.address)
    announcer.stop()
    wait_until(lambda: operator.nodes("b.example")[node.address]["state"] == "absent", PATIENCE, "it is gone")
    servers.announcer(site.router.server, "b.example", node.address)
    wait_until(lambda: operator.nodes("b.example")[node.address]["state"] == "draining", PATIENCE, "it is back")
    assert fetch(site.router.address, "b.example").status == 503
    operator.run("ready", "b.example", node.address, "--wait", "--timeout", "30")
    assert fetch(site.router.address, "b.example").body == b"1"
    assert operator.nodes()[node.address]["state"] == "down", "under another key it is another node"


def test_weights_and_static_nodes(servers: Servers) -> None:
    site = Site(servers)
    operator = site.operator
    for node, weight in zip(site.nodes, ("8", "1", "1"), strict=True):
        assert f"weight {weight} (its own: 1)" in operator.run("weight", KEY, node.address, weight)
    wait_until(lambda: site.operator.run("wait", KEY, "--min-nodes", "3"), PATIENCE, "the workers know")
    names = [fetch(site.router.address, KEY).body for _ in range(60)]
    assert names.count(b"0") >= 40
    operator.run("weight", KEY, site.nodes[0].address, "-")
    assert operator.nodes()[site.nodes[0].address]["weight"] == 1


def test_every_static_node_down(servers: Servers) -> None:
    operator = Operator(servers.path("c.sock"))
    node, fallback = servers.node(answer(b"static")), servers.node(answer(b"fallback"))
    router = servers.router(
        config=f"""[uwsgirouter]
fastrouter = {local()}
fastrouter-to = {node.address}
fastrouter-fallback = {fallback.address}
control-socket = {operator.path}
"""
    )
    assert fetch(router.address, KEY).body == b"static"
    operator.run("down", "-", node.address, "--wait", "--timeout", "30")
    assert fetch(router.address, KEY).body == b"fallback"
    operator.run("down", "+", fallback.address, "--wait", "--timeout", "30")
    assert fetch(router.address, KEY).status == 503, "down is no last resort"
    router.hup()
    router.wait_for_log("reloaded in ", PATIENCE)
    assert fetch(router.address, KEY).status == 503
    operator.run("ready", "-", node.address, "--wait", "--timeout", "30")
    assert fetch(router.address, KEY).body == b"static"


@pytest.mark.parametrize("limits", [False, True])
def test_a_drained_node_keeps_the_clients_of_its_cookie(servers: Servers, limits: bool) -> None:
    """And when its cores are limited they wait for it in the line, though nobody else may have it."""
    site = Site(servers, "fastrouter-sticky = ROUTE", "subscription-limit-cores = true", cores="1" if limits else "0")
    operator = site.operator

    def ask(cookie: str = "", path: str = "/") -> Client:
        client = servers.client(site.router.address)
        client.send_packet(get(KEY, path, extra=[(b"HTTP_COOKIE", cookie.encode())]))
        return client

    def own(reply: Reply) -> str:
        return (reply.header("set-cookie") or "").partition(";")[0]

    cookies: dict[bytes, str] = {}
    while len(cookies) < 3:
        reply = ask().reply()
        cookies[reply.body] = own(reply)
    node = site.nodes[0].address
    operator.run("drain", KEY, node, "--wait", "--timeout", "30")
    replies = [ask(cookies[b"0"]).reply() for _ in range(8)]
    assert {(reply.body, own(reply)) for reply in replies} == {(b"0", "")}
    assert b"0" not in {ask().reply().body for _ in range(12)}
    site.pause.clear()
    slow = [ask(cookies[b"0"], "/slow")]
    wait_until(lambda: site.slow == [b"0"], PATIENCE, "its client is being served")
    slow.append(ask(cookies[b"0"], "/slow"))
    if not limits:
        wait_until(lambda: site.slow == [b"0"] * 2, PATIENCE, "nothing limits it")
    assert b"0" not in {ask().reply().body for _ in range(8)}, "others are served meanwhile"
    site.pause.set()
    assert [client.reply().body for client in slow] == [b"0"] * 2

    operator.run("down", KEY, node, "--wait", "--timeout", "30")
    moved = ask(cookies[b"0"]).reply()
    assert moved.body != b"0" and own(moved) == cookies[moved.body], "one that is down serves nobody"
    operator.run("ready", KEY, node, "--wait", "--timeout", "30")
    assert {ask(cookies[b"0"]).reply().body for _ in range(4)} == {b"0"}

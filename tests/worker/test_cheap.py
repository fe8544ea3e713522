"""Cheap mode: going cheap touches nothing that was accepted before (tests/master/test_workers.py has the rest)."""

from __future__ import annotations

import threading

import pytest

from tests.servers import (
    Client,
    Connection,
    Servers,
    announce,
    answer,
    fetch,
    free_port,
    free_udp_port,
    get,
    local,
    packet,
    wait_until,
)
from tests.servers.wire import UNSUBSCRIBE
from tests.worker.site import stats


@pytest.mark.parametrize("kind", ["tcp", "v6", "unix"])
def test_going_cheap_twice(servers: Servers, kind: str) -> None:
    """What is under way is finished, what finds nobody is told so, and what waits is served by the next node."""
    address = {"tcp": local(), "v6": f"[::1]:{free_port()}", "unix": servers.path("router")}[kind]
    server = f"127.0.0.1:{free_udp_port()}"
    lines = [f"fastrouter = {address}", f"fastrouter-subscription-server = {server}", "fastrouter-cheap = true"]
    router = servers.router(config="\n".join(["[uwsgi]", *lines, "fastrouter-processes = 2", ""]))
    router.wait_for_log("cheap mode: waiting for a node", count=2)
    begun, finish = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        begun.set()
        finish.wait(10)
        connection.answer(b"slow")

    node, fresh = servers.node(slow), servers.node(answer(b"fresh"))
    for turn in (1, 3):
        begun.clear()
        finish.clear()
        announce(server, "a.example", node.address)
        router.wait_for_log("leaving cheap mode", count=2 * turn)
        with Client(address) as under_way, Client(address) as halting:
            under_way.send(packet(get("a.example")))
            halting.send(packet(get("a.example"))[:5])
            assert begun.wait(5)
            wait_until(lambda: stats(router).numbers["sessions"] == 2, 5, "both are accepted")
            announce(server, "a.example", node.address, UNSUBSCRIBE)
            router.wait_for_log("going cheap: no node is there", count=2 * turn)
            halting.send(packet(get("a.example"))[5:])
            assert halting.reply().status == 503
            finish.set()
            assert under_way.reply().body == b"slow"
        with Client(address) as waiting:
            waiting.send(packet(get("b.example")))
            announce(server, "b.example", fresh.address)
            assert waiting.reply().body == b"fresh"
        router.wait_for_log("leaving cheap mode", count=2 * (turn + 1))
        assert fetch(address, "b.example").body == b"fresh"
        announce(server, "b.example", fresh.address, UNSUBSCRIBE)
        router.wait_for_log("going cheap: no node is there", count=2 * (turn + 1))


def test_the_last_node_is_dead(servers: Servers) -> None:
    """The request that finds it so is told; the next ones wait for whoever announces itself, or for nobody of ours."""
    server = f"127.0.0.1:{free_udp_port()}"
    lines = [f"fastrouter = {local()}", f"fastrouter-subscription-server = {server}", "fastrouter-cheap = true"]
    router = servers.router(config="\n".join(["[uwsgi]", *lines, ""]))
    router.wait_for_log("cheap mode: waiting for a node")
    announce(server, "a.example", local())
    router.wait_for_log("leaving cheap mode")
    assert fetch(router.address, "a.example").status == 502
    router.wait_for_log("going cheap: no node is there")
    with Client(router.address) as waiting:
        waiting.send(packet(get("a.example")))
        announce(server, "a.example", servers.node(answer(b"fresh")).address)
        assert waiting.reply().body == b"fresh"

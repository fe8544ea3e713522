"""Statistics and metrics of a running router, beside those of a real FastRouter after the same traffic."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.servers import (
    Client,
    Node,
    Router,
    Servers,
    announce,
    answer,
    fetch,
    free_port,
    free_udp_port,
    get,
    hang,
    local,
    post,
    wait_until,
)
from tests.servers.programs import program
from tests.servers.wire import UNSUBSCRIBE
from uwsgirouter.protocol.answers import Cause

OURS_ALONE = {"uwsgirouter", "algo", "vassal", "backup", "proto"}
"""Names that uWSGI 2.0 does not have; the last four are those of 2.1."""
ODD_KEY = 'a"b\\c\x1f\u00e9.example'


def read(address: str, said: bytes = b"") -> bytes:
    """All that a stats socket sends, to somebody who says ``said`` first."""
    family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        host, _, port = address.rpartition(":")
        sock.connect(address if family == socket.AF_UNIX else (host, int(port)))
        sock.sendall(said)
        found = b""
        while data := sock.recv(65536):
            found += data
        return found


def stats(address: str) -> Any:
    """The document."""
    return json.loads(read(address))


def ask(address: str, head: str = "GET /metrics HTTP/1.1\r\n\r\n") -> tuple[str, str]:
    """Head and body of an answer of the metrics' socket."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as sock:
        sock.sendall(head.encode())
        found = b""
        while data := sock.recv(65536):
            found += data
    first, _, body = found.decode().partition("\r\n\r\n")
    return first, body


def sample(text: str, metric: str, **labels: str) -> float:
    """The value of a sample; 0 if there is none."""
    for family in parse(text):
        for found in family.samples:
            if found.name == metric and labels.items() <= found.labels.items():
                return float(found.value)
    return 0.0


class Pair:
    """A FastRouter and our router with the same lines; ``stats`` are their addresses for statistics."""

    def __init__(self, servers: Servers) -> None:
        self.stats = [local(), local()]
        self.routers: list[Router] = []
        for start, address in zip((servers.fastrouter, servers.router), self.stats, strict=True):
            lines = (
                f"fastrouter = {local()}",
                f"fastrouter-subscription-server = 127.0.0.1:{free_udp_port()}",
                f"fastrouter-stats = {address}",
                "subscription-tolerance = 600",
            )
            self.routers.append(start(config="\n".join(["[uwsgi]", *lines, ""])))

    def announce(self, key: str, *addresses: str, **extra: int) -> None:
        for router in self.routers:
            for address in addresses:
                announce(router.server, key, address, extra=dict(extra))
                router.wait_for_log(f"{key} => new node: {address}", 15)

    def fetch(self, key: str, count: int, body: bytes = b"") -> None:
        """So many requests to each; one of them closes without a word where the other one answers."""
        for router in self.routers:
            for _ in range(count):
                with closing(Client(router.address)) as client:
                    client.send_packet(post(key, len(body)) if body else get(key), body)
                    client.read_all()


def shape(value: Any) -> Any:
    """Names and types, recursively; what uWSGI 2.0 does not have is left out, and a list is its first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items() if name not in OURS_ALONE}
    if isinstance(value, list):
        shapes = [shape(item) for item in value]
        assert all(found == shapes[0] for found in shapes), "the items of a list are alike"
        return shapes[:1]
    return type(value).__name__


def counts(document: Any) -> Any:
    """What both must have counted alike, by key and node."""
    return {
        slot["key"]: (
            slot["hits"],
            slot["hash"],
            {node["name"]: tuple(node[name] for name in COUNTED) for node in slot["nodes"] if not node["death_mark"]},
        )
        for slot in document["subscriptions"]
    }


COUNTED = ("requests", "last_requests", "rx", "tx", "cores", "weight", "modifier1", "modifier2", "ref", "failcnt")


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    servers = Servers()
    try:
        yield servers
    finally:
        servers.close()


def test_the_same_as_a_fastrouter_after_the_same_traffic(started: Servers) -> None:
    pair = Pair(started)
    one, two = started.node(answer(b"one")), started.node(answer(b"two" * 1000))
    pair.announce("a.example", one.address, two.address)
    pair.announce("b.example", one.address, weight=3, modifier1=5)
    pair.announce("c.example", two.address, f"127.0.0.1:{free_port()}")
    pair.fetch("a.example", 8)
    pair.fetch("b.example", 3, b"x" * 5000)
    pair.fetch("c.example", 4)
    pair.fetch("unknown.example", 2)
    theirs, ours = (stats(address) for address in pair.stats)
    assert shape(ours) == shape(theirs)
    assert counts(ours) == counts(theirs)
    assert counts(ours)["a.example"][0] == 8 and counts(ours)["c.example"][0] == 5
    # A node that refused is gone there; here it is shown until it announces itself or is silent for too long.
    dead = [node for slot in ours["subscriptions"] for node in slot["nodes"] if node["death_mark"]]
    assert [(node["failcnt"], node["requests"]) for node in dead] == [(1, 0)]
    assert len(ours["fastrouter"]) == len(theirs["fastrouter"]) == 2
    assert ours["uwsgirouter"]["failures"] == {"no-node": 2}


def test_a_request_under_way_is_a_reference_in_both(started: Servers) -> None:
    pair = Pair(started)
    node = started.node(hang)
    pair.announce("slow.example", node.address)
    clients = [started.client(router.address) for router in pair.routers]
    for client in clients:
        client.send_packet(get("slow.example"))
    node.wait_for(2)

    def refs() -> list[int]:
        return [stats(address)["subscriptions"][0]["nodes"][0]["ref"] for address in pair.stats]

    wait_until(lambda: refs() == [1, 1], 20, "both count it")


def test_static_nodes_and_the_http_header(started: Servers) -> None:
    node = started.node(answer(b"static"))
    found = []
    for start in (started.fastrouter, started.router):
        address = local()
        lines = (f"fastrouter = {local()}", f"fastrouter-to = {node.address}", f"fastrouter-stats-server = {address}")
        router = start(config="\n".join(["[uwsgi]", *lines, "stats-http = true", ""]))
        for _ in range(3):
            fetch(router.address, "any.example")
        head, _, body = read(address, b"GET / HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
        found.append((head, json.loads(body)))
    (their_head, theirs), (our_head, ours) = found
    assert our_head == their_head
    assert shape(ours) == shape(theirs)
    assert ours["static_nodes"] == theirs["static_nodes"] == [{"name": node.address, "hits": 3, "grace": 0}]


class Site:
    """A router with everything that shows anything, and two workers."""

    def __init__(self, servers: Servers) -> None:
        self.stats, self.more, self.metrics = local(), servers.path("stats.sock"), local()
        self.server = f"127.0.0.1:{free_udp_port()}"
        self.lines = [
            "[uwsgirouter]",
            f"fastrouter = {local()}",
            f"fastrouter-subscription-server = {self.server}",
            "fastrouter-processes = 2",
            "subscription-tolerance = 600",
            f"fastrouter-ss = {self.stats}",
            f"stats-server = {self.more}",
            f"metrics = {self.metrics}",
            "metrics-keys = 3",
            "stats-minified = true",
            "cache2 = name=pages,items=10",
            "metric = name=hits",
            "route-host = ^counted metricinc:hits",
        ]
        self.router = servers.router(config="\n".join([*self.lines, ""]))
        self.servers = servers
        self.router.wait_for_workers(2)

    def serve(self, key: str, node: Node) -> None:
        announce(self.server, key, node.address)
        wait_until(lambda: fetch(self.router.address, key).status == 200, 15, f"{key} is served")
        # What nodes there are is shown as it was a second ago, at most.
        wait_until(lambda: node.address in [row["name"] for row in self.nodes(key)], 20, f"{key} is shown")

    def nodes(self, key: str) -> list[Any]:
        """What is shown of a key's nodes."""
        return [node for slot in self.slots(key) for node in slot["nodes"]]

    def slots(self, key: str) -> list[Any]:
        """The key, if it is there."""
        return [slot for slot in stats(self.stats)["subscriptions"] if slot["key"] == key]

    def own(self) -> Any:
        return stats(self.stats)["uwsgirouter"]


@pytest.fixture(scope="module")
def site(started: Servers) -> Site:
    return Site(started)


def test_all_sockets_say_the_same_and_it_is_json(site: Site) -> None:
    site.serve(ODD_KEY, site.servers.node(answer(b"odd")))
    text = read(site.stats)
    assert b"\n" not in text.strip()
    one, two = json.loads(text), stats(site.more)
    assert one.keys() == two.keys()
    assert ODD_KEY in [slot["key"] for slot in one["subscriptions"]]
    assert ODD_KEY in [row["key"] for row in one["uwsgirouter"]["keys"]]
    assert one["uwsgirouter"]["caches"][0]["name"] == "pages"
    workers = one["uwsgirouter"]["workers"]
    assert sorted(worker["pid"] for worker in workers) == sorted(site.router.workers())
    assert all(worker["rss"] > 1 << 20 for worker in workers)
    wait_until(lambda: {worker["state"] for worker in site.own()["workers"]} == {"serving"}, 20, "both are shown as up")


def test_what_was_counted_outlasts_workers_and_reloads(site: Site) -> None:
    node = site.servers.node(answer(b"lasting"))
    site.serve("lasting.example", node)

    def counted() -> tuple[int, int, int]:
        document = stats(site.stats)
        (slot,) = [slot for slot in document["subscriptions"] if slot["key"] == "lasting.example"]
        (row,) = [row for row in document["uwsgirouter"]["keys"] if row["key"] == "lasting.example"]
        return slot["hits"], slot["nodes"][0]["requests"], row["requests"]

    for _ in range(20):
        fetch(site.router.address, "lasting.example")
    wait_until(lambda: counted()[0] >= 21, 20, "all are counted")
    before = counted()
    assert len(set(before)) == 1
    for pid in site.router.workers():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: fetch(site.router.address, "lasting.example").status == 200, 20, "new workers serve")
    wait_until(lambda: counted()[1] == before[1] + 1, 20, "they count on")
    site.router.hup()
    for _ in range(10):
        assert fetch(site.router.address, "lasting.example").status == 200
    wait_until(lambda: counted() == (before[0] + 11,) * 3, 20, "so do those of the next generation")
    wait_until(lambda: site.own()["generation"] >= 2, 20, "the next generation serves")
    named = [row["key"] for row in site.own()["keys"]]
    site.router.signal(signal.SIGUSR2)
    site.router.wait_for_log("upgraded", 60)
    for _ in range(10):
        assert fetch(site.router.address, "lasting.example").status == 200
    wait_until(lambda: counted() == (before[0] + 21,) * 3, 20, "another version of the router does, too")
    assert [row["key"] for row in site.own()["keys"]] == named


def test_a_key_keeps_the_hits_of_a_node_that_is_gone(site: Site) -> None:
    key = "moving.example"
    stays, goes = site.servers.node(answer(b"stays")), site.servers.node(answer(b"goes"))
    site.serve(key, stays)
    site.serve(key, goes)
    for _ in range(6):
        fetch(site.router.address, key)

    def slot() -> Any:
        return site.slots(key)[0]

    wait_until(lambda: slot()["hits"] >= 8, 20, "all are counted")
    before = slot()["hits"]
    announce(site.server, key, goes.address, UNSUBSCRIBE)
    wait_until(lambda: len(slot()["nodes"]) == 1, 20, "one is gone")
    assert slot()["hits"] == before


def test_metrics_are_what_promtool_and_the_parsers_take(site: Site, tmp_path: Path) -> None:
    site.serve("counted.example", site.servers.node(answer(b"counted")))
    fetch(site.router.address, "nobody.example")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"nonsense", ("127.0.0.1", int(site.server.rpartition(":")[2])))
    wait_until(lambda: site.own()["datagrams"]["rejected"], 20, "a datagram was refused")
    head, text = ask(site.metrics)
    assert "200 OK" in head and f"Content-Length: {len(text.encode())}" in head
    judge = [program("promtool"), "check", "metrics"]
    done = subprocess.run(judge, input=text, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    names = {family.name for family in parse(text)}
    assert len(names) > 35
    head, other = ask(
        site.metrics, "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n"
    )
    assert "application/openmetrics-text" in head and other.endswith("# EOF\n")
    assert {family.name for family in parse_openmetrics(other)} >= names - {"uwsgirouter_build_info"}
    assert sample(text, "uwsgirouter_rule_metric", name="hits") >= 1
    assert sample(text, "uwsgirouter_failures_total", cause="no-node") >= 1
    assert sample(text, "uwsgirouter_workers", state="serving") >= 2
    assert sample(text, "uwsgirouter_nodes", state="up") >= 1
    assert re.search(r'uwsgirouter_datagrams_rejected_total\{reason="[^"]+"\} 1', text)
    assert all(f'cause="{cause.value.word}"' in text for cause in Cause)
    named = set(re.findall(r'uwsgirouter_request_seconds_count\{key="((?:[^"\\]|\\.)*)"', text))
    assert "other" in named and len(named) <= 4
    total = sum(float(value) for value in re.findall(r"uwsgirouter_request_seconds_count\{.*\} (\S+)", text))
    assert total >= 2


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "200"),
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd", "405"),
        ("nonsense\r\n\r\n", "400"),
    ],
)
def test_http(site: Site, head: str, status: str) -> None:
    first, body = ask(site.metrics, head)
    assert first.split()[1] == status
    assert bool(body) == (not head.startswith("HEAD"))


def test_whoever_reads_slowly_keeps_nobody_waiting(site: Site) -> None:
    host, _, port = site.metrics.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    idle = [socket.create_connection((host, int(site.stats.rpartition(":")[2]))) for _ in range(5)]
    assert fetch(site.router.address, "lasting.example").status in (200, 503)
    assert "200 OK" in ask(site.metrics)[0]
    assert stats(site.stats)["version"]
    for sock in (*silent, *idle):
        sock.close()


def test_sockets_come_and_go_with_reloads(started: Servers) -> None:
    """A router without statistics measures nothing; one that gets them counts from then on."""
    listen, first, second = local(), local(), local()
    node = started.node(answer(b"one"))
    base = f"[uwsgirouter]\nfastrouter = {listen}\nfastrouter-to = {node.address}\n"
    router = started.router(config=base)
    count = itertools.count(1)

    def reload(more: str) -> None:
        router.rewrite(base + more)
        router.hup()
        router.wait_for_log("] reloaded in ", count=next(count))

    fetch(listen, "a.example")
    reload(f"fastrouter-stats = {first}\n")
    fetch(listen, "a.example")
    wait_until(lambda: stats(first)["static_nodes"][0]["hits"] == 1, 20, "the new workers count")
    assert stats(first)["uwsgirouter"]["requests"] == 2
    reload(f"metrics = {second}\nfastrouter-stats = {first}\n")
    fetch(listen, "a.example")
    wait_until(lambda: stats(first)["static_nodes"][0]["hits"] == 2, 20, "its node's count goes on")
    assert sample(ask(second)[1], "uwsgirouter_requests_total") == 3
    reload("")

    def is_closed() -> bool:
        try:
            stats(first)
        except OSError:
            return True
        return False

    wait_until(is_closed, 20, "nobody listens there any more")
    assert fetch(listen, "a.example").status == 200

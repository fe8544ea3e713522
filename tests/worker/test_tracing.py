"""Traces: each decision for a request is told to whoever asked, and to nobody else, and costs nothing afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from tests.servers import (
    Client,
    Connection,
    Router,
    Servers,
    announce,
    answer,
    close_at_once,
    fetch,
    get,
    hang,
    local,
    post,
    wait_until,
)
from tests.worker.site import Site
from tests.worker.traced import PATIENCE, Row, Speaker, settle, steps, tracing


def steps_of(path: str, key: str, address: str, asked: str = "", body: bytes | None = None) -> tuple[str, Row]:
    """One request of ``asked`` (``key``), traced."""
    with tracing(path, key) as speaker:
        fetch(address, asked or key, body=body)
        (trace,) = speaker.traces(1)
        assert speaker.hear() == {"ok": True}
    return steps(trace), trace


# -- announced nodes, with everything that has a say -----------------------------------------------------------------

RULES = r"""
fastrouter-sticky = ROUTE
subscription-limit-cores = true
subscription-queue-timeout = 1
fastrouter-post-buffering = 10
fastrouter-first-byte-timeout = 1
route-host = ^ruled\. addvar:A=b
route-host = ^answered\. break:404 Not Found
route-host = ^broken\. goto:nowhere
response-route-run = addheader:X-Traced: yes
"""


@pytest.fixture(scope="module")
def rich(started: Servers) -> Site:
    return Site(started, f"control-socket = {started.path('rich.sock')}", *RULES.splitlines())


@pytest.fixture(scope="module")
def path(rich: Site, started: Servers) -> str:
    assert rich.router.running
    return started.path("rich.sock")


def test_the_nodes_and_why_the_others_are_not_chosen(rich: Site, path: str) -> None:
    key = rich.key()
    one, two, backup = (rich.node(answer(name)) for name in (b"one", b"two", b"backup"))
    rich.announce(key, one.address, two.address, weight=2)
    rich.announce(key, backup.address, backup=1)
    text, trace = steps_of(path, key, rich.tcp)
    assert re.search(rf"key {key}: 3 nodes, algorithm", text)
    assert "no cookie ROUTE" in text
    assert re.search(r"127\.0\.0\.1:\d+ up, weight 2: chosen", text)
    assert re.search(r"127\.0\.0\.1:\d+ up, weight 2: not its turn", text)
    assert f"{backup.address} up, weight 1, backup level 1: nodes of level 0 are there" in text
    assert re.search(r"dial 127\S+\nconnected; the request is sent, \d+ bytes\n(.*\n)*first byte of the response", text)
    assert (trace["status"], trace["tries"], trace["cause"]) == (200, 1, None)
    assert trace["node"] in (one.address, two.address) and trace["key"] == key
    assert all(isinstance(trace[name], float) for name in ("queue_ms", "connect_ms", "ttfb_ms", "total_ms"))


def test_nodes_that_are_out(rich: Site, path: str) -> None:
    key = rich.key()
    nodes = [rich.node(answer()) for _ in range(3)]
    rich.announce(key, *(node.address for node in nodes))
    speaker = Speaker(path)
    for command, node in (("drain", nodes[0]), ("down", nodes[1])):
        speaker.say(command=command, key=key, node=node.address)
        assert "node" in speaker.hear() and speaker.hear()["ok"]
    speaker.close()
    text, _ = steps_of(path, key, rich.tcp)
    assert f"{nodes[0].address} draining, weight 1: an operator drains it" in text
    assert f"{nodes[1].address} down, weight 1: an operator took it down" in text
    assert f"{nodes[2].address} up, weight 1: chosen" in text


def test_a_cookie(rich: Site, path: str) -> None:
    key = rich.key()
    nodes = [rich.node(answer()) for _ in range(2)]
    rich.announce(key, *(node.address for node in nodes))
    cookie = fetch(rich.tcp, key).header("set-cookie") or ""
    with tracing(path, key, 2) as speaker:
        for value in (cookie.partition(";")[0], "ROUTE=nonsense"):
            with Client(rich.tcp) as client:
                client.send_packet(get(key, extra=[(b"HTTP_COOKIE", value.encode())]))
                assert client.reply().status == 200
        known, unknown = map(steps, speaker.traces(2))
    assert re.search(r"its cookie names 127\.0\.0\.1:\d+\n", known)
    assert "its cookie names none of the nodes" in unknown


def test_a_request_that_waits_for_a_node_that_is_full(rich: Site, path: str) -> None:
    key = rich.key()
    node = rich.node(hang)
    rich.announce(key, node.address, cores=1)
    with Client(rich.tcp) as busy:
        busy.send_packet(get(key))
        node.wait_for(1)
        text, trace = steps_of(path, key, rich.tcp)
    assert "full, it has all the requests of its 1 cores" in text
    assert "waiting for a node that is not full" in text
    assert "failed (waiting for a node that is not full): 503 queue-timeout (1 s)" in text
    assert (trace["status"], trace["cause"], trace["node"]) == (503, "queue-timeout", None)


def test_another_node_after_failures(rich: Site, path: str) -> None:
    key, dead = rich.key(), local()
    closing, healthy = rich.node(close_at_once), rich.node(answer())
    rich.announce(key, dead, weight=100)
    rich.announce(key, closing.address, weight=10)
    rich.announce(key, healthy.address)
    text, trace = steps_of(path, key, rich.tcp)
    assert f"no connection to {dead}: Connection refused\nconnect-failed by {dead}: another node is tried" in text
    assert re.search(rf"node-(closed|reset) by {closing.address}: another node is tried\ndial {healthy.address}", text)
    assert (trace["status"], trace["tries"]) == (200, 3)


def test_a_request_that_cannot_be_repeated(rich: Site, path: str) -> None:
    key = rich.key()
    rich.announce(key, rich.node(close_at_once).address)
    with tracing(path, key) as speaker:
        with Client(rich.tcp) as client:
            client.send_packet([(b"REQUEST_METHOD", b"POST"), (b"HTTP_HOST", key.encode()), (b"CONTENT_LENGTH", b"0")])
            assert client.reply().status == 502
        (trace,) = speaker.traces(1)
    assert "the request cannot be repeated: it is not idempotent" in steps(trace)
    assert re.search(r"failed \(waiting for the first byte\): 502 node-(closed|reset)", steps(trace))


def test_a_timeout(rich: Site, path: str) -> None:
    key = rich.key()
    rich.announce(key, rich.node(hang).address)
    text, trace = steps_of(path, key, rich.tcp)
    assert "failed (waiting for the first byte): 504 first-byte-timeout" in text
    assert trace["cause"] == "first-byte-timeout"


def test_a_body_that_is_gathered(rich: Site, path: str) -> None:
    key, _ = rich.serve(answer())
    with tracing(path, key) as speaker:
        with Client(rich.tcp) as client:
            client.send_packet(post(key, 1_000_000), b"x" * 1_000_000)
            assert client.reply().status == 200
        (trace,) = speaker.traces(1)
    assert "its body is gathered first\nthe body is here, in a file\nkey " in steps(trace)
    assert f"POST {key} /" in str(trace["request"])


def test_a_client_that_leaves(rich: Site, path: str) -> None:
    key, node = rich.serve(hang)
    with tracing(path, key) as speaker:
        client = Client(rich.tcp)
        client.send_packet(get(key))
        node.wait_for(1)
        client.reset()
        (trace,) = speaker.traces(1)
    assert "the client is gone" in steps(trace) and trace["cause"] == "client-gone"


@pytest.mark.parametrize(
    ("key", "status", "pattern"),
    [
        ("ruled.example", 200, r"route-host = \^ruled\S+ addvar:A=b: next\nthe rules let it go on\n"),
        ("ruled.example", 200, r"response-route-run = addheader:X-Traced: yes: next"),
        ("answered.example", 404, r"break:404 Not Found: break\nthe rules answer it: 404"),
        ("broken.example", 500, r"goto:nowhere: failed: a goto can only jump forward\nthe rules end it"),
        ("broken.example", 500, r"failed \(reading the packet\): 500 rule-failed \(a goto"),
    ],
)
def test_rules(rich: Site, path: str, key: str, status: int, pattern: str) -> None:
    rich.announce("ruled.example", rich.node(answer()).address)
    text, trace = steps_of(path, key, rich.tcp)
    assert re.search(pattern, text), text
    assert trace["status"] == status


def test_the_id_is_that_of_the_request(rich: Site, path: str) -> None:
    key, _ = rich.serve(answer())
    with tracing(path, key) as speaker:
        with Client(rich.tcp) as client:
            client.send_packet(get(key, extra=[(b"HTTP_X_REQUEST_ID", b"my-own-id")]))
            client.reply()
        (trace,) = speaker.traces(1)
    assert trace["id"] == "my-own-id"


def test_what_others_ask_is_not_told(rich: Site, path: str) -> None:
    key, _ = rich.serve(answer())
    other, _ = rich.serve(answer(b"other"))
    with tracing(path, key, 2) as speaker:
        for asked in (other, key, other, key):
            assert rich.fetch(asked).status == 200
        assert [trace["key"] for trace in speaker.traces(2)] == [key, key]


def test_ten_at_once_and_many_requests(rich: Site, path: str) -> None:
    key, _ = rich.serve(answer())
    speakers = []
    for _ in range(9):
        speaker = Speaker(path)
        speaker.say(command="trace", key=key, count=50)
        assert "tracing" in speaker.hear()
        speakers.append(speaker)
    with tracing(path, key, 200) as last:
        for _ in range(200):
            assert rich.fetch(key).status == 200
        assert len(last.traces(200)) == 200 and last.hear() == {"ok": True}
        for speaker in speakers:
            assert len(speaker.traces(50)) == 50 and speaker.hear() == {"ok": True}
            speaker.close()


def test_who_disconnects_or_never_reads_does_not_matter(rich: Site, path: str) -> None:
    key, _ = rich.serve(answer())
    with tracing(path, key, 1000), tracing(path, key, 1000) as gone:
        gone.close()
        for _ in range(100):
            assert rich.fetch(key).status == 200
    text, _ = steps_of(path, key, rich.tcp)
    assert "chosen" in text


# -- what a trace costs ------------------------------------------------------------------------------------------------


def test_it_ends_while_a_request_is_under_way(rich: Site, path: str) -> None:
    """The request goes on, and nothing is told of it."""
    release = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        release.wait(60)
        connection.answer()

    key, node = rich.serve(slow)
    with Client(rich.tcp) as client:
        with tracing(path, key):
            client.send_packet(get(key))
            node.wait_for(1)
        settle(path)
        release.set()
        assert client.reply().status == 200
    assert steps_of(path, key, rich.tcp)[1]["status"] == 200


# -- key forms, descriptor passing ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(started: Servers) -> Site:
    return Site(
        started,
        f"control-socket = {started.path('plain.sock')}",
        "fastrouter-strip-port = true",
        "subscription-mountpoints = 1",
    )


def test_keys_are_meant_as_asked_and_as_listed(plain: Site, started: Servers) -> None:
    path = started.path("plain.sock")
    assert plain.router.running
    key, _ = plain.serve(answer())
    for meant, asked in ((key, f"{key}:8080"), (f"{key}:8080", f"{key}:8080"), (key, key.upper())):
        text, _ = steps_of(path, meant, plain.tcp, asked)
        assert re.search(rf"key \S+: 1 nodes( under {key})?, algorithm", text), text


def test_a_mountpoint(plain: Site, started: Servers) -> None:
    path = started.path("plain.sock")
    key = plain.key()
    announce(plain.server, f"{key}/app", plain.node(answer()).address)
    plain.settle()
    for meant in (f"{key}/app", key):
        with tracing(path, meant) as speaker:
            assert fetch(plain.tcp, key, path="/app/x").status == 200
            (trace,) = speaker.traces(1)
        assert f"1 nodes under {key}/app" in steps(trace) or f"key {key}/app" in steps(trace)


def test_a_node_that_takes_the_client_over(plain: Site, started: Servers) -> None:
    path = started.path("plain.sock")

    def adopt(connection: Connection) -> None:
        _, descriptors, _, _ = socket.recv_fds(connection.socket, 65536, 1)
        with socket.socket(fileno=descriptors[0]) as client:
            connection.half_close()
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nme")

    key, _ = plain.serve(adopt, "unix")
    with tracing(path, key) as speaker:
        with Client(plain.tcp) as client:
            client.send_packet(get(key))
            assert client.reply().body == b"me"
        (trace,) = speaker.traces(1)
    text = steps(trace)
    assert "the client's descriptor goes along: the node may take it over" in text
    assert "the node took the client over, and answers it by itself" in text


def test_the_nodes_of_the_configuration(servers: Servers) -> None:
    """``-`` are those of fastrouter-to, ``+`` those of fastrouter-fallback."""
    dead, healthy, path, listener = local(), servers.node(answer(b"stands in")), servers.path("s.sock"), local()
    config = ["[uwsgirouter]", f"fastrouter = {listener}", f"fastrouter-to = {dead}", f"control-socket = {path}"]
    router = servers.router(config="\n".join([*config, f"fastrouter-fallback = {healthy.address}", ""]))
    assert router.running
    text, _ = steps_of(path, "-", listener, "any.example")
    assert "key any.example: 1 nodes under fastrouter-to" in text and f"dial {healthy.address}" in text
    text, _ = steps_of(path, "+", listener, "other.example")
    assert f"dial {healthy.address}" in text


# -- workers that come and go ------------------------------------------------------------------------------------------


@pytest.fixture
def two(servers: Servers) -> tuple[Router, str]:
    """A router with two workers, and its control socket."""
    path, node = servers.path("two.sock"), servers.node(answer())
    config = ["[uwsgirouter]", f"fastrouter = {local()}", f"fastrouter-to = {node.address}", "reload-mercy = 10"]
    config += ["fastrouter-processes = 2", f"control-socket = {path}", ""]
    return servers.router(config="\n".join(config)), path


def test_a_worker_that_comes_later_is_told(two: tuple[Router, str]) -> None:
    router, path = two
    before = router.wait_for_workers(2)
    with tracing(path, "-", 1000) as speaker:
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(set(router.workers()) - set(before)) == 2, PATIENCE, "two other workers")
        told = []

        def is_told() -> bool:
            assert fetch(router.address, "a.example").status == 200
            speaker.socket.settimeout(0.2)
            try:
                told.append(speaker.traces(1))
            except TimeoutError:
                speaker._lines = speaker.socket.makefile("rb")
                return False
            return True

        wait_until(is_told, PATIENCE, "a new worker tells")
        assert told


def test_a_restart_under_events(two: tuple[Router, str]) -> None:
    """Whoever looks on says that the router is gone, and goes on with the next one."""
    router, path = two
    router.wait_for_workers(2)
    command = [sys.executable, "-m", "uwsgirouter.control", "events", "--control", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as looking:
        assert looking.stdout is not None and looking.stderr is not None
        while "spawned uwsgirouter worker 2" not in looking.stdout.readline():
            pass
        router.signal(signal.SIGUSR2)
        assert "waiting for the router" in looking.stderr.readline()
        while "upgraded from" not in looking.stdout.readline():
            pass
        looking.send_signal(signal.SIGINT)
        assert looking.wait(PATIENCE) == 0
    # What was handed over is known.
    done = subprocess.run(
        [sys.executable, "-m", "uwsgirouter.control", "status", "--json", "--control", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["nodes"] == {"up": 1}

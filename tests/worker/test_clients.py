"""Clients that leave at any moment, send anything, or come in too great a number: nothing stays behind."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from itertools import cycle, islice

import pytest

from tests.servers import (
    Client,
    Connection,
    End,
    Node,
    Servers,
    announce,
    answer,
    fetch,
    get,
    hang,
    local,
    packet,
    post,
    reset_after_packet,
    wait_until,
)
from tests.worker.patched import patched_router
from tests.worker.site import KINDS, Site, links

MB = 1 << 20

Leave = Callable[[Client], None]


def until_the_end(connection: Connection) -> None:
    """A node that thinks for as long as its client is there."""
    connection.read_packet()
    connection.read_until_eof()


def half_answered(connection: Connection) -> None:
    """A node that sends for as long as somebody reads."""
    connection.read_packet()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.send(b"x" * 65536)


def before_the_packet(client: Client, key: str) -> None:
    client.send(b"\0")


def mid_packet(client: Client, key: str) -> None:
    client.send(packet(get(key))[:-5])


def waiting(client: Client, key: str) -> None:
    client.send_packet(get(key))


def mid_upload(client: Client, key: str) -> None:
    client.send_packet(post(key, 10 * MB), bytes(200_000))


def mid_response(client: Client, key: str) -> None:
    client.send_packet(get(key))
    client.read(100_000)


STAGES = {
    "before the packet": (before_the_packet, None),
    "mid packet": (mid_packet, None),
    "waiting": (waiting, until_the_end),
    "mid upload": (mid_upload, until_the_end),
    "mid response": (mid_response, half_answered),
}


@pytest.mark.parametrize("leave", [Client.close, Client.reset])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_leaves(site: Site, stage: str, kind: str, leave: Leave) -> None:
    """The node sees the end, and nothing of the session is left."""
    come, handler = STAGES[stage]
    baseline = site.descriptors()
    key, node = site.serve(handler or hang, kind)
    client = Client(site.address(kind))
    come(client, key)
    if handler is not None:
        node.wait_for(1)
        wait_until(lambda: node.connections[0].packet is not None, 5, "the packet arrived")
    leave(client)
    if handler is not None:
        assert node.connections[0].finished.wait(5), "the node saw the end"
        node.expect_errors()
    else:
        assert node.connections == []
    site.assert_released(key, node, baseline)


def test_a_client_that_is_gone_while_the_node_thinks_does_not_disturb_others(site: Site) -> None:
    """The node goes on to answer nobody; the answer must not go astray."""
    go_on = threading.Event()

    def late(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(10)
        connection.answer(b"late" * 100_000)

    baseline = site.descriptors()
    key, node = site.serve(late)
    client = Client(site.tcp)
    client.send_packet(get(key))
    node.wait_for(1)
    client.close()
    go_on.set()
    assert node.connections[0].finished.wait(5)
    node.expect_errors()
    assert site.fetch(site.serve(answer(b"other"))[0]).body == b"other"
    site.assert_released(key, node, baseline)


def faults(site: Site, keys: dict[str, str]) -> list[Callable[[], None]]:
    """Everything that can go wrong, as quick as it goes; none waits for what it leads to."""

    def leave(come: Callable[[Client, str], None], key: str, kind: str, reset: bool) -> Callable[[], None]:
        def run() -> None:
            with Client(site.address(kind)) as client:
                come(client, key)
                if reset:
                    client.reset()

        return run

    def read_all(data: bytes, kind: str) -> Callable[[], None]:
        def run() -> None:
            # A reset is one of the things that may come of it.
            with Client(site.address(kind)) as client, contextlib.suppress(OSError):
                client.send(data)
                client.half_close()
                client.read_all()

        return run

    made = []
    for kind in KINDS:
        for reset in (False, True):
            made += [leave(come, keys["thinking"], kind, reset) for come in (before_the_packet, mid_packet, waiting)]
            made.append(leave(mid_upload, keys["thinking"], kind, reset))
            made.append(leave(mid_response, keys["sending"], kind, reset))
        for key in ("nobody.example", keys["dead"], keys["resetting"], keys["answering"], ""):
            made += [read_all(packet(get(key)), kind), read_all(packet(post(key, 100)) + bytes(50), kind)]
        made.append(read_all(b"\x00\x04\x00\x00\xff\xff\xff\xff", kind))
    return made


def test_five_thousand_faults_leave_nothing_behind(started: Servers) -> None:
    """Descriptors, sessions and memory are what they were before."""
    site = Site(started)
    nodes: dict[str, Node] = {
        "thinking": site.node(until_the_end),
        "sending": site.node(half_answered),
        "resetting": site.node(reset_after_packet),
        "answering": site.node(answer()),
    }
    baseline = site.descriptors()
    keys = {name: site.announce(site.key(), node.address) for name, node in nodes.items()}
    keys["dead"] = site.announce(site.key(), local())
    made = faults(site, keys)
    memory = 0
    for number, fault in enumerate(islice(cycle(made), 5000)):
        fault()
        if number == 1500:
            wait_until(lambda: site.descriptors() <= baseline, 10, "nothing is open")
            memory = site.memory()
    wait_until(lambda: site.descriptors() <= baseline, 10, f"{baseline} descriptors, as before")
    wait_until(lambda: site.stats().numbers["sessions"] == 0, 5, "no session is open")
    assert site.memory() - memory < MB
    assert site.router.workers() == [site.worker]
    for name, node in nodes.items():
        node.expect_errors()
        site.assert_released(keys[name], node, baseline)


def test_random_and_mutated_packets(started: Servers) -> None:
    """Bytes of any sort get an answer, a close or silence; the worker lives, and says little about it."""
    site = Site(started, "fastrouter-timeout = 5")
    generator = random.Random(20)
    key, node = site.serve(whatever)
    good = packet(get(key, extra=[(b"HTTP_COOKIE", b"c" * 200)])) + b"body"
    baseline, memory = site.descriptors(), site.memory()
    for number in range(4000):
        data = mutated(good, generator) if number % 2 else generator.randbytes(generator.randrange(1, 200))
        with Client(site.address(KINDS[number % 3])) as client, contextlib.suppress(OSError):
            client.send(data)
            client.half_close()
            reply, end = client.read_all()
            assert end is not End.SILENT
            assert not reply or reply.startswith(b"HTTP/1.1 "), reply
    assert site.router.workers() == [site.worker]
    wait_until(lambda: site.descriptors() <= baseline, 10, f"{baseline} descriptors, as before")
    assert site.memory() - memory < 2 * MB
    counted = site.stats()
    assert counted.causes["bad-packet"] > 1500
    assert counted.numbers["answered"] > 100
    bad = [line[:19] for line in site.router.log().splitlines() if "bad-packet" in line and "stats: " not in line]
    assert max(map(bad.count, bad)) <= 2  # one in each second of the worker's own clock
    other = [line[:19] for line in site.router.log().splitlines() if "request failed" in line]
    assert max(map(other.count, other)) <= 24
    site.router.wait_for_log("more lines of this sort were suppressed")
    assert "Traceback" not in site.router.log()
    node.expect_errors()


def whatever(connection: Connection) -> None:
    """A node that answers without a look at what it is sent."""
    connection.read(4)
    connection.answer()


def mutated(data: bytes, generator: random.Random) -> bytes:
    """A few bytes changed, taken out or put in."""
    result = bytearray(data)
    for _ in range(generator.randrange(1, 4)):
        at = generator.randrange(len(result))
        how = generator.randrange(4)
        if how == 0:
            result[at] = generator.randrange(256)
        elif how == 1:
            del result[at : at + generator.randrange(1, 20)]
        elif how == 2:
            result[at:at] = generator.randbytes(generator.randrange(1, 20))
        else:
            del result[max(1, at) :]
    return bytes(result)


def test_without_descriptors_the_worker_waits_and_comes_back(started: Servers) -> None:
    site = Site(started, "max-fd = 64")
    key, _ = site.serve(answer(b"served"))
    baseline = site.descriptors()
    with contextlib.ExitStack() as crowd:
        idle = [crowd.enter_context(Client(site.unix)) for _ in range(80)]
        for client in idle:
            client.send(packet(get(key))[:-1])
        site.router.wait_for_log("accept() failed: Too many open files")
        assert site.descriptors() == 64
        used = cpu_seconds(site.worker)
        # One that was accepted completes its packet: there is no descriptor for a node.
        idle[0].send(packet(get(key))[-1:])
        reply = idle[0].reply()
        assert (reply.status, reply.header("x-uwsgirouter-cause")) == (503, "overload")
        wait_until(lambda: site.router.log().count("accept() failed") > 1, 5, "it tries again")
        assert cpu_seconds(site.worker) - used < 0.5
        for client in idle[1:40]:
            client.close()
        # Those that waited in the backlog are served now.
        for client in idle[-5:]:
            client.send(packet(get(key))[-1:])
            assert client.reply().body == b"served"
    assert site.fetch(key).body == b"served"
    wait_until(lambda: site.descriptors() <= baseline, 5, "all are closed")
    assert site.router.workers() == [site.worker]
    assert site.router.log().count("accept() failed") < 20


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


BOOM = """
import uwsgirouter.worker.{module} as module
original = module.{name}
def boom(self, *arguments):
    if {when}:
        raise RuntimeError("boom")
    return original(self, *arguments)
module.{name} = boom
"""

BUGS = {
    "session": BOOM.format(module="arrival", name="Arrival._route", when='b"boom.example" in arguments[0]'),
    "pump": BOOM.format(module="relay", name="Pump.on_readable", when='self.session.key == b"boom.example"'),
    "connect": BOOM.format(module="session", name="Session._send_packet", when='self.key == b"boom.example"'),
}


@pytest.mark.parametrize("where_it_is", BUGS)
def test_a_bug_in_a_session_ends_that_session_alone(started: Servers, where_it_is: str) -> None:
    """A handler that raises is logged, once; it is not called for ever, and others are served."""
    node = started.node(answer(b"served"))
    router = patched_router(started, BUGS[where_it_is], "--fastrouter", local(), "--fastrouter-to", node.address)
    (worker,) = router.wait_for_workers(1)
    assert fetch(router.address).body == b"served"
    baseline = len(links(worker))
    used = cpu_seconds(worker)
    for _ in range(3):
        with Client(router.address) as client:
            client.send_packet(get("boom.example"))
            reply = client.reply()
            assert (reply.status, reply.header("x-uwsgirouter-cause")) == (500, "internal-error")
    assert fetch(router.address).body == b"served"
    wait_until(lambda: len(links(worker)) <= baseline, 5, "the sessions are closed")
    assert router.log().count("Traceback") >= 1
    assert cpu_seconds(worker) - used < 0.5
    assert router.workers() == [worker]
    node.expect_errors()


def test_a_bug_in_accepting_does_not_stop_the_listener(started: Servers) -> None:
    node = started.node(answer(b"served"))
    code = """
import uwsgirouter.worker.listener as module
original = module.Listener._accept_one
left = [2]
def boom(self):
    if left[0]:
        left[0] -= 1
        raise RuntimeError("boom")
    return original(self)
module.Listener._accept_one = boom
"""
    router = patched_router(started, code, "--fastrouter", local(), "--fastrouter-to", node.address)
    assert fetch(router.address).body == b"served"
    assert "RuntimeError: boom" in router.log()


def test_a_bug_in_the_channel_replaces_the_worker(started: Servers) -> None:
    """A worker that no longer hears its master would route by what was true once."""
    code = """
import uwsgirouter.worker.uplink as module
original = module.Uplink._take_nodes
def boom(self, message):
    if b"boom" in str(message).encode():
        raise RuntimeError("boom")
    return original(self, message)
module.Uplink._take_nodes = boom
"""
    server = started.path("boom.announcements")
    router = patched_router(started, code, "--fastrouter", local(), "--fastrouter-subscription-server", server)
    (worker,) = router.wait_for_workers(1)
    node = started.node(answer(b"served"))
    announce(server, "good.example", node.address)
    wait_until(lambda: fetch(router.address, "good.example").status == 200, 5, "it is served")
    announce(server, "boom.example", node.address)
    wait_until(lambda: worker not in router.workers(), 5, "the worker left")

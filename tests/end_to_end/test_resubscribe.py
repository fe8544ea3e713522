"""Routers that pass announcements on to each other: requests reach nodes that another router knows, and no storm."""

from __future__ import annotations

import itertools
import re
import signal
import socket

import pytest

from tests.servers import Node, Router, Servers, announce, answer, fetch, free_port, free_udp_port, local, wait_until
from tests.servers.tap import Tap
from tests.servers.wire import UNSUBSCRIBE, unpack

DEADLINE = 15.0


class Member:
    """A router that tells ``others`` what it serves."""

    def __init__(self, servers: Servers, server: str, *others: str, lines: str = "", listen: str = "") -> None:
        self.server = server
        self.config = f"[uwsgirouter]\nfastrouter = {listen or local()}\nfastrouter-subscription-server = {server}\n"
        self.config += lines
        self.router: Router = servers.router(config=self.config + self.telling(*others))

    @staticmethod
    def telling(*others: str) -> str:
        return "".join(f"fastrouter-resubscribe = {other}\n" for other in others)

    def ask(self, key: str) -> bytes:
        """The answer's body, or nothing when it is a failure."""
        reply = fetch(self.router.address, key)
        return reply.body if reply.status == 200 else b""

    def serves(self, key: str, body: bytes) -> None:
        """Wait until requests for ``key`` are answered like this (empty: they fail)."""
        wait_until(lambda: self.ask(key) == body, DEADLINE, f"{body!r} of {key} from {self.server}")

    def passed_on(self) -> int:
        """How many datagrams it has sent, by its own count."""
        lines = self.router.log().count("passed on:")
        self.router.signal(signal.SIGUSR1)
        wait_until(lambda: self.router.log().count("passed on:") > lines, DEADLINE, "the stats line")
        return int(re.findall(r"passed on: (\d+) datagrams", self.router.log())[-1])


def udp() -> str:
    return f"127.0.0.1:{free_udp_port()}"


def node(servers: Servers, name: bytes) -> Node:
    return servers.node(answer(name))


def routes(datagrams: list[bytes]) -> list[tuple[bytes, bool]]:
    """What was told of a key: the route, and whether it was taken back."""
    return [(dict(unpack(data[4:])).get(b"router-path", b""), bool(data[3])) for data in datagrams]


@pytest.mark.parametrize("size", [2, 3])
def test_a_ring_agrees_and_is_quiet(servers: Servers, size: int) -> None:
    """Nodes come and go at each; all routers answer alike; each datagram is accounted for."""
    addresses = [udp() for _ in range(size)]
    with Tap() as tap:
        ring = [
            Member(servers, address, addresses[(index + 1) % size], *([tap.address] if not index else []))
            for index, address in enumerate(addresses)
        ]
        nodes = [node(servers, b"node %d" % index) for index in range(size)]
        spoken = 0
        for index, member in enumerate(ring):
            announce(member.server, f"{index}.example", nodes[index].address)
            spoken += 1
            for other in ring:
                other.serves(f"{index}.example", b"node %d" % index)
        for member, gone in zip(ring, nodes, strict=True):
            announce(member.server, "all.example", gone.address)
            spoken += 1
        for index, member in enumerate(ring):
            member.serves("all.example", b"node %d" % index)
        for index, (member, gone) in enumerate(zip(ring, nodes, strict=True)):
            gone.refuse()  # it dies without a word: whoever asks it sees that
            member.ask("all.example")
            announce(member.server, f"{index}.example", gone.address, UNSUBSCRIBE)
            spoken += 2
        for index, member in itertools.product(range(size), ring):
            member.serves(f"{index}.example", b"")
            member.serves("all.example", b"")
        # Each word goes once round the ring, and back to where it began; the first member tells the tap as well.
        assert sum(member.passed_on() for member in ring) <= spoken * (size + 1)
        before = len(tap.datagrams)
        announce(ring[0].server, "last.example", nodes[0].address)
        assert len(tap.wait_for("last.example")) == 1
        assert len(tap.datagrams) == before + 1, "nothing else goes round"
        assert all("came back" not in member.router.log() for member in ring), "what comes back is nobody's fault"


def test_a_router_that_stops_is_not_waited_for(servers: Servers) -> None:
    first, second = udp(), udp()
    member, other = Member(servers, first, second), Member(servers, second)
    announce(first, "a.example", node(servers, b"mine").address)
    other.serves("a.example", b"mine")
    member.router.stop()
    other.serves("a.example", b"")
    assert "(unsubscribed)" in other.router.log()


def test_a_router_stays_the_same_over_a_reload(servers: Servers) -> None:
    first, second = udp(), udp()
    member = Member(servers, first, second)
    with Tap(second) as tap, Tap() as tapped:
        announce(first, "a.example", node(servers, b"mine").address)
        (before,) = routes(tap.wait_for("a.example"))
        member.router.rewrite(member.config + member.telling(second, tapped.address))
        member.router.hup()
        member.router.wait_for_log("old workers drain")
        announce(first, "b.example", node(servers, b"mine").address)
        assert routes(tap.wait_for("b.example")) == routes(tapped.wait_for("b.example")) == [before]
        member.router.rewrite(member.config)
        member.router.hup()
        wait_until(lambda: member.router.log().count("old workers drain") == 2, DEADLINE, "the second reload")
        announce(first, "c.example", node(servers, b"mine").address)
        member.serves("c.example", b"mine")
        assert tap.of("c.example") == []


def test_unix_sockets_ipv6_and_names(servers: Servers) -> None:
    """A chain: the first tells the second over a unix socket, that the third by name, that the fourth over IPv6."""
    path, named, six = servers.path("second"), free_udp_port(), f"[::1]:{free_udp_port()}"
    fourth = Member(servers, six, listen=f"[::1]:{free_port()}")
    third = Member(servers, f"127.0.0.1:{named}", six, listen=f":{free_port()}", lines=f"fastrouter = {local()}\n")
    second = Member(servers, path, f"localhost:{named}", listen=servers.path("second-listens"))
    first = Member(servers, udp(), path, listen=f":{free_port()}")
    announce(first.server, "a.example", node(servers, b"first's").address)
    for member in (second, third, fourth):
        member.serves("a.example", b"first's")


def test_where_it_is_sent_from_and_what_it_says(servers: Servers) -> None:
    """From the subscription server's socket, or from another one; a wildcard listener is announced as one."""
    server, port = udp(), free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(DEADLINE)
        member = Member(servers, server, "{}:{}".format(*receiver.getsockname()), listen=f":{port}")
        extra: dict[str, str | bytes | int] = {
            "modifier1": 5,
            "modifier2": 6,
            "weight": 7,
            "cores": 8,
            "sni_crt": "/c",
            "algo": "lrc",
        }
        announce(server, "a.example", "127.0.0.1:1", extra=extra)
        datagram, sender = receiver.recvfrom(4096)
        assert "{}:{}".format(*sender) == server
        fields = dict(unpack(datagram[4:]))
        assert re.fullmatch(rb"[0-9a-f]{16}", fields.pop(b"router-path"))
        assert fields == {
            b"key": b"a.example",
            b"address": b"0.0.0.0:%d" % port,
            b"modifier1": b"5",
            b"modifier2": b"6",
            b"weight": b"1",
            b"cores": b"0",
            b"load": b"0",
            b"sni_crt": b"/c",
            b"algo": b"lrc",
        }
        bind = udp()
        member.router.rewrite(member.router.config_file.read_text() + f"fastrouter-resubscribe-bind = {bind}\n")
        member.router.hup()
        member.router.wait_for_log("old workers drain")
        announce(server, "b.example", "127.0.0.1:1")
        datagram, sender = receiver.recvfrom(4096)
        assert ("{}:{}".format(*sender), dict(unpack(datagram[4:]))[b"key"]) == (bind, b"b.example")


def test_nobody_who_does_not_read_holds_up_the_master(servers: Servers) -> None:
    path = servers.path("deaf")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        member = Member(servers, udp(), path, servers.path("nobody"))
        last = node(servers, b"last")
        for number in range(300):
            announce(member.server, f"{number}.example", last.address)
        member.serves("299.example", b"last")
        log = member.router.wait_for_log("cannot pass announcements on to", DEADLINE)
        assert log.count("cannot pass announcements on to") < 30, "one line a second"
        sent = member.passed_on()
        assert 1 <= sent < 300, "the kernel keeps some for it, and there is nobody at the other path"


def test_what_the_real_one_passes_on_is_passed_on_alike(servers: Servers) -> None:
    """The same but for what a node says of itself (uWSGI: its own weight, cores and load) and for the route."""
    told = {}
    for kind in ("real", "ours"):
        with Tap() as tap:
            server, address = udp(), local()
            options = ["--fastrouter", address, "--fastrouter-subscription-server", server]
            options += ["--fastrouter-resubscribe", tap.address]
            (servers.fastrouter if kind == "real" else servers.router)(*options)
            announce(server, "a.example", "127.0.0.1:1", extra={"modifier1": 5, "modifier2": 6, "weight": 7})
            (came,) = tap.wait_for("a.example")
            announce(server, "a.example", "127.0.0.1:1", UNSUBSCRIBE)
            gone = tap.wait_for("a.example", 1, UNSUBSCRIBE)[0]
            kept = (b"key", b"address", b"modifier1", b"modifier2")
            told[kind] = [(dict(unpack(data[4:])), data[:1]) for data in (came, gone)]
            told[kind] = [
                ({name: fields[name].replace(address.encode(), b"router") for name in kept}, first)
                for fields, first in told[kind]
            ]
            # The real one tells of modifiers when a node leaves as that says them; ours as they were.
            told[kind][1][0].pop(b"modifier1")
            told[kind][1][0].pop(b"modifier2")
    assert told["ours"] == told["real"]


def test_with_a_real_fastrouter_at_either_end(servers: Servers) -> None:
    """node > ours > real, and node > real > ours: the request goes the other way round."""
    front, ours = udp(), udp()
    real = servers.fastrouter("--fastrouter", local(), "--fastrouter-subscription-server", front)
    member = Member(servers, ours, front)
    announce(ours, "a.example", node(servers, b"node").address)
    wait_until(lambda: _body(real, "a.example") == b"node", DEADLINE, "an answer through the real one")
    options = ["--fastrouter-subscription-server", udp(), "--fastrouter-resubscribe", ours]
    other = servers.fastrouter("--fastrouter", local(), *options)
    announce(other.server, "b.example", node(servers, b"other").address)
    member.serves("b.example", b"other")


def _body(router: Router, key: str) -> bytes:
    """The answer of a router that closes without one when it fails."""
    try:
        return fetch(router.address, key).body
    except (AssertionError, ValueError, ConnectionError):
        return b""

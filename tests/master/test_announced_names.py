"""Nodes that announce a host name: whole routers, and a name server that the tests own."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from unittest.mock import Mock

import dns.rcode
import pytest

from tests.master.test_resolver import Asked, Lines, Running, resolver_of, two_nodes
from tests.servers import Router, Servers, announce, answer, fetch, free_udp_port, local, wait_until
from tests.servers.names import NameServer
from tests.servers.programs import PROJECT
from tests.servers.wire import UNSUBSCRIBE
from uwsgirouter.master.announced_names import AnnouncedNames
from uwsgirouter.master.lookup import Found
from uwsgirouter.protocol.messages import encode_message
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

# -- the process ----------------------------------------------------------------------------------------------------


def told_to(running: Running, *items: object) -> None:
    running.upper.sendall(encode_message(*items))


def test_names_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uwsgirouter.master.resolver.RETRY_FIRST", 0.01)
    first, second = ("192.0.2.1",), ("192.0.2.2",)
    ask = Asked("no such name", Found(first, 1000.0), Found(second, 1000.0), Found(first, 1000.0))
    log = Lines()
    running = Running(ask, {}, log)
    try:
        assert running.told() == ["ready"]
        told_to(running, "ask", "app.test")
        assert running.told() == ["unresolved", "app.test", "no such name"]
        assert running.told() == ["hosts", "app.test", ["192.0.2.1"]]
        told_to(running, "ask", "app.test")
        assert running.told() == ["hosts", "app.test", ["192.0.2.1"]], "told again, and not asked again"
        told_to(running, "ask", "www.test")
        assert running.told() == ["hosts", "www.test", ["192.0.2.2"]]
        told_to(running, "forget", "app.test")
        told_to(running, "forget", "app.test")
        told_to(running, "ask", "app.test")
        assert running.told() == ["hosts", "app.test", ["192.0.2.1"]], "asked anew"
        assert ask.names == ["app.test", "app.test", "www.test", "app.test"]
        assert log.lines == [], "the master tells who announces what cannot be resolved"
    finally:
        running.stop()


def test_a_configured_name_is_not_forgotten() -> None:
    running = Running(Asked(), {"app.test": ("192.0.2.1",)}, Lines())
    try:
        assert running.told() == ["ready"]
        assert running.told() == ["hosts", "app.test", ["192.0.2.250"]]
        told_to(running, "forget", "app.test")
        told_to(running, "ask", "app.test")
        assert running.told() == ["hosts", "app.test", ["192.0.2.250"]]
    finally:
        running.stop()


def test_announced_names_do_not_hold_up_configured_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may announce may name what no name server answers for."""
    monkeypatch.setattr("uwsgirouter.master.resolver.THREADS", 1)
    released = threading.Event()

    class Slow(Asked):
        def __call__(self, name: str) -> Found:
            if name.startswith("slow"):
                released.wait(20)
            return super().__call__(name)

    ask = Slow(Found(("192.0.2.1",), 1.0))
    running = Running(ask, {"app.test": ("192.0.2.1",)}, Lines())
    try:
        assert running.told() == ["ready"]
        for number in range(5):
            told_to(running, "ask", f"slow{number}.test")
        assert running.told() == ["hosts", "app.test", ["192.0.2.250"]], "asked again after its time to live"
    finally:
        released.set()
        running.stop()


# -- whole routers --------------------------------------------------------------------------------------------------


@pytest.fixture
def zone() -> Iterator[NameServer]:
    """A name server with a time to live of a second and no names yet."""
    with NameServer({}) as made:
        yield made


class Site:
    """A router that hears announcements and asks the name server of the test."""

    def __init__(self, servers: Servers, zone: NameServer) -> None:
        self.servers, self.zone = servers, zone
        self.listen, self.hears = local(), f"127.0.0.1:{free_udp_port()}"

    def config(self, *lines: str) -> str:
        fixed = [f"fastrouter = {self.listen}", f"fastrouter-subscription-server = {self.hears}"]
        return "\n".join(["[uwsgirouter]", *fixed, f"fastrouter-resolver = {self.zone.address}", *lines, ""])

    def router(self, *lines: str) -> Router:
        return self.servers.router(config=self.config(*lines))

    def bodies(self, key: str = "a.example", count: int = 6) -> set[bytes]:
        return {fetch(self.listen, key).body for _ in range(count)}


@pytest.fixture
def site(servers: Servers, zone: NameServer) -> Site:
    return Site(servers, zone)


def test_all_addresses_serve_and_follow_the_name(site: Site) -> None:
    first, port = two_nodes(site.servers)
    site.zone.records["app.test", "A"] = ["127.0.0.1", "127.0.0.2"]
    router = site.router("subscription-tolerance = 120")
    assert not resolver_of(router), "nobody needs it yet"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(15)
        notify = "127.0.0.1:{1}".format(*ear.getsockname())
        announce(site.hears, "a.example", f"app.test:{port}", extra={"weight": 3, "notify": notify})
        told = b"[subscription ack] a.example => new node: app.test:%b" % port.encode()
        assert ear.recv(4096) == told
        assert resolver_of(router)
        wait_until(lambda: site.bodies() == {b"first", b"second"}, 15, "both serve")
        site.zone.records["app.test", "A"] = ["127.0.0.2"]
        router.wait_for_log(f"removing node: {first.address} (unsubscribed)", 15)
        router.wait_for_log("app.test is now 127.0.0.2", 15)
        wait_until(lambda: site.bodies() == {b"second"}, 15, "the first is gone")
        site.zone.rcode = dns.rcode.SERVFAIL
        router.wait_for_log("cannot resolve app.test", 15)
        announce(site.hears, "a.example", f"app.test:{port}", extra={"weight": 3, "notify": notify})
        assert site.bodies() == {b"second"}, "it keeps its last meaning"
        announce(site.hears, "a.example", f"app.test:{port}", UNSUBSCRIBE)
        wait_until(lambda: fetch(site.listen, "a.example").status == 503, 15, "all of them left")
        ear.setblocking(False)
        with pytest.raises(BlockingIOError):
            ear.recv(4096)
    assert router.log().count("new node") == 2


def test_six_and_an_alias(site: Site) -> None:
    node = site.servers.node(answer(b"six"), "[::1]:0")
    port = node.address.rpartition(":")[2]
    site.zone.records["alias.test", "CNAME"] = ["six.test"]
    site.zone.records["six.test", "AAAA"] = ["::1"]
    router = site.router()
    announce(site.hears, "a.example", f"Alias.Test.:{port}")
    router.wait_for_log(f"a.example => new node: [::1]:{port}", 15)
    wait_until(lambda: fetch(site.listen, "a.example").body == b"six", 15, "it serves")


def test_a_name_that_nobody_knows_is_counted_and_told_with_its_sender(site: Site) -> None:
    first, port = two_nodes(site.servers)
    router = site.router()

    def refused() -> bool:
        announce(site.hears, "a.example", f"nobody.test:{port}")
        return "cannot resolve nobody.test: the name server knows no such name" in router.log()

    wait_until(refused, 15, "a line in the log")
    assert "bad datagram from 127.0.0.1:" in router.log()
    announce(site.hears, "b.example", first.address)
    wait_until(lambda: fetch(site.listen, "b.example").body == b"first", 15, "others are not concerned")
    router.signal(signal.SIGUSR1)
    router.wait_for_log("unknown-name=", 15)


def test_names_can_be_refused(site: Site) -> None:
    site.zone.records["app.test", "A"] = ["127.0.0.1"]
    router = site.router("subscription-resolve = false")
    announce(site.hears, "a.example", "app.test:3031")
    router.wait_for_log("'app.test:3031' is a name (subscription-resolve = false)", 15)
    assert not resolver_of(router)
    assert site.zone.questions == []


def test_the_resolver_may_die_and_is_inherited_by_a_reload(site: Site) -> None:
    _, port = two_nodes(site.servers)
    site.zone.records["app.test", "A"] = ["127.0.0.1"]
    router = site.router("subscription-tolerance = 120")
    announce(site.hears, "a.example", f"app.test:{port}")
    router.wait_for_log("new node", 15)
    pid = wait_until(lambda: resolver_of(router), 15, "a resolver")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: resolver_of(router) not in (0, pid), 15, "another one")
    site.zone.records["app.test", "A"] = ["127.0.0.2"]
    router.wait_for_log("app.test is now 127.0.0.2", 15)
    router.rewrite(site.config("subscription-tolerance = 121"))
    router.hup()
    router.wait_for_log("] reloaded in ", 15)
    site.zone.records["app.test", "A"] = ["127.0.0.1"]
    router.wait_for_log("app.test is now 127.0.0.1", 15)
    wait_until(lambda: site.bodies() == {b"first"}, 15, "the workers know, too")


def test_a_resolver_that_cannot_run_harms_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first generation, and not a reload."""
    first, port = two_nodes(site.servers)
    broken = site.servers.directory / "dns"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no such library')\n")
    router = site.servers.router(
        config=site.config("subscription-tolerance = 120"), env={"PYTHONPATH": f"{broken.parent}:{PROJECT}"}
    )
    announce(site.hears, "a.example", f"app.test:{port}")
    router.wait_for_log("ImportError: no such library", 15)
    announce(site.hears, "b.example", first.address)
    wait_until(lambda: fetch(site.listen, "b.example").body == b"first", 15, "others are served")
    router.hup()
    router.wait_for_log("] reloaded in ", 15)
    assert fetch(site.listen, "b.example").body == b"first"


def test_a_name_of_the_configuration_and_of_a_node(site: Site) -> None:
    """One resolver looks it up for both, from the start."""
    _, port = two_nodes(site.servers)
    site.zone.records["app.test", "A"] = ["127.0.0.1"]
    router = site.router(f"fastrouter-fallback = app.test:{port}", "subscription-tolerance = 120")
    announce(site.hears, "a.example", f"app.test:{port}")
    router.wait_for_log(f"a.example => new node: 127.0.0.1:{port}", 15)
    site.zone.records["app.test", "A"] = ["127.0.0.2"]
    router.wait_for_log(f"a.example => new node: 127.0.0.2:{port}", 15)
    wait_until(lambda: site.bodies() == {b"second"}, 15, "it moved")
    assert len([child for child in router.children() if "resolver" in " ".join(child.cmdline())]) == 1


def test_names_survive_a_restart_without_a_name_server(site: Site) -> None:
    _, port = two_nodes(site.servers)
    site.zone.records["app.test", "A"] = ["127.0.0.1"]
    lines = (f"subscription-snapshot = {site.servers.path('nodes')}", "subscription-tolerance = 2")
    router = site.router(*lines)
    announce(site.hears, "a.example", f"app.test:{port}")
    router.wait_for_log("new node", 15)
    assert router.stop() == 0
    site.zone.silent = True
    router = site.router(*lines)
    assert site.bodies() == {b"first"}
    end = time.monotonic() + 4
    while time.monotonic() < end:
        announce(site.hears, "a.example", f"app.test:{port}")
        assert site.bodies(count=1) == {b"first"}, "it announces itself, and its name means what it meant"
        time.sleep(0.25)
    site.zone.silent = False
    site.zone.records["app.test", "A"] = ["127.0.0.2"]
    announce(site.hears, "a.example", f"app.test:{port}")
    wait_until(
        lambda: announce(site.hears, "a.example", f"app.test:{port}") or b"second" in site.bodies(), 30, "it moved"
    )


def test_nonsense_of_a_resolver_is_no_end_of_the_master() -> None:
    """It parses what strangers say, and is told nothing that the master could not do without."""
    names = AnnouncedNames(Lines(), lambda *_: None, lambda *_: None, lambda *_: None)
    generation = Mock(settings=Mock(flag=lambda _: True))
    generation.names.learn.return_value = False
    generation.names.hosts = {}
    generation.duties = []
    names.adopt(generation)
    names.hear(Announce(b"k", parse_peer("app.test:80")), 1.0)
    (duty,) = generation.duties
    for odd in (["hosts"], ["hosts", 5, []], ["hosts", "app.test", "x", "y"], ["hosts", "app.test", [5]]):
        duty.hear(odd)
    assert names.leases.names == {"app.test": ()}
    duty.hear(["hosts", "app.test", ["192.0.2.1"]])
    assert names.leases.names == {"app.test": ("192.0.2.1",)}

"""Host names of nodes: looked up at load, and again when their time to live is over, while requests flow."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import dns.rcode
import psutil
import pytest
from dns.resolver import NoResolverConfiguration

from tests.master.watching import assert_no_failure, load, title, wait_for_serving
from tests.servers import Router, Servers, announce, answer, fetch, free_port, free_udp_port, local, wait_until
from tests.servers.names import NameServer
from tests.servers.node import Node
from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import lookup, names
from uwsgirouter.master.line import Line
from uwsgirouter.master.lookup import TTL_UNKNOWN, Found, Unresolved, addresses, look_up
from uwsgirouter.master.resolver import RETRY_FIRST, RETRY_MOST, Resolver, Schedule
from uwsgirouter.protocol.messages import Message, MessageReader
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""The child that asks at load is forked; here that process has the threads of the tests' servers."""

# -- when a name is due ---------------------------------------------------------------------------------------------


def test_all_names_are_due_at_first_and_each_when_its_time_is_over() -> None:
    schedule = Schedule(["a", "b"], 100.0)
    assert schedule.take(100.0) == ["a", "b"]
    assert schedule.take(100.0) == [], "they are under way"
    assert schedule.patience(100.0) is None
    schedule.answered("a", 30.0, 101.0)
    schedule.answered("b", 5.0, 102.0)
    assert schedule.patience(103.0) == 4.0
    assert schedule.take(106.9) == []
    assert schedule.take(107.0) == ["b"]
    assert schedule.patience(200.0) == 0.0
    assert schedule.take(200.0) == ["a"]


def test_a_failure_is_tried_again_ever_later_and_told_once() -> None:
    schedule = Schedule(["a"], 0.0)
    now, delays = 0.0, []
    for number in range(7):
        assert schedule.take(now) == ["a"]
        assert schedule.failed("a", now) == (number == 0)
        delay = schedule.patience(now)
        assert delay is not None
        delays.append(delay)
        now += delay
    assert delays == [RETRY_FIRST, 10.0, 20.0, 40.0, RETRY_MOST, RETRY_MOST, RETRY_MOST]
    schedule.take(now)
    assert schedule.answered("a", 1.0, now), "it works again"
    schedule.take(now + 1)
    assert not schedule.answered("a", 1.0, now + 1)
    schedule.take(now + 2)
    assert schedule.failed("a", now + 2)
    assert schedule.patience(now + 2) == RETRY_FIRST


# -- one look-up ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[NameServer]:
    """A name server that knows a few names."""
    records = {
        ("app.test", "A"): ["192.0.2.7", "192.0.2.10"],
        ("app.test", "AAAA"): ["2001:db8::1"],
        ("alias.test", "CNAME"): ["app.test"],
        ("four.test", "A"): ["192.0.2.4"],
        ("none.test", "TXT"): ["nothing to connect to"],
        ("loop.test", "CNAME"): ["gone.test"],
    }
    with NameServer(records, ttl=7) as made:
        yield made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "DNS_SECONDS", 0.5)


def test_all_addresses_of_a_name_in_a_fixed_order(server: NameServer) -> None:
    where = parse_peer(server.address)
    assert look_up("app.test", where) == Found(("192.0.2.7", "192.0.2.10", "2001:db8::1"), 7.0)
    server.records["app.test", "A"].reverse()
    assert addresses("app.test", where) == ("192.0.2.7", "192.0.2.10", "2001:db8::1")
    assert look_up("alias.test", where).hosts == ("192.0.2.7", "192.0.2.10", "2001:db8::1")
    assert look_up("four.test", where).hosts == ("192.0.2.4",)


@pytest.mark.parametrize(("ttl", "used"), [(0, 1.0), (1, 1.0), (300, 300.0), (86400, 3600.0)])
def test_a_time_to_live_has_limits(server: NameServer, ttl: int, used: float) -> None:
    server.ttl = ttl
    assert look_up("app.test", parse_peer(server.address)).ttl == used


def test_names_without_an_address(server: NameServer) -> None:
    where = parse_peer(server.address)
    for name, reason in [
        ("nobody.test", "knows no such name"),
        ("none.test", "knows no address for it"),
        ("loop.test", "knows no such name"),
        ("a" * 64 + ".test", "label"),
    ]:
        with pytest.raises(Unresolved, match=reason):
            look_up(name, where)


def test_a_name_server_that_fails_or_is_silent(server: NameServer) -> None:
    server.rcode = dns.rcode.SERVFAIL
    with pytest.raises(Unresolved, match="SERVFAIL"):
        look_up("app.test", parse_peer(server.address))
    server.silent = True
    began = time.monotonic()
    with pytest.raises(Unresolved, match="lifetime expired"):
        look_up("app.test", parse_peer(server.address))
    assert time.monotonic() - began < 5


def test_a_name_of_the_machine_and_no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    def unconfigured() -> None:
        raise NoResolverConfiguration

    monkeypatch.setattr(lookup, "Resolver", unconfigured)
    found = look_up("localhost", None)
    assert "127.0.0.1" in found.hosts
    assert found.ttl == TTL_UNKNOWN


def test_the_systems_name_servers_tell_the_time_to_live(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = lookup._resolver_for(parse_peer(server.address))
    monkeypatch.setattr(lookup, "Resolver", lambda: asking)
    server.records["localhost", "A"] = ["127.0.0.1"]
    assert look_up("localhost", None).ttl == 7.0
    assert ("localhost", "A") in server.questions


@pytest.mark.parametrize("name", ["a" * 70, "a..b", "\u2028"])
def test_what_cannot_be_a_name_is_not_resolved(name: str) -> None:
    with pytest.raises(Unresolved):
        addresses(name, None)


# -- at load --------------------------------------------------------------------------------------------------------


def test_names_are_replaced_by_their_addresses(server: NameServer) -> None:
    settings = Settings.of(
        fastrouter_to=["app.test:3031", "10.0.0.1:1", "/run/app.sock", "alias.test:4000"],
        fastrouter_fallback="four.test:5000",
        fastrouter_emperor_socket="four.test:6000",
        fastrouter_resolver=server.address,
    )
    found = names.resolve(settings)

    def texts(option: str) -> list[str]:
        return [address.text for address in found.addresses(option)]

    assert texts("fastrouter-to") == [
        "192.0.2.7:3031",
        "192.0.2.10:3031",
        "[2001:db8::1]:3031",
        "10.0.0.1:1",
        "/run/app.sock",
        "192.0.2.7:4000",
        "192.0.2.10:4000",
        "[2001:db8::1]:4000",
    ]
    assert texts("fastrouter-fallback") == ["192.0.2.4:5000"]
    assert texts("fastrouter-emperor-socket") == ["192.0.2.4:6000"]


def test_an_error_names_the_place_and_the_name(server: NameServer) -> None:
    settings = Settings.of(fastrouter_to=["app.test:1", "nobody.test:2"], fastrouter_resolver=server.address)
    with pytest.raises(BootError, match=r"^test: fastrouter-to: cannot resolve 'nobody.test': .* no such name$"):
        names.resolve(settings)


def test_nobody_waits_for_ever(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "LOAD_SECONDS", 0.3)
    monkeypatch.setattr(lookup, "DNS_SECONDS", 30.0)
    server.silent = True
    settings = Settings.of(fastrouter_to="app.test:1", fastrouter_resolver=server.address)
    children = {child.pid for child in psutil.Process().children()}
    began = time.monotonic()
    with pytest.raises(BootError, match=r"no answer in 0\.3 seconds"):
        names.resolve(settings)
    assert time.monotonic() - began < 3
    assert {child.pid for child in psutil.Process().children()} == children, "the child that asked is gone"


def test_a_name_that_runs_already_is_not_asked_for_again(server: NameServer) -> None:
    """So that a reload does not depend on a name server that is away just then."""
    settings = Settings.of(fastrouter_to="app.test:1", fastrouter_resolver=server.address)
    before = names.resolve(settings)
    server.silent = True
    after = names.resolve(Settings.of(fastrouter_to="app.test:2", fastrouter_resolver=server.address), before)
    assert after.hosts == before.hosts
    assert [address.port for address in after.addresses("fastrouter-to")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("other.test", ["192.0.2.1"]),
        ("app.test", []),
        ("app.test", ["not an address"]),
        ("app.test", [1]),
        ("app.test", "192.0.2.1"),
        (None, ["192.0.2.1"]),
    ],
)
def test_nonsense_from_the_resolver_is_not_learnt(server: NameServer, name: object, hosts: object) -> None:
    found = names.resolve(Settings.of(fastrouter_to="app.test:1", fastrouter_resolver=server.address))
    before = dict(found.hosts)
    assert not found.learn(name, hosts)
    assert found.hosts == before
    assert not found.learn("app.test", list(before["app.test"])), "no news"
    assert found.learn("app.test", ["192.0.2.99"])
    assert [address.text for address in found.addresses("fastrouter-to")] == ["192.0.2.99:1"]


# -- the process ----------------------------------------------------------------------------------------------------


class Asked:
    """A look-up whose answers a test gives: a Found, or a reason why not."""

    def __init__(self, *answers: Found | str) -> None:
        self.answers = list(answers)
        self.names: list[str] = []

    def __call__(self, name: str) -> Found:
        self.names.append(name)
        given = self.answers.pop(0) if self.answers else Found(("192.0.2.250",), 1000.0)
        if isinstance(given, str):
            raise Unresolved(given)
        return given


class Running:
    """A resolver in a thread, with the master's end of its line."""

    def __init__(self, ask: Asked, hosts: dict[str, names.Hosts], log: Log) -> None:
        self.upper, lower = socket.socketpair()
        self.upper.settimeout(5)
        self._reader = MessageReader()
        self._waiting: list[Message] = []
        self._line = Line(lower)
        self._thread = threading.Thread(target=Resolver(self._line, hosts, ask, log).run, daemon=True)
        self._thread.start()

    def told(self) -> Message:
        while not self._waiting:
            self._waiting += self._reader.feed(self.upper.recv(1 << 16))
        return self._waiting.pop(0)

    def stop(self) -> None:
        """The master is gone: the resolver leaves."""
        self.upper.close()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self._line.close()


class Lines(Log):
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("resolver")
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_only_what_changed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uwsgirouter.master.resolver.RETRY_FIRST", 0.01)
    first, second = ("192.0.2.1",), ("192.0.2.1", "192.0.2.2")
    ask = Asked(Found(first, 0.01), "away", "away", Found(first, 0.01), Found(second, 0.01))
    log = Lines()
    running = Running(ask, {"app.test": first}, log)
    try:
        assert running.told() == ["ready"]
        assert running.told() == ["hosts", "app.test", list(second)]
        assert running.told() == ["hosts", "app.test", ["192.0.2.250"]]
        assert len(ask.names) == 6
        said = [line.partition("] ")[2] for line in log.lines]
        assert said == ["cannot resolve app.test: away; it stays 192.0.2.1", "app.test can be resolved again"]
    finally:
        running.stop()


def test_a_bug_in_a_look_up_does_not_end_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uwsgirouter.master.resolver.RETRY_FIRST", 0.01)

    class Broken(Asked):
        def __call__(self, name: str) -> Found:
            if len(self.names) == 0:
                self.names.append(name)
                raise ZeroDivisionError("what is this")
            return super().__call__(name)

    log = Lines()
    running = Running(Broken(), {"app.test": ("192.0.2.1",)}, log)
    try:
        assert running.told() == ["ready"]
        assert running.told() == ["hosts", "app.test", ["192.0.2.250"]]
        assert "ZeroDivisionError: what is this" in log.lines[0]
    finally:
        running.stop()


def test_a_slow_name_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Slow(Asked):
        def __call__(self, name: str) -> Found:
            if name == "slow.test":
                released.wait(10)
            return super().__call__(name)

    running = Running(Slow(), {"slow.test": ("192.0.2.1",), "fast.test": ("192.0.2.1",)}, Lines())
    try:
        assert running.told() == ["ready"]
        assert running.told() == ["hosts", "fast.test", ["192.0.2.250"]]
        released.set()
        assert running.told() == ["hosts", "slow.test", ["192.0.2.250"]]
    finally:
        released.set()
        running.stop()


# -- whole routers --------------------------------------------------------------------------------------------------


def resolver_of(router: Router) -> int:
    """The pid of the resolver, 0 when there is none."""
    return next((child.pid for child in router.children() if title(child.pid) == "uwsgirouter: resolver"), 0)


@pytest.fixture
def zone() -> Iterator[NameServer]:
    """A name server with a time to live of a second and no names yet."""
    with NameServer({}) as made:
        yield made


def two_nodes(servers: Servers) -> tuple[Node, str]:
    """Nodes at 127.0.0.1 and 127.0.0.2 with one port, as machines have them: the first of them, and the port."""
    first = servers.node(answer(b"first"))
    servers.node(answer(b"second"), first.address.replace("127.0.0.1", "127.0.0.2"))
    return first, first.address.partition(":")[2]


def test_a_name_that_moves_takes_the_requests_along(servers: Servers, zone: NameServer) -> None:
    _, port = two_nodes(servers)
    zone.records["app.test", "A"] = ["127.0.0.1"]
    listen = local()
    lines = [f"fastrouter = {listen}", "fastrouter-processes = 2", f"fastrouter-to = app.test:{port}"]
    router = servers.router(config="\n".join(["[uwsgirouter]", *lines, f"fastrouter-resolver = {zone.address}", ""]))
    wait_for_serving(router, 2)
    with load(listen, rate=200.0) as asked:
        wait_until(lambda: asked.share()[b"first"] > 20, 5, "the first address serves")
        zone.records["app.test", "A"] = ["127.0.0.2"]
        router.wait_for_log("app.test is now 127.0.0.2")
        moved = time.monotonic() + 0.2
        wait_until(lambda: asked.share(moved)[b"second"] > 20, 5, "the second one serves")
        assert set(asked.share(moved)) == {b"second"}
        zone.records["app.test", "A"] = ["127.0.0.2", "127.0.0.1"]
        router.wait_for_log("app.test is now 127.0.0.1, 127.0.0.2")
        both = time.monotonic() + 0.2
        wait_until(lambda: len(asked.share(both)) == 2, 5, "both serve")
        zone.rcode = dns.rcode.SERVFAIL
        router.wait_for_log("cannot resolve app.test")
        still = time.monotonic()
        wait_until(lambda: len(asked.share(still)) == 2, 5, "both serve without a name server")
    assert_no_failure(asked.results)
    assert router.log().count("is now") == 2, "the same addresses in another order are no news"


def test_a_session_under_way_ends_at_the_old_address(servers: Servers, zone: NameServer) -> None:
    first, port = two_nodes(servers)
    zone.records["app.test", "A"] = ["127.0.0.1"]
    go_on = threading.Event()
    plain = first.handler

    begun = threading.Event()

    def slow(connection: object) -> None:
        if not begun.is_set():  # the one under way; a worker that does not know yet may ask here again
            begun.set()
            go_on.wait(20)
        plain(connection)  # type: ignore[arg-type]

    first.handler = slow
    listen = local()
    router = servers.router(
        "--fastrouter", listen, "--fastrouter-to", f"app.test:{port}", "--fastrouter-resolver", zone.address
    )
    with servers.client(listen) as client:
        client.send_packet([(b"HTTP_HOST", b"a")])
        first.wait_for(1)
        zone.records["app.test", "A"] = ["127.0.0.2"]
        router.wait_for_log("app.test is now 127.0.0.2")
        wait_until(lambda: fetch(listen).body == b"second", 5, "the workers know, too")
        go_on.set()
        assert client.reply().body == b"first"


def test_the_resolver_is_replaced_and_goes_with_its_configuration(servers: Servers, zone: NameServer) -> None:
    first, port = two_nodes(servers)
    zone.records["app.test", "A"] = ["127.0.0.1"]
    listen = local()
    head = f"[uwsgirouter]\nfastrouter = {listen}\nfastrouter-resolver = {zone.address}\n"
    router = servers.router(config=f"{head}fastrouter-to = app.test:{port}\n")
    pid = wait_until(lambda: resolver_of(router), 20, "a resolver")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: resolver_of(router) not in (0, pid), 20, "another one")
    zone.records["app.test", "A"] = ["127.0.0.2"]
    router.wait_for_log("app.test is now 127.0.0.2")
    wait_until(lambda: fetch(listen).body == b"second", 5, "the workers know, too")
    zone.silent = True
    router.rewrite(f"{head}fastrouter-to = app.test:{port}\nfastrouter-timeout = 33\n")
    router.hup()
    router.wait_for_log("] reloaded in ")
    assert fetch(listen).body == b"second", "a reload needs no name server for a name that it knows"
    router.rewrite(f"{head}fastrouter-to = {first.address}\n")
    router.hup()
    router.wait_for_log("] reloaded in ", count=2)
    wait_until(lambda: not resolver_of(router), 10, "nothing is left to resolve")
    assert fetch(listen).body == b"first"


def test_names_of_fallback_nodes_and_v6(servers: Servers, zone: NameServer) -> None:
    node = servers.node(answer(b"six"), f"[::1]:{free_port()}")
    port = node.address.rpartition(":")[2]
    zone.records["spare.test", "AAAA"] = ["::1"]
    listen, hears = local(), f"127.0.0.1:{free_udp_port()}"
    lines = [f"fastrouter = {listen}", f"fastrouter-subscription-server = {hears}", "fastrouter-error-pages = true"]
    lines += [f"fastrouter-fallback = spare.test:{port}", f"fastrouter-resolver = {zone.address}"]
    router = servers.router(config="\n".join(["[uwsgirouter]", *lines, ""]))
    announce(hears, "a.example", local())
    router.wait_for_log("new node")
    assert fetch(listen, "a.example").body == b"six"


def test_without_names_nobody_resolves(servers: Servers) -> None:
    node = servers.node(answer(b"served"))
    router = servers.router("--fastrouter", local(), "--fastrouter-to", node.address)
    wait_for_serving(router, 1)
    assert not resolver_of(router)


def test_an_unknown_name_ends_the_start(servers: Servers, zone: NameServer) -> None:
    router = servers.router(
        "--fastrouter",
        local(),
        "--fastrouter-to",
        "nobody.test:1",
        "--fastrouter-resolver",
        zone.address,
        ready=False,
    )
    assert router.wait() == 1
    assert "command line: cannot resolve 'nobody.test': the name server knows no such name" in router.log()

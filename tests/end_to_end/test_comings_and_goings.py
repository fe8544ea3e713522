"""Real uWSGI instances come, reload, pause and go: what they send then, and what the router makes of it.

Each instance announces to the router under test and to a tap, which shows in which order announcements (0) and
unsubscribes (1) were sent. The application is left out: nothing here needs one but where requests are sent.
It is the system's uWSGI: the wheel's cannot reload in a virtual environment, since it executes Python itself then.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Protocol

import pytest

from tests.servers import Router, Servers, UwsgiApp, announce, fetch, free_port, free_udp_port, local, wait_until
from tests.servers.tap import Tap
from uwsgirouter.protocol.subscription import decode_announce
from uwsgirouter.settings.address import parse_peer

APPLICATION = "def application(env, start):\n    start('200 OK', [])\n    return [b'here']\n"
SLOW = 20.0
"""Seconds that a reload of an instance may take on a busy machine."""


class Town:
    """A router and a tap for all instances of this file; each has a key of its own."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.tap = Tap()
        server = f"127.0.0.1:{free_udp_port()}"
        config = f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-subscription-server = {server}\n"
        self.router: Router = servers.router(config=config)

    def options(self, key: str, fields: str = "") -> list[str]:
        """Those by which an instance announces ``key`` to both; ``fields`` end each of its two subscribe2."""
        to = [f"server={server},key={key}{fields}" for server in (self.router.server, self.tap.address)]
        return [part for text in to for part in ("--subscribe2", text)]

    def order(self, key: str) -> list[int]:
        """Whether it came (0) or went (1), one after the other, repetitions counted once."""
        return [command for command, _ in groupby(datagram[3] for datagram in self.tap.of(key))]

    def said(self, key: str) -> list[str]:
        """What the router's log says of its node, in a word each."""
        return re.findall(rf"{re.escape(key)} => (new|removing|draining) node", self.router.log())

    def wait_for(self, key: str, *order: str) -> None:
        """Wait until the router said just that."""
        wait_until(lambda: self.said(key) == list(order), SLOW, f"{key}: {order}")


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    servers = Servers()
    try:
        made = Town(servers)
        yield made
        made.tap.stop()
    finally:
        servers.close()


class Start(Protocol):
    """Starts an instance that announces ``key``."""

    def __call__(self, key: str, *options: str, fields: str = "", socket: str = "127.0.0.1:0") -> UwsgiApp: ...


@pytest.fixture
def start(town: Town, servers: Servers) -> Iterator[Start]:
    """What it starts is killed in the end: an orderly stop of uWSGI takes a second."""
    started: list[UwsgiApp] = []

    def begin(key: str, *options: str, fields: str = "", socket: str = "127.0.0.1:0") -> UwsgiApp:
        announces = town.options(key, fields)
        started.append(servers.uwsgi("--master", "--socket", socket, *announces, *options, system=True))
        return started[-1]

    yield begin
    for app in started:
        app.kill()


def tell(app: UwsgiApp, how: int | str, fifo: str) -> None:
    """A signal, or a letter into its FIFO."""
    if isinstance(how, int):
        app.signal(how)
    else:
        with open(fifo, "w") as pipe:
            pipe.write(how)


STOPS = [(signal.SIGINT, ""), (signal.SIGTERM, "--die-on-term"), (signal.SIGQUIT, ""), ("q", ""), ("Q", "")]
LEAVE = "--unsubscribe-on-graceful-reload"
RELOADS = [
    (signal.SIGHUP, "", False),
    (signal.SIGHUP, LEAVE, True),
    (signal.SIGTERM, "", True),
    (signal.SIGQUIT, "--die-on-term", True),
    ("r", "", False),
    ("r", LEAVE, True),
    ("R", "", True),
]
"""How, with which option, and whether the instance unsubscribes."""


def test_whoever_stops_unsubscribes(town: Town, servers: Servers, start: Start) -> None:
    """All at once, since each takes a second."""
    apps: dict[str, UwsgiApp] = {}
    for number, (how, option) in enumerate(STOPS):
        key, fifo = f"stop-{number}.example", servers.path(f"fifo-{number}")
        apps[key] = start(key, "--master-fifo", fifo, *filter(None, [option]))
        town.wait_for(key, "new")
        tell(apps[key], how, fifo)
    for key, app in apps.items():
        town.wait_for(key, "new", "removing")
        assert f"{key} => removing node: {app.address} (unsubscribed)" in town.router.log()
        app.wait(SLOW)
        assert town.order(key) == [0, 1], key


def test_whoever_reloads_is_back(town: Town, servers: Servers, start: Start) -> None:
    apps: dict[str, UwsgiApp] = {}
    before: dict[str, int] = {}
    for number, (how, option, _) in enumerate(RELOADS):
        key, fifo = f"reload-{number}.example", servers.path(f"fifo-{number}")
        apps[key] = start(key, "--master-fifo", fifo, *filter(None, [option]), socket=local())
        town.wait_for(key, "new")
        before[key] = len(town.tap.of(key, 0))
        tell(apps[key], how, fifo)
    for (key, app), (_, _, leaves) in zip(apps.items(), RELOADS, strict=True):
        app.wait_for_log("spawned uWSGI worker 1", SLOW, count=2)
        town.tap.wait_for(key, before[key] + 1, command=0, deadline=SLOW)
        town.wait_for(key, *(["new", "removing", "new"] if leaves else ["new"]))
        assert town.order(key) == ([0, 1, 0] if leaves else [0]), key


def test_a_reload_on_port_0_is_another_node(town: Town, servers: Servers, start: Start) -> None:
    """The address before it is not unsubscribed: it refuses from then on, and no request ends there."""
    key, app_file = "zero.example", Path(servers.path("app.py"))
    app_file.write_text(APPLICATION)
    app = start(key, "--wsgi-file", str(app_file))
    wait_until(lambda: fetch(town.router.address, key).body == b"here", SLOW, "requests reach it")
    app.signal(signal.SIGHUP)
    town.wait_for(key, "new", "new")
    wait_until(app.heeds_signals, SLOW, "the new worker is ready")
    assert [fetch(town.router.address, key).body for _ in range(8)] == [b"here"] * 8
    town.router.wait_for_log(f"{key} => marking {app.address} as failed (Connection refused)")


def test_a_pause_is_a_leave(town: Town, start: Start) -> None:
    app = start("pause.example")
    town.wait_for("pause.example", "new")
    app.signal(signal.SIGTSTP)
    town.wait_for("pause.example", "new", "removing")
    app.signal(signal.SIGTSTP)
    town.wait_for("pause.example", "new", "removing", "new")


def test_the_rhythm(town: Town, servers: Servers, start: Start) -> None:
    """subscribe-freq, start-unsubscribed, and the file of ``check``: nothing is sent while it is there."""
    maintenance, fifo = Path(servers.path("maintenance")), servers.path("fifo")
    checked = town.options("checked.example", f",check={maintenance}")
    often = start("often.example", *checked, "--subscribe-freq", "1")
    start("seldom.example", "--subscribe-freq", "1000")
    late = start("late.example", "--start-unsubscribed", "--subscribe-freq", "1", "--master-fifo", fifo)
    town.tap.wait_for("checked.example")
    maintenance.touch()
    rounds = len(town.tap.of("often.example"))
    town.tap.wait_for("often.example", rounds + 1)  # the round in which the file came is over
    sent = len(town.tap.of("checked.example"))
    town.tap.wait_for("often.example", rounds + 3)
    assert len(town.tap.of("checked.example")) == sent
    # An instance announces itself when it starts and a second later, and then as often as it is told.
    assert len(town.tap.of("seldom.example")) <= 2
    assert town.said("often.example") == town.said("checked.example") == town.said("seldom.example") == ["new"]
    assert (town.said("late.example"), town.order("late.example")) == ([], [])
    tell(late, "S", fifo)
    town.wait_for("late.example", "new")
    often.signal(signal.SIGINT)
    town.tap.wait_for("often.example", command=1)
    town.wait_for("often.example", "new", "removing")
    assert (town.order("often.example"), town.order("checked.example")) == ([0, 1], [0])


def test_the_acknowledgement_reaches_a_real_instance(servers: Servers, start: Start) -> None:
    app = start("notify.example", "--notify-socket", servers.path("notify"))
    app.wait_for_log(f"[notify-socket] [subscription ack] notify.example => new node: {app.address}", SLOW)


def test_the_acknowledgement_reaches_a_socket_of_its_own(town: Town, servers: Servers, start: Start) -> None:
    with Tap(servers.path("told")) as told:
        named = ("--notify-socket", servers.path("notify"), "--subscription-notify-socket", told.address)
        app = start("told.example", *named)
        wait_until(lambda: told.datagrams, SLOW, "an acknowledgement")
    assert told.datagrams == [f"[subscription ack] told.example => new node: {app.address}".encode()]
    assert "[notify-socket]" not in app.log()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--processes", "2", "--threads", "3"], {"cores": 6, "weight": 1}),
        (["--processes", "2", "--auto-weight", "1"], {"cores": 2, "weight": 2}),
        (["--weight", "7"], {"cores": 1, "weight": 7}),
        (["--subscribe-with-modifier1", "9"], {"modifier1": 9}),
    ],
    ids=["cores", "auto-weight", "weight", "subscribe-with-modifier1"],
)
def test_options_of_the_instance(town: Town, start: Start, options: list[str], expected: dict[str, int]) -> None:
    key = f"options{''.join(options)}.example"
    start(key, *options)
    announced = decode_announce(town.tap.wait_for(key)[0])
    assert {name: getattr(announced, name) for name in expected} == expected
    town.wait_for(key, "new")


def test_addresses_of_the_instance(town: Town, servers: Servers, start: Start) -> None:
    """Whatever it is bound to is announced as it is, and reached; ``0.0.0.0`` and nothing mean the sender's address."""
    Path(servers.path("app.py")).write_text(APPLICATION)
    bound = [
        f"[::1]:{free_port()}",
        f"0.0.0.0:{free_port()}",
        f":{free_port()}",
        servers.path("a"),
        "@" + servers.path("b"),
    ]
    options: list[str] = ["--wsgi-file", servers.path("app.py")]
    for number, address in enumerate(bound, 1):
        options += ["--socket", address, *town.options(f"bound-{number}.example", f",socket={number}")]
    start("bound.example", *options)
    for number, address in enumerate(bound, 1):
        key = f"bound-{number}.example"
        assert decode_announce(town.tap.wait_for(key)[0]).address == parse_peer(address)
        wait_until(lambda key=key: fetch(town.router.address, key).body == b"here", SLOW, f"requests reach {address}")  # type: ignore[misc]


def test_a_node_that_refused_is_back_when_it_announces_itself(town: Town) -> None:
    key, address = "dead.example", local()
    announce(town.router.server, key, address)
    town.wait_for(key, "new")
    wait_until(lambda: fetch(town.router.address, key).status == 502, SLOW, "it is tried")
    town.router.wait_for_log(f"{key} => marking {address} as failed")
    announce(town.router.server, key, address)
    town.router.wait_for_log(f"{key} => node is back: {address}")


SLOWLY = "import time\ndef application(env, start):\n    time.sleep(1)\n    start('200 OK', [])\n    return [b'done']\n"


@pytest.mark.parametrize(("how", "back"), [("q", False), ("p", True)], ids=["stops", "pauses and resumes"])
def test_who_leaves_ends_its_requests(town: Town, servers: Servers, start: Start, how: str, back: bool) -> None:
    """The node drains; one that is back before that is up at once."""
    key, fifo = f"slow-{how}.example", servers.path("fifo")
    Path(servers.path("app.py")).write_text(SLOWLY)
    app = start(key, "--wsgi-file", servers.path("app.py"), "--master-fifo", fifo)
    town.wait_for(key, "new")
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(fetch, town.router.address, key)
        wait_until(lambda: "1 in flight" in stats(town.router), SLOW, "the request is under way")
        tell(app, how, fifo)
        town.wait_for(key, "new", "draining")
        if back:
            tell(app, how, fifo)
            town.router.wait_for_log(f"{key} => node is back: {app.address}", SLOW)
        assert request.result(SLOW).body == b"done"
    if not back:
        town.wait_for(key, "new", "draining", "removing")
        assert f"{key} => removing node: {app.address} (drained)" in town.router.log()


def stats(router: Router) -> str:
    """The router's line about itself."""
    before = router.log().count("] stats: ")
    router.signal(signal.SIGUSR1)
    return router.wait_for_log("] stats: ", SLOW, before + 1).rpartition("] stats: ")[2]

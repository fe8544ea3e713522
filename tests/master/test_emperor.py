"""Vassals on demand: the command to the Emperor, and what the master does with inactive nodes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.master.watching import wait_for_serving
from tests.servers import Servers, announce, answer, fetch, free_udp_port, local, wait_until
from tests.servers import emperor as scripted
from tests.servers.wire import UNSUBSCRIBE
from tests.worker.patched import patched_router
from uwsgirouter.log import Log
from uwsgirouter.master.emperor import AGAIN, Emperor
from uwsgirouter.settings.address import parse_peer


class Lines(Log):
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("master")
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text.partition("] ")[2])


def made(log: Log, address: str | None) -> Emperor:
    emperor = Emperor(log)
    emperor.address = parse_peer(address) if address else None
    return emperor


@pytest.fixture
def log() -> Lines:
    return Lines()


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["127.0.0.1:0", "[::1]:{port}", "/emperor.sock", "@uwsgirouter-emperor-{port}"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[scripted.Emperor]:
    """A command socket of each kind."""
    address = request.param.format(port=free_udp_port())
    with scripted.Emperor(f"{tmp_path}{address}" if address.startswith("/") else address) as emperor:
        yield emperor


def test_one_datagram_has_a_vassal_started(listening: scripted.Emperor, log: Lines) -> None:
    emperor = made(log, listening.address)
    assert emperor.spawn(b"one.ini", b"example.com", 100.0)
    assert listening.wait_for(1) == ["one.ini"]
    assert log.lines == [f"asked the Emperor at {listening.address} to start vassal one.ini for example.com"]


def test_a_vassal_is_asked_for_once_in_a_while(listening: scripted.Emperor, log: Lines) -> None:
    emperor = made(log, listening.address)
    assert emperor.spawn(b"one.ini", b"a", 100.0)
    assert not emperor.spawn(b"one.ini", b"a", 100.0)
    assert not emperor.spawn(b"one.ini", b"b", 100.0 + AGAIN - 0.01)
    assert emperor.spawn(b"two.ini", b"b", 100.1), "another one need not wait for it"
    emperor.tick(101.0)
    assert not emperor.spawn(b"one.ini", b"a", 101.0)
    assert emperor.spawn(b"one.ini", b"a", 100.0 + AGAIN)
    emperor.tick(200.0)
    assert emperor.spawn(b"two.ini", b"a", 200.0)
    emperor.started(b"two.ini")
    assert emperor.spawn(b"two.ini", b"a", 200.1), "it ran, and has stopped again"
    assert listening.wait_for(5) == ["one.ini", "two.ini", "one.ini", "two.ini", "two.ini"]


def test_without_an_emperor_the_log_says_so(log: Lines) -> None:
    assert not made(log, None).spawn(b"one.ini", b"example.com", 100.0)
    assert log.lines == [
        "cannot have vassal one.ini for example.com started: no fastrouter-emperor-socket is configured"
    ]


@pytest.mark.parametrize("there", [False, True])
def test_an_emperor_that_is_away_is_told_of_at_a_bounded_rate(there: bool, tmp_path: Path, log: Lines) -> None:
    path = f"{tmp_path}/emperor.sock"
    if there:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(path)
    emperor = made(log, path)
    for number in range(1000):
        assert not emperor.spawn(b"%d.ini" % number, b"k", 100.0 + number / 1000)
    reason = "Connection refused" if there else "No such file or directory"
    assert len(log.lines) == 5
    assert set(log.lines) == {
        f"cannot have vassal {number}.ini for k started: the Emperor at {path}: {reason}" for number in range(5)
    }
    emperor.tick(102.0)
    assert log.lines[5:] == ["995 more lines of this sort were suppressed"]


def test_an_emperor_that_reads_nothing_holds_up_nobody(tmp_path: Path, log: Lines) -> None:
    """The kernel's queue of its socket is full: the command is lost, and sent again later."""
    path = f"{tmp_path}/emperor.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(path)
        emperor = made(log, path)
        sent = sum(emperor.spawn(b"%d.ini" % number, b"k", 1000.0 + number) for number in range(2000))
        assert 0 < sent < 2000
        assert "Resource temporarily unavailable" in log.lines[-1]


def test_a_name_cannot_forge_a_line(log: Lines) -> None:
    made(log, None).spawn(b"one\n[uwsgirouter] two", b"a\nb", 1.0)
    (line,) = log.lines
    assert line.isprintable()


# -- the master -----------------------------------------------------------------------------------------------------

WAKING = """
import uwsgirouter.worker.main as main
from uwsgirouter.model.node import State
def changed(self, original=main.Worker.nodes_changed):
    original(self)
    self.uplink.send("wake", 4711)
    for node in self.table.nodes.values():
        if node.state is State.INACTIVE:
            self.uplink.send("wake", node.id)
            self.uplink.send("wake", node.id)
main.Worker.nodes_changed = changed
"""
"""Each worker asks at once for whatever sleeps (and for a node that nobody knows)."""


def test_a_vassal_comes_and_goes(servers: Servers) -> None:
    """Two workers want it: the Emperor is told once, when it is announced and when it has stopped."""
    node = servers.node(answer(b"vassal"))
    listen, server = local(), f"127.0.0.1:{free_udp_port()}"
    with scripted.Emperor(servers.path("emperor.sock")) as emperor:
        lines = [f"fastrouter = {listen}", f"fastrouter-subscription-server = {server}", "fastrouter-processes = 2"]
        lines += [f"fastrouter-emperor-socket = {emperor.address}", "fastrouter-defer-connect-timeout = 0"]
        config = "\n".join(["[uwsgirouter]", *lines, ""])
        router = patched_router(servers, WAKING, config=config)
        wait_for_serving(router, 2)
        announce(server, "example.com", "", extra={"vassal": "one.ini"})
        router.wait_for_log("example.com => new vassal node: one.ini (no address yet)")
        assert emperor.wait_for(1) == ["one.ini"]
        announce(server, "example.com", node.address, extra={"vassal": "one.ini"})
        router.wait_for_log(f"example.com => vassal is running: one.ini at {node.address}")
        wait_until(lambda: fetch(listen, "example.com").status == 200, 5, "the workers know")
        assert fetch(listen, "example.com").body == b"vassal"
        assert len(emperor.spawned) == 1
        announce(server, "example.com", node.address, UNSUBSCRIBE)
        router.wait_for_log(f"example.com => vassal stopped: one.ini ({node.address}); it is started when it is needed")
        assert emperor.wait_for(2) == ["one.ini", "one.ini"]
        assert fetch(listen, "example.com").status == 503
        announce(server, "example.com", "", UNSUBSCRIBE, extra={"vassal": "one.ini"})
        router.wait_for_log(f"example.com => removing node: {node.address} (unsubscribed)")

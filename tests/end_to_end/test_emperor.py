"""Vassals on demand behind the router: an Emperor that listens for them, and one that the router tells whom to start.

The first is uWSGI's own. No packaged uWSGI has the command socket of the second (``emperor-command-socket`` is of 2.1),
so that Emperor is scripted (tests/servers/emperor.py); the vassals that it starts are real.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.master.watching import assert_no_failure, load
from tests.servers import (
    Client,
    Process,
    Router,
    Servers,
    announce,
    answer,
    fetch,
    free_udp_port,
    get,
    is_listening,
    local,
    wait_until,
)
from tests.servers.emperor import Emperor
from tests.servers.programs import program, uwsgi_command
from tests.servers.wire import UNSUBSCRIBE

KEY = "example.com"
VASSAL = "example.com.ini"


class Court:
    """conf/emperor/ with this test's addresses: a router, and what its Emperor needs."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.servers = servers
        self.directory = servers.directory
        self.listen = local()
        self.server = f"127.0.0.1:{free_udp_port()}"
        conf = project / "conf" / "emperor"
        for path in sorted(conf.rglob("*")):
            copy = self.directory / path.relative_to(conf)
            if path.is_dir():
                copy.mkdir()
            else:
                copy.write_text(self.filled(path.read_text()))

    def filled(self, text: str) -> str:
        text = text.replace("/run/uwsgirouter", str(self.directory))
        return text.replace("127.0.0.1:3017", self.listen).replace("127.0.0.1:2626", self.server)

    def router(self, name: str, *lines: str) -> Router:
        config = (self.directory / name).read_text()
        return self.servers.router(config="\n".join([config, *lines, ""]))

    def stand_by(self, router: Router, address: str = "") -> None:
        """Announce the vassal as inactive, until every worker knows (they know all there is when they start)."""
        announce(self.server, KEY, address, extra={"vassal": VASSAL, "inactive": 1})
        router.wait_for_log(f"new vassal node: {VASSAL}")
        router.hup()
        router.wait_for_log("] reloaded in ")

    def fetch(self) -> bytes:
        return fetch(self.listen, KEY).body


@pytest.fixture
def court(servers: Servers, project: Path) -> Court:
    return Court(servers, project)


# -- a real Emperor -------------------------------------------------------------------------------------------------


def test_a_real_emperor_starts_a_vassal_with_its_first_request(court: Court) -> None:
    emperor = court.servers.process(
        *uwsgi_command(),
        "--ini",
        f"{court.directory}/emperor.ini",
        "--emperor-wrapper",
        program("uwsgi"),
        "--die-on-term",
    )
    wait_until(lambda: is_listening(f"{court.directory}/{KEY}.socket"), 10, "the Emperor listens for its vassal")
    court.router("router.ini")
    assert "spawned uWSGI worker" not in emperor.log()
    assert court.fetch() == b"Hello from example.com\n"
    emperor.wait_for_log("spawned uWSGI worker")
    assert court.fetch() == b"Hello from example.com\n"
    assert fetch(court.listen, "nobody.example").status == 502


# -- an Emperor that is told ----------------------------------------------------------------------------------------


class Vassal:
    """A real uWSGI that announces itself, started in the Emperor's name."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self.processes: list[Process] = []

    def start(self, vassal: str) -> None:
        """What the Emperor does for a spawn command: nothing when the vassal runs."""
        if any(process.running for process in self.processes):
            return
        config = self._court.directory / "vassals" / vassal
        subscribe = f"{self._court.server}:{KEY}"
        arguments = ["--ini", str(config), "--socket", "127.0.0.1:0", "--subscribe-to", subscribe, "--die-on-term"]
        self.processes.append(self._court.servers.process(*uwsgi_command(), *arguments))

    def stop(self) -> None:
        self.processes[-1].stop()


def test_the_first_request_starts_the_vassal_and_is_served_by_it(court: Court) -> None:
    """The tutorial's example: it is announced as inactive, started, stopped, and started again."""
    vassal = Vassal(court)
    with Emperor(f"{court.directory}/emperor.socket", vassal.start) as emperor:
        router = court.router("wait-for-command.ini", "fastrouter-processes = 2")
        court.stand_by(router)
        assert not vassal.processes
        assert court.fetch() == b"Hello from example.com\n"
        assert emperor.spawned[0] == VASSAL
        assert len(vassal.processes) == 1
        assert court.fetch() == b"Hello from example.com\n"
        vassal.stop()
        router.wait_for_log("removing node")
        assert court.fetch() == b"Hello from example.com\n"
        assert len(vassal.processes) == 2
        vassal.stop()


def test_many_wait_and_all_are_served(court: Court) -> None:
    """Requests with bodies too; the Emperor is told a few times, not once for each of them."""
    node = court.servers.node(answer(b"vassal"))
    told = threading.Event()

    def start(vassal: str) -> None:
        told.set()

    with Emperor(f"{court.directory}/emperor.socket", start) as emperor:
        router = court.router("wait-for-command.ini", "fastrouter-processes = 2")
        court.stand_by(router, node.address)
        with load(court.listen, KEY, rate=50.0, threads=40) as asked:
            assert told.wait(5)
            time.sleep(1.0)  # nothing can be seen of requests that wait, and some shall have waited
            assert not asked.results
            announce(court.server, KEY, node.address, extra={"vassal": VASSAL})
            wait_until(lambda: len(asked.results) > 60, 10, "all are served")
        assert_no_failure(asked.results)
        assert max(result.latency for result in asked.results) > 0.9
        assert len(emperor.spawned) <= 2
        announce(court.server, KEY, node.address, UNSUBSCRIBE)
        router.wait_for_log(f"vassal stopped: {VASSAL}")


def test_one_that_does_not_come_up_is_waited_for_and_then_503(court: Court) -> None:
    """A client that leaves meanwhile is let go; the Emperor is told again and again."""
    with Emperor(f"{court.directory}/emperor.socket") as emperor:
        router = court.router("wait-for-command.ini", "fastrouter-defer-connect-timeout = 4")
        court.stand_by(router)
        with Client(court.listen) as gone:
            gone.send_packet(get(KEY))
            emperor.wait_for(1)
        began = time.monotonic()
        reply = fetch(court.listen, KEY)
        assert reply.status == 503
        assert reply.header("retry-after")
        assert 3.0 < time.monotonic() - began < 7.0
        assert 2 <= len(emperor.spawned) <= 4, "again, but not all the time"


def test_with_no_patience_the_vassal_is_started_for_the_next_request(court: Court) -> None:
    with Emperor(f"{court.directory}/emperor.socket") as emperor:
        router = court.router("wait-for-command.ini", "fastrouter-defer-connect-timeout = 0")
        court.stand_by(router)
        assert fetch(court.listen, KEY).status == 503
        assert emperor.wait_for(1) == [VASSAL]


def test_a_vassal_that_was_killed_is_waited_for(court: Court) -> None:
    """Its node refuses: the request that finds out waits for the next one, at the same address or another."""
    vassal = Vassal(court)
    with Emperor(f"{court.directory}/emperor.socket", vassal.start) as emperor:
        router = court.router("wait-for-command.ini")
        court.stand_by(router)
        assert court.fetch() == b"Hello from example.com\n"
        vassal.processes[-1].kill()
        assert court.fetch() == b"Hello from example.com\n"
        assert "marking" in router.log()
        assert len(emperor.spawned) >= 2
        vassal.stop()
        node = court.servers.node(answer(b"at last"))
        announce(court.server, KEY, node.address, extra={"vassal": VASSAL})
        wait_until(lambda: court.fetch() == b"at last", 5, "another vassal of that name")
        node.refuse()
        with Client(court.listen) as client:
            client.send_packet(get(KEY))
            router.wait_for_log("marking", count=2)
            node.accept_again()
            announce(court.server, KEY, node.address, extra={"vassal": VASSAL})
            assert client.reply().body == b"at last"


def test_another_node_that_is_up_needs_no_vassal(court: Court) -> None:
    node = court.servers.node(answer(b"other"))
    with Emperor(f"{court.directory}/emperor.socket") as emperor:
        router = court.router("wait-for-command.ini")
        announce(court.server, KEY, "", extra={"vassal": VASSAL})
        announce(court.server, KEY, node.address)
        router.wait_for_log("new node")
        wait_until(lambda: fetch(court.listen, KEY).body == b"other", 5, "the worker knows")
        assert {court.fetch() for _ in range(10)} == {b"other"}
        assert not emperor.spawned

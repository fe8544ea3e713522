"""USR2: another version is installed below a running router and takes over, or the running one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.master.versions import Installation
from tests.master.watching import assert_no_failure, load, wait_for_serving, workers
from tests.servers import (
    Client,
    Connection,
    Node,
    Servers,
    announce,
    answer,
    fetch,
    free_udp_port,
    get,
    local,
    wait_until,
)
from tests.servers.process import alive_in_session
from tests.servers.programs import environment
from tests.worker.patched import patched_router

DEADLINE = 30.0


class Site:
    """A router of version 1 with two workers; it hears announcements."""

    def __init__(self, servers: Servers, *lines: str, version: str = "1.0.0", **env: str) -> None:
        self.servers = servers
        self.installation = Installation(servers, version)
        self.address, self.server = local(), f"127.0.0.1:{free_udp_port()}"
        self.pidfile = servers.directory / f"{self.installation.root.name}.pid"
        self.control = servers.path(f"{self.installation.root.name}.ctl")
        self.lines = [
            f"fastrouter = {self.address}",
            f"fastrouter-subscription-server = {self.server}",
            "fastrouter-processes = 2",
            "subscription-tolerance = 600",
            f"pidfile = {self.pidfile}",
            f"control-socket = {self.control}",
            *lines,
        ]
        self.router = self.installation.router(config=self.text(), **env)
        self.workers = wait_for_serving(self.router, 2, DEADLINE)

    def text(self, *lines: str) -> str:
        return "\n".join(["[uwsgirouter]", *self.lines, *lines, ""])

    def announced(self, key: str, body: bytes = b"served") -> Node:
        node = self.servers.node(answer(body))
        self.announce(key, node)
        return node

    def announce(self, key: str, node: Node) -> None:
        before = self.router.log().count(f"{key} => new node: {node.address}")
        announce(self.server, key, node.address)
        self.router.wait_for_log(f"{key} => new node: {node.address}", DEADLINE, before + 1)

    def usr2(self) -> None:
        self.router.signal(signal.SIGUSR2)

    def wait(self, text: str, count: int = 1) -> str:
        return self.router.wait_for_log(text, DEADLINE, count)

    def count(self, text: str) -> int:
        return self.router.log().count(text)

    def upgrade(self, version: str) -> None:
        """Install it and have it take over."""
        self.installation.install(version)
        before, old = self.count("] upgraded from version"), set(self.workers)
        self.usr2()
        self.wait("] upgraded from version", before + 1)
        self.workers = wait_for_serving(self.router, 2, DEADLINE)
        assert old.isdisjoint(self.workers)

    def fail(self, reason: str) -> str:
        """USR2, and what is installed must not take over; the log since then."""
        before = self.router.log()
        with load(self.address, rate=100, threads=4) as asked:
            self.usr2()
            self.wait("goes on", before.count("goes on") + 1)
        log = self.router.log()[len(before) :]
        assert f"upgrade failed: {reason}" in log, log
        assert wait_for_serving(self.router, 2, DEADLINE) == self.workers
        assert_no_failure(asked.results)
        return log


@pytest.fixture(scope="module")
def site(started: Servers) -> Site:
    """One router for most tests of this module; each leaves a whole version there."""
    site = Site(started)
    site.announced("a.example")
    return site


def command(site: Site, *args: str) -> str:
    argv = [sys.executable, "-m", "uwsgirouter.control", *args, "--control", site.control]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, env={**os.environ, **environment({})})
    assert done.returncode == 0, done.stderr
    return done.stdout


def stats(site: Site) -> dict[str, int]:
    """The numbers of USR1's line."""
    before = site.count("] stats: ")
    site.router.signal(signal.SIGUSR1)
    line = site.wait("] stats: ", before + 1).rpartition("] stats: ")[2].splitlines()[0]
    words = line.replace(";", ",").split(", ")
    return {word.split(" ", 1)[1]: int(word.split(" ")[0]) for word in words if word.split(" ")[0].isdigit()}


def test_the_new_version_takes_over_under_load(site: Site) -> None:
    """The same process, sockets, registry, operators' words and counters; nothing fails."""
    go_on = threading.Event()

    def slow(connection: Connection) -> None:
        connection.read_packet()
        go_on.wait(60)
        connection.answer(b"slow")

    slow_node = site.servers.node(slow)
    site.announce("slow.example", slow_node)
    out = site.announced("b.example", b"out")
    site.announced("b.example", b"in")
    command(site, "drain", "b.example", out.address)
    wait_until(lambda: {fetch(site.address, "b.example").body for _ in range(6)} == {b"in"}, DEADLINE, "drained")
    before = stats(site)
    with Client(site.address, 60.0) as client, load(site.address) as asked:
        client.send_packet(get("slow.example"))
        slow_node.wait_for(1)
        wait_until(lambda: len(asked.results) > 50, DEADLINE, "the load runs")
        old = set(site.workers)
        site.installation.install("2.0.0")
        site.usr2()
        site.wait("] upgraded from version 1.0.0 to 2.0.0")
        many = len(asked.results) + 50
        wait_until(lambda: len(asked.results) > many, DEADLINE, "the load goes on")
        wait_until(lambda: len(old & set(workers(site.router))) == 1, DEADLINE, "the worker of the slow one is left")
        assert "drained by an operator" in command(site, "nodes")
        assert stats(site)["in flight"] >= 1, "what old workers have under way still counts"
        go_on.set()
        assert client.reply().body == b"slow"
    assert_no_failure(asked.results)
    site.workers = wait_for_serving(site.router, 2, DEADLINE)
    assert old.isdisjoint(site.workers)
    assert "*** uwsgirouter 2.0.0 " in site.router.log()
    assert site.pidfile.read_text() == f"{site.router.pid}\n"
    assert {fetch(site.address, "b.example").body for _ in range(6)} == {b"in"}, "an operator's word is kept"
    after = stats(site)
    assert after["nodes"] == before["nodes"]
    assert after["requests"] >= before["requests"] + len(asked.results)
    new = site.announced("c.example", b"new")
    # The subscription server is the same socket.
    wait_until(lambda: fetch(site.address, "c.example").body == b"new", DEADLINE, f"the new node {new.address} serves")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"worker__session": "def broken(:"}, "SyntaxError: "),
        ({"worker__main": "import no_such_module_anywhere"}, "ModuleNotFoundError: "),
        ({"worker__main": "raise RuntimeError('boom')"}, "RuntimeError: boom"),
        (
            {"worker__main": "def _broken(self, post): raise OSError('no luck')\nWorker.__init__ = _broken"},
            "its worker exited with 3 before it was ready",
        ),
        ({"worker__main": "Worker.begin = lambda self, number: os.kill(os.getpid(), 11)\nimport os"}, "its worker was"),
        ({"master__handover": "VERSION = 7"}, "the running router hands over in version 1, and this one understands 7"),
    ],
    ids=["syntax", "import", "raises", "worker", "crash", "handover"],
)
def test_a_version_that_cannot_start_leaves_the_old_one_serving(
    site: Site, changes: dict[str, str], reason: str
) -> None:
    site.installation.install("5.0.0", **changes)
    log = site.fail(reason)
    assert "SIGUSR2: trying the installed version" in log
    assert not [child for child in site.router.children() if "trial" in " ".join(child.cmdline())]
    site.installation.install("6.0.0")


def test_a_hanging_import_is_given_up(site: Site) -> None:
    site.router.rewrite(site.text("upgrade-timeout = 2"))
    reloaded = site.count("] reloaded in ")
    site.router.hup()
    site.wait("] reloaded in ", reloaded + 1)
    site.workers = wait_for_serving(site.router, 2, DEADLINE)
    site.installation.install("5.0.0", worker__main="import time; time.sleep(1000)")
    site.fail("its trial was not done in 2 seconds (upgrade-timeout)")
    site.router.rewrite(site.text())
    site.router.hup()
    site.wait("] reloaded in ", reloaded + 2)
    site.workers = wait_for_serving(site.router, 2, DEADLINE)
    site.installation.install("6.0.0")


def test_a_configuration_that_cannot_be_used_stops_an_upgrade(site: Site) -> None:
    site.router.rewrite(site.text("fastrouter-tiemout = 3"))
    assert "fastrouter-tiemout" in site.fail("")
    site.router.rewrite(site.text())


def test_workers_that_cannot_start_after_all_leave_the_old_ones_serving(site: Site) -> None:
    """They boot in the trial, where they have no listeners."""
    code = "_init = Worker.__init__\ndef _broken(self, post):\n    _init(self, post)\n    assert not post.listeners\n"
    site.installation.install("5.1.0", worker__main=code + "Worker.__init__ = _broken")
    aborted = site.count("reload failed: the old configuration stays in use")
    with load(site.address, rate=100, threads=4) as asked:
        site.usr2()
        site.wait("reload failed: the old configuration stays in use", aborted + 1)
        assert "*** uwsgirouter 5.1.0" in site.router.log()
        assert wait_for_serving(site.router, 2, DEADLINE) == site.workers
        new = site.servers.node(answer(b"told"))
        site.announce("d.example", new)
        wait_until(lambda: fetch(site.address, "d.example").body == b"told", DEADLINE, "they hear of changes")
        site.upgrade("6.1.0")
    assert_no_failure(asked.results)


def test_workers_of_another_protocol_go_on_until_they_are_replaced(site: Site) -> None:
    """What cannot be told them they do not hear; they leave by a signal."""
    site.installation.install("7.0.0", protocol__messages="PROTOCOL = 99", model__counters="NODE_COLUMNS = 60000")
    with load(site.address, rate=100, threads=4) as asked:
        old = set(site.workers)
        before = site.count("] upgraded from version")
        site.usr2()
        site.wait("] upgraded from version", before + 1)
        site.workers = wait_for_serving(site.router, 2, DEADLINE)
        assert old.isdisjoint(site.workers)
        site.upgrade("8.0.0")
    assert_no_failure(asked.results)


def test_a_reload_that_is_asked_for_during_the_trial(site: Site) -> None:
    """It is contained in the upgrade; after a trial that failed it is done."""
    site.installation.install("9.0.0", worker__main="import time; time.sleep(1)")
    before = site.count("] reloaded in ")
    with load(site.address, rate=100, threads=4) as asked:
        site.usr2()
        for _ in range(3):
            time.sleep(0.05)
            site.router.hup()
        site.wait("to 9.0.0")
        assert site.count("] reloaded in ") == before + 1
        site.workers = wait_for_serving(site.router, 2, DEADLINE)
        site.installation.install("9.1.0", worker__main="import time; time.sleep(1); raise OSError")
        site.usr2()
        site.wait("SIGUSR2: trying", site.count("SIGUSR2: trying"))
        site.router.hup()
        site.wait("version 9.0.0 goes on")
        site.wait("] reloaded in ", before + 2)
    assert_no_failure(asked.results)
    site.installation.install("9.2.0")
    site.workers = wait_for_serving(site.router, 2, DEADLINE)


def test_an_upgrade_that_is_asked_for_during_a_reload(site: Site) -> None:
    before, reloads = site.count("] upgraded from version"), site.count("] reloaded in ")
    with load(site.address, rate=100, threads=4) as asked:
        site.router.hup()
        site.usr2()
        site.wait("] upgraded from version", before + 1)
    assert site.count("] reloaded in ") - reloads in (1, 2), "the HUP may have come after the USR2"
    assert_no_failure(asked.results)
    site.workers = wait_for_serving(site.router, 2, DEADLINE)


CANNOT_EXECUTE = """
original = os.execve
def execve(path, argv, env):
    if "UWSGIROUTER_HANDOVER" in env:
        raise OSError(8, "Exec format error")
    return original(path, argv, env)
os.execve = execve
"""


def test_a_program_that_cannot_be_executed_after_all(servers: Servers) -> None:
    """The old one has what it had: descriptors, directory, signals."""
    address = local()
    node = servers.node(answer(b"served"))
    config = f"[uwsgirouter]\nfastrouter = {address}\nfastrouter-to = {node.address}\n"
    router = patched_router(servers, CANNOT_EXECUTE, config=config)
    old = wait_for_serving(router, 1, DEADLINE)
    router.wait_ready(lambda: fetch(address).body == b"served")
    descriptors, cwd = len(os.listdir(f"/proc/{router.pid}/fd")), psutil.Process(router.pid).cwd()
    for number in (1, 2):
        router.signal(signal.SIGUSR2)
        router.wait_for_log("upgrade failed: it cannot be executed: Exec format error", DEADLINE, number)
    assert wait_for_serving(router, 1, DEADLINE) == old
    assert len(os.listdir(f"/proc/{router.pid}/fd")) == descriptors
    assert psutil.Process(router.pid).cwd() == cwd
    router.hup()
    router.wait_for_log("] reloaded in ", DEADLINE)
    new = wait_for_serving(router, 1, DEADLINE)
    assert fetch(address).body == b"served"
    inherited = Path(f"/proc/{new[0]}/fd")
    assert not [name for name in os.listdir(inherited) if "handover" in os.readlink(inherited / name)]


@pytest.fixture
def other(servers: Servers) -> Iterator[Site]:
    """A router that a test may end."""
    site = Site(servers)
    site.installation.install("2.0.0", worker__main="import time; time.sleep(1000)")
    site.usr2()
    site.wait("SIGUSR2: trying the installed version")
    yield site


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_trial(other: Site, number: int) -> None:
    other.router.signal(number)
    assert other.router.wait(DEADLINE) == 0
    assert not alive_in_session(other.router.pid)
    assert "goodbye to uwsgirouter." in other.router.log()


def test_a_master_that_is_killed_during_the_trial_leaves_nothing(other: Site) -> None:
    os.kill(other.router.pid, signal.SIGKILL)
    other.router.wait(DEADLINE)
    wait_until(lambda: not alive_in_session(other.router.pid), DEADLINE, "nothing is left")


def test_a_trial_that_is_killed(other: Site) -> None:

    def trial() -> list[psutil.Process]:
        children = psutil.Process(other.router.pid).children()
        return [child for child in children if child.pid not in other.workers]

    wait_until(trial, DEADLINE, "a trial")[0].kill()
    other.wait("version 1.0.0 goes on")
    assert wait_for_serving(other.router, 2, DEADLINE) == other.workers


def test_a_stop_right_after_the_replacement(servers: Servers) -> None:
    """It reaches whichever program is there; both end well."""
    site = Site(servers)
    site.usr2()
    site.wait("it takes over")
    site.router.signal(signal.SIGTERM)
    assert site.router.wait(DEADLINE) == 0
    assert not alive_in_session(site.router.pid)

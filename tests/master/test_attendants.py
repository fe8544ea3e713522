"""Attendants: what workers rely on is there before they start, and lives and dies with its generation."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.master.watching import assert_no_failure, load, sockets, title, wait_for_serving, workers
from tests.servers import Router, Servers, answer, fetch, local, wait_until
from tests.servers.process import alive_in_session
from tests.worker.patched import patched_router

DUTY = """
import os, signal, socket, sys, time
import uwsgirouter.master.reload
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.line import execute
from uwsgirouter.errors import BootError

def attend(line):
    time.sleep(0.3)
    print("attending", flush=True)
    line.ready()
    line.tell("greeting", os.getpid())
    line.keep()
    return 0

def broken(line):
    raise ValueError("what is this")

def single(line):
    return 0

def silent(line):
    time.sleep(60)

def stubborn(line):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line.ready()
    time.sleep(60)

PROGRAM = '''
import os, subprocess, sys, time
from uwsgirouter.protocol.messages import encode_message
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
os.write(3, encode_message("ready"))
time.sleep(60)
'''

SLOW = '''
import os, signal, time
from uwsgirouter.protocol.messages import encode_message
time.sleep(0.5)
signal.signal(signal.SIGUSR1, lambda *_: os.write(2, b"opening the log again"))
os.write(3, encode_message("ready"))
while True: time.sleep(60)
'''

def slow(line):
    execute([sys.executable, "-c", SLOW], dict(os.environ), [line.fileno()])

def program(line):
    execute([sys.executable, "-c", PROGRAM], dict(os.environ, MARK="program"), [line.fileno()])

def hear(message):
    os.write(2, f"heard {message}\\n".encode())

KINDS = {
    "attend": dict(body=attend, hear=hear), "broken": dict(body=broken), "single": dict(body=single, lasting=False),
    "silent": dict(body=silent, ready_within=0.5), "stubborn": dict(body=stubborn, mercy=0.3),
    "program": dict(body=program, program=True), "slow": dict(body=slow, program=True),
}
def duties_of(settings, *more):
    names = settings.texts("touch-reload")
    return [Duty(name=os.path.basename(name), **KINDS[os.path.basename(name)]) for name in names]
uwsgirouter.master.reload.duties_of = duties_of
"""
"""The duties are named by touch-reload, which takes any text and does nothing for a file that is not there."""


class House:
    """A router with one static node and the attendants that a test asks for."""

    def __init__(self, servers: Servers, *attendants: str, more: str = "", ready: bool = True) -> None:
        node = servers.node(answer(b"served"))
        self.servers = servers
        self.address = local()
        self.head = f"[uwsgirouter]\nfastrouter = {self.address}\nfastrouter-to = {node.address}\n{more}"
        self.router: Router = patched_router(servers, DUTY, config=self.text(*attendants), ready=ready)

    def text(self, *attendants: str) -> str:
        return self.head + "".join(f"touch-reload = /nowhere/{name}\n" for name in attendants)

    def pids(self, name: str) -> list[int]:
        """The attendants with this title."""
        children = psutil.Process(self.router.pid).children()
        return [child.pid for child in children if title(child.pid) == f"uwsgirouter: {name}"]

    def pid(self, name: str) -> int:
        """The only one."""
        return wait_until(lambda: self.pids(name) if len(self.pids(name)) == 1 else [], 5, f"one {name}")[0]

    def hup(self, *attendants: str, until: str = "] reloaded in ") -> None:
        before = self.router.log().count(until)
        self.router.rewrite(self.text(*attendants))
        self.router.hup()
        self.router.wait_for_log(until, count=before + 1)


@pytest.fixture
def servers(started: Servers) -> Servers:
    return started


def test_it_is_ready_before_the_workers_start(servers: Servers) -> None:
    house = House(servers, "attend")
    wait_for_serving(house.router, 1)
    log = house.router.log()
    pid = house.pid("attend")
    order = [
        "spawned uwsgirouter attend",
        "attending",
        f"uwsgirouter attend (pid: {pid}) is ready",
        "spawned uwsgirouter worker 1",
    ]
    positions = [log.index(text) for text in order]
    assert positions == sorted(positions)
    assert f"heard ['greeting', {pid}]" in log
    assert len(sockets(pid)) == 1, "of the master's descriptors it has its own channel alone"
    assert os.getpgid(pid) == pid
    assert fetch(house.address).body == b"served"


def test_one_whose_work_is_done(servers: Servers) -> None:
    house = House(servers, "single", "attend")
    wait_for_serving(house.router, 1)
    assert house.pids("single") == []
    house.hup("single", "attend")
    assert house.router.log().count("spawned uwsgirouter single") == 2
    assert house.router.log().count("uwsgirouter single (pid: ") == 4, "spawned and done, twice"


def test_a_reload_replaces_it_after_the_new_one_is_ready(servers: Servers) -> None:
    house = House(servers, "attend")
    wait_for_serving(house.router, 1)
    old = house.pid("attend")
    with load(house.address) as asked:
        house.hup("attend")
        wait_until(lambda: old not in house.pids("attend"), 5, "the old one is gone")
    assert_no_failure(asked.results)
    assert house.pid("attend") != old
    house.hup()
    wait_until(lambda: house.pids("attend") == [], 5, "none is wanted")


@pytest.mark.parametrize(
    ("kind", "reason"), [("broken", "broken exited with 3"), ("silent", "silent was not ready after 0.5 seconds")]
)
def test_one_that_fails_aborts_the_reload(servers: Servers, kind: str, reason: str) -> None:
    house = House(servers, "attend")
    before = wait_for_serving(house.router, 1)
    attendant = house.pid("attend")
    with load(house.address) as asked:
        house.hup("attend", kind, until="the old configuration stays in use")
    assert_no_failure(asked.results)
    assert f"reload failed: {reason}" in house.router.log()
    wait_until(lambda: house.pids("attend") == [attendant], 5, "the new generation's other one is gone")
    assert wait_for_serving(house.router, 1) == before
    house.hup("attend")


def test_one_that_fails_ends_the_start(servers: Servers) -> None:
    house = House(servers, "attend", "broken", ready=False)
    assert house.router.wait() == 1
    log = house.router.log()
    assert "ValueError: what is this" in log
    assert "broken cannot start: giving up" in log
    assert "spawned uwsgirouter worker" not in log


def test_one_that_dies_is_respawned(servers: Servers) -> None:
    house = House(servers, "attend")
    before = wait_for_serving(house.router, 1)
    for _ in range(9):
        pid = house.pid("attend")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: house.pids("attend") not in ([], [pid]), 5, "another one is there")  # noqa: B023
    os.kill(house.pid("attend"), signal.SIGKILL)
    house.router.wait_for_log("attend dies again and again: backing off, respawned in 0.5 seconds")
    assert house.pids("attend") == []
    house.pid("attend")
    assert workers(house.router) == before


def test_one_that_does_not_leave_is_killed(servers: Servers) -> None:
    house = House(servers, "stubborn")
    wait_for_serving(house.router, 1)
    old = house.pid("stubborn")
    house.hup()
    house.router.wait_for_log(f"stubborn (pid: {old}) did not leave in time")
    wait_until(lambda: not psutil.pid_exists(old), 5, "it is gone")
    house.hup("stubborn")
    assert house.router.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_router_ends(servers: Servers, number: int) -> None:
    """Not of a program either, nor of what it started."""
    house = House(servers, "attend", "program")
    wait_for_serving(house.router, 1)
    family = [child.pid for child in house.router.children()]
    (program,) = (pid for pid in family if os.getpgid(pid) == pid and psutil.Process(pid).children())
    assert "MARK=program" in Path(f"/proc/{program}/environ").read_text(errors="replace")
    assert len(family) == 4
    house.router.signal(number)
    house.router.wait()
    wait_until(lambda: not psutil.pid_exists(program), 5, "the program is gone")
    if number != signal.SIGKILL:
        wait_until(lambda: not alive_in_session(house.router.pid), 2, "nobody is left")
    else:  # whoever kills the master has the program's own children on his hands
        house.router.kill()


def test_a_new_log(servers: Servers) -> None:
    log = servers.directory / "attended.log"
    house = House(servers, "attend", more=f"logto = {log}\n")
    pid = house.pid("attend")
    wait_until(lambda: "attend (pid" in log.read_text(), 5, "it is ready")
    log.rename(servers.directory / "attended.log.1")
    house.router.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.realpath(f"/proc/{pid}/fd/2") == str(log), 5, "it writes to the new file")
    assert os.path.realpath(f"/proc/{pid}/fd/1") == str(log)


def test_a_program_is_told_of_a_new_log_when_it_can_take_the_signal(servers: Servers) -> None:
    """Before it is ready, USR1 would end it."""
    log = servers.directory / "slow.log"
    house = House(servers, "slow", more=f"logto = {log}\n")
    wait_until(lambda: "spawned uwsgirouter slow" in log.read_text(), 5, "it is started")
    house.router.signal(signal.SIGUSR1)
    wait_until(lambda: "opening the log again" in log.read_text(), 5, "it is told")
    assert log.read_text().index("log reopened") < log.read_text().index("opening the log again")
    wait_for_serving(house.router, 1)

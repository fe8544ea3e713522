"""What systemd is told, and what it passed: a router under a notify socket and LISTEN_FDS as systemd makes them."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.master.watching import assert_no_failure, load
from tests.servers import Process, Servers, announce, answer, fetch, free_udp_port, hang, local, wait_until
from tests.servers.client import Client
from tests.servers.programs import ROUTER_COMMAND, environment
from tests.servers.wire import get
from uwsgirouter.master.notify import Notifier

DEADLINE = 30.0

LAUNCHER = """
import os, socket, sys
held = []
for kind, address in (pair.split(",", 1) for pair in sys.argv[1].split()):
    family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM)
    host, _, port = address.rpartition(":")
    sock.bind((host, int(port)) if host else address)
    if kind == "stream":
        sock.listen(128)
    held.append(sock)
copies = [os.dup2(sock.fileno(), 100 + number) for number, sock in enumerate(held)]
for number, copy in enumerate(copies):
    os.dup2(copy, 3 + number, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(held)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="one:two")
if "WATCHDOG_USEC" in os.environ:
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does for a service with sockets: bind, pass from descriptor 3 on, tell the process so."""


class Manager:
    """A notify socket; ``told`` are the messages, each a dict of its lines, with ``at`` and ``pid``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[dict[str, str]] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind("\0" + address[1:] if address.startswith("@") else address)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            data, ancillary, _, _ = self._sock.recvmsg(4096, socket.CMSG_SPACE(12))
            if data == b"enough":
                return
            pid = int.from_bytes(ancillary[0][2][:4], sys.byteorder)
            lines = dict(line.split("=", 1) for line in data.decode().splitlines())
            self.told.append({**lines, "at": str(time.monotonic()), "pid": str(pid)})

    def count(self, name: str) -> int:
        return sum(name in message for message in list(self.told))

    def wait(self, name: str, count: int = 1) -> dict[str, str]:
        wait_until(lambda: self.count(name) >= count, DEADLINE, f"{name} x{count}, not {self.told}")
        return [message for message in self.told if name in message][count - 1]

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            address = self.address
            sock.sendto(b"enough", "\0" + address[1:] if address.startswith("@") else address)
        self._thread.join(10)
        self._sock.close()


@contextmanager
def manager(address: str) -> Iterator[Manager]:
    found = Manager(address)
    try:
        yield found
    finally:
        found.close()


class Unit(Process):
    """The router as a service of ``manager``, with sockets that are passed to it."""

    name = "unit"

    def __init__(self, servers: Servers, config: str, listen: str, **env: str) -> None:
        path = servers.directory / f"unit-{len(list(servers.directory.glob('unit-*.conf')))}.conf"
        path.write_text(config)
        argv = [sys.executable, "-c", LAUNCHER, listen, *ROUTER_COMMAND, "-c", str(path)]
        super().__init__(argv, servers.directory, environment(env))


def test_an_abstract_address(servers: Servers) -> None:
    name = f"@uwsgirouter-test-{os.getpid()}"
    with manager(name) as told:
        unit = servers._started(Unit(servers, "[uwsgirouter]\n", f"stream,{local()}", NOTIFY_SOCKET=name))
        told.wait("READY")
        unit.signal(signal.SIGHUP)
        told.wait("READY", 2)
        assert told.count("RELOADING") == 1


def test_a_service_from_its_start_to_its_end(servers: Servers) -> None:
    """Ready once it serves; reloading with a time and ready again over HUP, HUP that fails, and USR2; stopping."""
    name = servers.path("notify")
    address, datagrams = local(), f"127.0.0.1:{free_udp_port()}"
    node = servers.node(answer(b"served"))
    config = "[uwsgirouter]\nfastrouter-processes = 2\nsubscription-tolerance = 600\n"
    with manager(name) as told:
        unit = servers._started(Unit(servers, config, f"stream,{address} datagram,{datagrams}", NOTIFY_SOCKET=name))
        ready = told.wait("READY")
        assert int(ready["MAINPID"]) == int(ready["pid"]) == unit.pid
        assert re.fullmatch(r"version \S+: 2 workers, 0 nodes, 0 sessions", ready["STATUS"])
        assert unit.log().count("spawned uwsgirouter worker") == 2
        announce(datagrams, "a.example", node.address)
        wait_until(lambda: any("1 nodes" in message.get("STATUS", "") for message in told.told), DEADLINE, "a status")
        with load(address, rate=100, threads=4) as asked:
            for number, sent in enumerate((signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP), 1):
                before = time.monotonic_ns() // 1000
                unit.signal(sent)
                wait_until(lambda: told.count("READY") > number, DEADLINE, f"ready after {sent}")  # noqa: B023
                reloading = [message for message in told.told if "RELOADING" in message]
                assert before <= int(reloading[-1]["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
                assert fetch(address).body == b"served", "the sockets are the same"
            config_file = next(servers.directory.glob("unit-*.conf"))
            config_file.write_text(config + "fastrouter-tiemout = 3\n")
            unit.signal(signal.SIGHUP)
            told.wait("READY", 5)
            assert "the old configuration stays in use" in unit.log()
            config_file.write_text(config)
            unit.signal(signal.SIGUSR2)
            told.wait("READY", 6)
        assert_no_failure(asked.results)
        assert {message["pid"] for message in told.told} == {str(unit.pid)}
        assert not told.count("STOPPING")
        unit.signal(signal.SIGTERM)
        stopping = told.wait("STOPPING")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 60_000_000
        assert unit.wait(DEADLINE) == 0


def test_a_watchdog_is_fed_while_the_loop_lives(servers: Servers) -> None:
    name = servers.path("notify")
    with manager(name) as told:
        variables = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "600000"}
        unit = servers._started(Unit(servers, "[uwsgirouter]\n", f"stream,{local()}", **variables))
        told.wait("WATCHDOG", 5)
        unit.signal(signal.SIGUSR2)
        told.wait("RELOADING")
        told.wait("READY", 2)
        many = told.count("WATCHDOG") + 3
        told.wait("WATCHDOG", many)
        os.kill(unit.pid, signal.SIGSTOP)
        time.sleep(0.1)
        stopped = told.count("WATCHDOG")
        time.sleep(0.7)
        assert told.count("WATCHDOG") == stopped
        os.kill(unit.pid, signal.SIGCONT)
        told.wait("WATCHDOG", stopped + 1)


def test_children_do_not_speak_for_the_router(servers: Servers) -> None:
    name = servers.path("notify")
    with manager(name) as told:
        code = servers.directory / "script.py"
        code.write_text("import os\nprint('SEEN', sorted(n for n in os.environ if 'NOTIFY' in n or 'WATCHDOG' in n))\n")
        config = f"[uwsgirouter]\nimport = {code}\n"
        unit = servers._started(Unit(servers, config, f"stream,{local()}", NOTIFY_SOCKET=name, WATCHDOG_USEC="9000000"))
        told.wait("READY")
        assert "SEEN []" in unit.log()


def test_it_is_stopping_while_sessions_end(servers: Servers) -> None:
    name, address = servers.path("notify"), local()
    node = servers.node(hang)
    node.expect_errors()
    config = f"[uwsgirouter]\nfastrouter-to = {node.address}\nreload-mercy = 2\n"
    with manager(name) as told:
        unit = servers._started(Unit(servers, config, f"stream,{address}", NOTIFY_SOCKET=name))
        told.wait("READY")
        with Client(address) as client:
            client.send_packet(get())
            node.wait_for(1)
            unit.signal(signal.SIGTERM)
            assert "2 seconds to finish" in told.wait("STOPPING")["STATUS"]
            assert client.reply().status == 503
        assert unit.wait(DEADLINE) == 0
        assert told.told[-1].get("STOPPING") or "WATCHDOG" in told.told[-1]


def test_without_a_manager_nothing_is_told() -> None:
    told = Notifier({})
    told.ready("well")
    told.reloading()
    told.tick("well")
    told.look(1e9)
    told.stopping(1.0)
    assert told.next_beat() is None


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/at/all"])
def test_an_address_that_leads_nowhere_is_no_trouble(address: str) -> None:
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "soon"}
    told = Notifier(environment)
    told.ready("well")
    assert environment == {}
    assert told.watchdog == 0.0


@pytest.mark.parametrize(("pid", "wanted"), [(None, 0.5), ("own", 0.5), ("1", 0.0)])
def test_the_watchdog_may_be_another_process_s(pid: str | None, wanted: float) -> None:
    environment = {"WATCHDOG_USEC": "1000000"}
    if pid is not None:
        environment["WATCHDOG_PID"] = str(os.getpid()) if pid == "own" else pid
    told = Notifier(environment)
    assert told.watchdog == wanted
    assert environment == {}

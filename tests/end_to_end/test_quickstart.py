"""``make run``: conf/quickstart.conf and conf/quickstart/run.py, on free ports."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers import Process, Servers, free_port, free_udp_port, wait_until

CONTROL = [sys.executable, "-m", "uwsgirouter.control"]


class Quickstart:
    """A run of the script on free ports."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.servers = servers
        self.script = project / "conf" / "quickstart" / "run.py"
        self.router = f"127.0.0.1:{free_port()}"
        self.server = f"127.0.0.1:{free_udp_port()}"
        text = (project / "conf" / "quickstart.conf").read_text()
        assert text.count("127.0.0.1:3017") == text.count("127.0.0.1:2626") == 1
        self.config = servers.directory / "quickstart.conf"
        self.config.write_text(text.replace("127.0.0.1:3017", self.router).replace("127.0.0.1:2626", self.server))

    def start(self) -> Process:
        """The script, as make starts it."""
        return self.servers.process(sys.executable, str(self.script), str(self.config))

    def ask(self) -> str:
        """What the printed command prints."""
        argv = [*CONTROL, "request", "http://hello.example/", "--via", self.router]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture
def quickstart(servers: Servers, project: Path) -> Quickstart:
    """The quickstart on ports of its own."""
    return Quickstart(servers, project)


def gone(parts: list[psutil.Process]) -> bool:
    """None of the processes is left (they are no children of this test, so none stays a zombie)."""
    return not any(part.is_running() for part in parts)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_runs_and_leaves_nothing(quickstart: Quickstart, stop: int) -> None:
    script = quickstart.start()
    script.wait_for_log("Ctrl-C stops everything.", 90)
    assert f"request http://hello.example/ --via {quickstart.router}\n" in script.log()
    both = {"Hello from node one: GET /\n", "Hello from node two: GET /\n"}
    assert {quickstart.ask() for _ in range(4)} == both, "they take turns"
    parts = script.children()
    assert len(parts) >= 8, "router and worker, two gunicorns with a worker each, two announcers"
    assert script.stop(stop, 20) == 0
    wait_until(lambda: gone(parts), 2.0, "nothing is left")
    assert script.log().count(".sock, unsubscribed") == 2


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_taken_port_is_named(quickstart: Quickstart, kind: socket.SocketKind) -> None:
    address = quickstart.router if kind is socket.SOCK_STREAM else quickstart.server
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        script = quickstart.start()
        assert script.wait() == 1
    assert f"cannot listen on {address}: Address already in use" in script.log()


def test_it_ends_when_a_part_ends(quickstart: Quickstart) -> None:
    script = quickstart.start()
    script.wait_for_log("Ctrl-C stops everything.", 90)
    parts = script.children()
    announcer = next(part for part in parts if "subscribe" in part.cmdline())
    announcer.terminate()
    assert script.wait(20) == 1
    assert "quickstart: announcer of node " in script.log()
    wait_until(lambda: gone(parts), 2.0, "nothing is left")

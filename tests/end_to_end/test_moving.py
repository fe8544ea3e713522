"""docs/moving.md with the files of conf/moving: the real FastRouter and this router side by side behind one nginx.

Nodes announce themselves to both. nginx is switched to the new router under a steady load, back, and again; then the
FastRouter is stopped. Not one request may fail, and what each router answers is the same.
"""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.servers import Router, Servers, SteadyLoad, fetch, free_port, free_udp_port, http_get, wait_until
from tests.servers.programs import PROJECT, ROUTER_COMMAND

SLOW = 20.0
RATE = 60
CONF = PROJECT / "conf" / "moving"


class Move:
    """Both routers, two nodes, nginx: everything from conf/moving, on free ports."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.http = free_port()
        self._ports = {f"127.0.0.1:{port}": f"127.0.0.1:{free_port()}" for port in (3017, 3018)}
        self._ports |= {f"127.0.0.1:{port}": f"127.0.0.1:{free_udp_port()}" for port in (2626, 2627)}
        self._ports["listen 80;"] = f"listen 127.0.0.1:{self.http};"
        self.theirs = servers.fastrouter(config=self.text("fastrouter.ini"))
        self.ours = servers.router(config=self.text("uwsgirouter.ini"))
        for name in ("app.py", "node.ini", "nginx.conf"):
            (servers.directory / name).write_text(self.text(name))
        self.nodes = [servers.uwsgi("--ini", servers.path("node.ini")) for _ in range(2)]
        for router in (self.theirs, self.ours):
            router.wait_for_log("foo.com => new node: ", SLOW, count=2)
        self._nginx_conf = self.text("nginx.conf")
        self.nginx = servers.nginx(self._nginx_conf, f"127.0.0.1:{self.http}")

    def text(self, name: str) -> str:
        """A file with this test's addresses."""
        text = (CONF / name).read_text()
        for printed, mine in self._ports.items():
            text = text.replace(printed, mine)
        return text

    def switch(self) -> None:
        """Exchange what is a comment in the upstream, and reload nginx."""
        self._nginx_conf, count = re.subn(
            r"^( +)(#?)(server \d[^\n]*)$",
            lambda line: f"{line[1]}{'' if line[2] else '#'}{line[3]}",
            self._nginx_conf,
            flags=re.MULTILINE,
        )
        assert count == 2, "the upstream has two lines"
        Path(self.nginx.argv[-1]).write_text(self._nginx_conf)
        before = {child.pid for child in self.nginx.children()}
        self.nginx.signal(signal.SIGHUP)
        wait_until(
            lambda: self.nginx.children() and not before & {child.pid for child in self.nginx.children()},
            SLOW,
            "nginx' old worker has finished its requests",
        )

    def served(self) -> int:
        """How many requests the new router has served."""
        return requests(self.ours)

    def wait_for_more(self, count: int = RATE // 2) -> None:
        """The new router gets the requests."""
        before = self.served()
        wait_until(lambda: self.served() - before >= count, SLOW, "uwsgirouter serves")

    def wait_for_no_more(self, load: SteadyLoad) -> None:
        """The load goes on, and none of it reaches the new router."""

        def quiet() -> bool:
            before, done = self.served(), len(load.results)
            wait_until(lambda: len(load.results) - done >= RATE // 2, SLOW, "the load goes on")
            return self.served() == before

        wait_until(quiet, SLOW, "the FastRouter alone serves")


def requests(router: Router) -> int:
    """The counter of requests in the stats line."""
    count = len(re.findall(STATS, router.log()))
    router.signal(signal.SIGUSR1)
    wait_until(lambda: len(re.findall(STATS, router.log())) > count, SLOW, "the counters are in the log")
    return int(re.findall(STATS, router.log())[-1])


STATS = r", (\d+) requests, "


@pytest.fixture
def move(servers: Servers) -> Move:
    """Everything runs, and nginx asks the FastRouter."""
    return Move(servers)


def test_there_and_back_and_there(move: Move) -> None:
    answers = [fetch(router.address, "foo.com") for router in (move.theirs, move.ours)]
    assert answers[0] == answers[1], "both routers serve the nodes, and say the same"
    with SteadyLoad(http_get(move.http, "foo.com"), RATE, limit=80) as load:
        move.wait_for_no_more(load)
        move.switch()
        move.wait_for_more()
        move.switch()
        move.wait_for_no_more(load)
        move.switch()
        move.wait_for_more()
        move.theirs.stop()
        move.wait_for_more()
        move.nodes[0].stop()
        move.wait_for_more()
    assert load.failures == []
    assert {outcome.body for outcome in load.results} == {b"here\n"}


def test_the_fastrouters_file_is_right_for_both() -> None:
    argv = [*ROUTER_COMMAND, "--check", "-c", str(CONF / "fastrouter.ini")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=PROJECT)
    assert done.returncode == 0, done.stderr
    assert "configuration ok" in done.stdout
    assert all(name in done.stderr for name in ("plugins", "master", "die-on-term")), "what does nothing is named"


def test_the_two_files_differ_in_their_addresses_alone() -> None:
    def lines(name: str) -> list[str]:
        text = re.sub(r"3018", "3017", re.sub(r"2627", "2626", (CONF / name).read_text()))
        return [line for line in text.splitlines() if not line.startswith(";")]

    assert lines("fastrouter.ini") == lines("uwsgirouter.ini")

"""Four real uWSGI nodes behind nginx are restarted one after the other, and one is killed: no request fails.

The nodes keep their ports, as those of a service do. Restarting means INT, the end of the process, and a start: between
the unsubscribe and the last request of its workers uWSGI lets go of what it has under way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Router, Servers, SteadyLoad, UwsgiApp, free_port, free_udp_port, http_get, local, wait_until

RATE = 200
KEY = "foo.com"
NAMES = ["one", "two", "three", "four"]
APPLICATION = """
import os, time
def application(env, start):
    time.sleep(0.002)
    start("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["NODE"].encode()]
"""


class Fleet:
    """nginx, the router with two workers, and four nodes that announce themselves."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.servers = servers
        self.server = f"127.0.0.1:{free_udp_port()}"
        self.http = free_port()
        (servers.directory / "app.py").write_text(APPLICATION)
        self.router: Router = servers.router(
            config=f"[uwsgirouter]\nfastrouter = {local()}\nfastrouter-processes = 2\n"
            f"fastrouter-subscription-server = {self.server}\n"
        )
        conf = project / "conf" / "article" / "nginx.conf"
        text = conf.read_text().replace("listen 80 ", f"listen 127.0.0.1:{self.http} ")
        servers.nginx(text.replace("127.0.0.1:3017", self.router.address), f"127.0.0.1:{self.http}")
        self.ports = {name: local() for name in NAMES}
        self.nodes = {name: self.start(name) for name in NAMES}

    def start(self, name: str) -> UwsgiApp:
        """A node of two processes, on its own port."""
        return self.servers.uwsgi(
            *("--master", "--processes", "2", "--socket", self.ports[name], "--wsgi-file", self.servers.path("app.py")),
            *("--need-app", "--subscribe2", f"server={self.server},key={KEY}"),
            env={"NODE": name},
        )

    def load(self) -> SteadyLoad:
        return SteadyLoad(http_get(self.http, KEY), RATE, threads=24, limit=90)

    def wait_for_share(self, load: SteadyLoad, *names: str) -> None:
        """All these serve, and nobody else."""
        now = time.monotonic()
        wanted = {name.encode() for name in names}
        wait_until(lambda: set(load.share(now)) >= wanted, 15, f"requests go to {names}")
        now = time.monotonic()
        wait_until(lambda: load.share(now).total() >= 40, 15, "the load goes on")
        assert set(load.share(now)) == wanted


@pytest.fixture
def fleet(servers: Servers, project: Path) -> Iterator[Fleet]:
    """All have announced themselves; what is left of them is killed, since an orderly stop takes each a second."""
    made = Fleet(servers, project)
    for name in NAMES:
        made.router.wait_for_log(f"{KEY} => new node: {made.ports[name]}", 15)
    yield made
    for node in made.nodes.values():
        node.kill()


def test_a_rolling_restart_fails_no_request(fleet: Fleet) -> None:
    with fleet.load() as load:
        fleet.wait_for_share(load, *NAMES)
        for name in NAMES:
            fleet.nodes[name].stop()
            fleet.wait_for_share(load, *(other for other in NAMES if other != name))
            fleet.nodes[name] = fleet.start(name)
            fleet.wait_for_share(load, *NAMES)
    assert load.failures == []
    log = fleet.router.log()
    for name in NAMES:
        # Removed and new; or back while it drained, when a request was under way.
        came = re.findall(rf"(?:new node|node is back): {re.escape(fleet.ports[name])}\b", log)
        left = re.findall(rf"(?:removing|draining) node: {re.escape(fleet.ports[name])}\b", log)
        assert len(came) == 2 and left, name
    assert load.achieved() > 0.5 * RATE


def test_a_killed_node_fails_no_request(fleet: Fleet) -> None:
    with fleet.load() as load:
        fleet.wait_for_share(load, *NAMES)
        fleet.nodes["two"].kill()
        fleet.wait_for_share(load, "one", "three", "four")
        fleet.nodes["two"] = fleet.start("two")
        fleet.wait_for_share(load, *NAMES)
    assert load.failures == []
    fleet.router.wait_for_log(f"{KEY} => marking {fleet.ports['two']} as failed (Connection refused)")
    fleet.router.wait_for_log(f"{KEY} => node is back: {fleet.ports['two']}")

"""Three gunicorns behind nginx and the router are restarted one after the other, under load: no request fails.

With the files of conf/gunicorn, whose hooks announce them, and with ``uwsgirouterctl subscribe --exec``.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.servers import Process, Servers, SteadyLoad, free_port, free_udp_port, http_get, local, wait_until
from uwsgirouter.announce.environment import PREFIX

NODES = ("one", "two", "three")
RATE = 100.0


class Site:
    """nginx, the router of conf/gunicorn, and what its nodes are to be told."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.servers = servers
        self.conf = project / "conf" / "gunicorn"
        self.http = free_port()
        router, self.server = local(), f"127.0.0.1:{free_udp_port()}"
        self.addresses = {node: local() for node in NODES}
        text = (self.conf / "router.conf").read_text()
        assert text.count("127.0.0.1:3017") == 2
        assert text.count("127.0.0.1:2626") == 1
        config = text.replace("127.0.0.1:3017", router).replace("127.0.0.1:2626", self.server)
        self.router = servers.router(config=config)
        self.router.wait_for_workers(2, 15.0)
        top = f"daemon off; pid nginx.pid; error_log {servers.directory}/error.log; worker_processes 1; events {{}}"
        location = f"include /etc/nginx/uwsgi_params; uwsgi_pass {router}; uwsgi_next_upstream off;"
        site = f"server {{ listen 127.0.0.1:{self.http}; location / {{ {location} }} }}"
        servers.nginx(f"{top}\nhttp {{ access_log off;\n{site}\n}}\n", f"127.0.0.1:{self.http}")

    def hooked(self, node: str) -> Process:
        """A gunicorn with gunicorn.conf.py."""
        text = (self.conf / "gunicorn.conf.py").read_text()
        assert text.count("127.0.0.1:2626") == 1
        config = self.servers.directory / "gunicorn.conf.py"
        config.write_text(text.replace("127.0.0.1:2626", self.server))
        env = {"NODE": node, f"{PREFIX}DRAIN": "0.2"}
        return self.servers.gunicorn(
            "app:application", self.conf, "-c", str(config), address=self.addresses[node], env=env
        )

    def run(self, node: str) -> Process:
        """A gunicorn that knows nothing of routers, run by uwsgirouterctl."""
        address = self.addresses[node]
        control = [sys.executable, "-m", "uwsgirouter.control", "subscribe", "--server", self.server, "--drain", "0.2"]
        gunicorn = ["gunicorn", "--protocol", "uwsgi", "--no-control-socket", "--threads", "4", "--bind", address]
        command = [*control, "--key", "foo.com", "--address", address, "--exec", sys.executable, "-m", *gunicorn]
        arguments = ["--chdir", str(self.conf), "app:application"]
        return self.servers.process(*command, *arguments, env={"NODE": node})

    def wait_for(self, node: str, load: SteadyLoad, since: int) -> None:
        """Until one of the answers from ``since`` on is the node's."""
        body = f"{node} serves foo.com\n".encode()
        wait_until(lambda: any(result.body == body for result in load.results[since:]), 30.0, f"node {node} serves")


@pytest.mark.parametrize(("way", "names"), [("hooked", NODES), ("run", NODES[:2])])
def test_no_request_fails(servers: Servers, project: Path, way: str, names: tuple[str, ...]) -> None:
    site = Site(servers, project)
    start = site.hooked if way == "hooked" else site.run
    nodes = {node: start(node) for node in names}
    ask = http_get(site.http, "foo.com")
    wait_until(lambda: ask().status == 200, 30.0, "a node serves")
    with SteadyLoad(ask, RATE, threads=32) as load:
        for node in names:
            site.wait_for(node, load, 0)
        for node in names:
            assert nodes[node].stop(signal.SIGTERM) == 0
            gone = len(load.results)
            nodes[node] = start(node)
            site.wait_for(node, load, gone)
    assert load.failures == [], f"{len(load.failures)} of {len(load.results)}\n{site.router.log()}"
    assert load.achieved() > RATE / 2, "the load must have gone on meanwhile"
    assert site.router.log().count("(unsubscribed)") >= len(names)
    assert "marking" not in site.router.log(), "no node was found dead"

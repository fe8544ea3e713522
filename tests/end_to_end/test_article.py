"""The article's scenario with the files of conf/article: nginx, the router, nodes that announce themselves.

Nodes come and go under a steady load, and no request may fail. The files are used as they are but for the
addresses.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import Process, Router, Servers, SteadyLoad, free_port, free_udp_port, http_get, wait_until

RATE = 100
JOINED_WITHIN = 2.0
"""Seconds from a node's announcement to its share of the requests."""

EXPIRED_WITHIN = 25.0
"""Seconds after which a dead node is gone from the registry: the tolerance of 17 s, and the sweep."""


class Worker:
    """A node: its processes (the announcer too, where there is one), its address, and the requests it has
    served.
    """

    def __init__(self, address: str, server: Process, announcer: Process | None = None) -> None:
        self.address = address
        self.server = server
        self.announcer = announcer

    def served(self) -> int:
        """How many requests its log shows."""
        return self.server.log().count('"GET / HTTP/1')

    def leave(self) -> None:
        """Stop as an operator does: unsubscribe first. uWSGI does that by itself on SIGINT."""
        if self.announcer is not None:
            self.announcer.stop(signal.SIGINT)
        self.server.stop(signal.SIGINT)

    def die(self) -> None:
        """SIGKILL to everything at once: no farewell."""
        if self.announcer is not None:
            self.announcer.kill()
        self.server.kill()


class Article:
    """The article's machine: nginx and the router on free ports, and workers on request."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.servers = servers
        self.directory = servers.directory
        self.http = free_port()
        self.ports = {
            "127.0.0.1:3017": f"127.0.0.1:{free_port()}",
            "127.0.0.1:2626": f"127.0.0.1:{free_udp_port()}",
        }
        self.ports["listen 80 "] = f"listen 127.0.0.1:{self.http} "
        for path in (project / "conf" / "article").iterdir():
            if path.is_file():
                shutil.copy(path, self.directory)
                (self.directory / path.name).write_text(self.filled(path.read_text()))
        self.router: Router = servers.router(config=(self.directory / "router.ini").read_text())
        self.nginx = servers.nginx((self.directory / "nginx.conf").read_text(), f"127.0.0.1:{self.http}")

    def filled(self, text: str) -> str:
        """The text of a file with this test's addresses."""
        for printed, mine in self.ports.items():
            text = text.replace(printed, mine)
        return text

    def uwsgi_worker(self) -> Worker:
        """uWSGI with the article's worker.ini."""
        server = self.servers.uwsgi("--ini", str(self.directory / "worker.ini"))
        server.wait_for_log("subscribing to server=")
        return Worker(server.address, server)

    def gunicorn_worker(self) -> Worker:
        """gunicorn with the same application, announced by hand."""
        arguments = ["--workers", "2", "--threads", "4", "--access-logfile", "-"]
        server = self.servers.gunicorn("app:application", self.directory, *arguments)
        subscription_server = self.ports["127.0.0.1:2626"]
        announcer = self.servers.announcer(subscription_server, "foo.com", server.address)
        return Worker(server.address, server, announcer)

    def wait_for_share(self, workers: list[Worker], newcomer: Worker) -> None:
        """The newcomer serves within :data:`JOINED_WITHIN`, and then all have about equal shares."""
        wait_until(lambda: newcomer.served() >= 5, JOINED_WITHIN, "the newcomer serves requests")
        before = [worker.served() for worker in workers]
        wait_until(lambda: sum(w.served() for w in workers) - sum(before) >= 120, 5.0, "the load goes on")
        share = [worker.served() - count for worker, count in zip(workers, before, strict=True)]
        fair = sum(share) / len(share)
        assert all(0.6 * fair < count < 1.4 * fair for count in share), f"unequal shares: {share}"

    def curl(self) -> str:
        """The page as the article fetches it, by name."""
        resolve = f"foo.com:{self.http}:127.0.0.1"
        url = f"http://foo.com:{self.http}/"
        done = subprocess.run(
            ["curl", "-sS", "-m", "10", "--fail", "--resolve", resolve, url],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def article(servers: Servers, project: Path) -> Article:
    """Router and nginx, no worker yet."""
    return Article(servers, project)


def scenario(article: Article, start: Callable[[], Worker]) -> None:
    """Workers come, one leaves and one dies, under a steady load: not one request fails."""
    router = article.router
    first = start()
    router.wait_for_log("new pool: foo.com")
    router.wait_for_log(f"foo.com => new node: {first.address}")
    assert article.curl() == "Hello World!"
    with SteadyLoad(http_get(article.http, "foo.com"), RATE, limit=90) as load:
        second = start()
        article.wait_for_share([first, second], second)
        third = start()
        article.wait_for_share([first, second, third], third)

        second.leave()
        left = second.served()
        article.wait_for_share([first, third], third)
        assert second.served() == left

        third.die()
        died = time.monotonic()
        wait_until(lambda: len(load.since(died)) >= 2 * RATE, 5.0, "the load goes on without the dead node")
        wait_until(lambda: expired(router, third), EXPIRED_WITHIN, "the dead node expires")
    assert [outcome for outcome in load.results if outcome.failed or outcome.body != b"Hello World!"] == []
    assert load.achieved() > 0.95 * RATE
    assert max(outcome.latency for outcome in load.results) < 5.0
    assert article.curl() == "Hello World!"


def expired(router: Router, worker: Worker) -> bool:
    """The router's log says that the node is gone for good."""
    return any("no announce received in 17" in line and worker.address in line for line in router.log().splitlines())


def test_uwsgi_workers_come_and_go(article: Article) -> None:
    scenario(article, article.uwsgi_worker)


def test_gunicorn_workers_announced_by_hand_come_and_go(article: Article) -> None:
    scenario(article, article.gunicorn_worker)


def test_a_cheap_router_serves_what_waited_for_its_first_node(article: Article) -> None:
    with SteadyLoad(http_get(article.http, "foo.com"), rate=5, limit=2) as load:
        assert "leaving cheap mode" not in article.router.log()
        article.uwsgi_worker()
        article.router.wait_for_log("leaving cheap mode")
        wait_until(lambda: len(load.results) >= 3, what="requests are served")
    assert load.failures == []

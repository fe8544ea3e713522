"""An application and the router on one socket: conf/cheap-shared with nginx, and what happens to the application."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.master.watching import title
from tests.servers import (
    Outcome,
    Router,
    Servers,
    SteadyLoad,
    UwsgiApp,
    announce,
    answer,
    fetch,
    free_port,
    free_udp_port,
    http_get,
    local,
    uwsgi_get,
    wait_until,
)

RATE = 100


class Site:
    """The files of conf/cheap-shared with free ports, running: nginx and the router with its application."""

    def __init__(self, servers: Servers, project: Path) -> None:
        self.servers = servers
        self.http = free_port()
        self.ports = {
            "127.0.0.1:3031": f"127.0.0.1:{free_port()}",
            "127.0.0.1:4040": f"127.0.0.1:{free_udp_port()}",
            "listen 80 ": f"listen 127.0.0.1:{self.http} ",
        }
        for path in (project / "conf" / "cheap-shared").iterdir():
            if path.is_file():
                shutil.copy(path, servers.directory)
                (servers.directory / path.name).write_text(self.filled(path.read_text()))
        self.router = servers.router(config=(servers.directory / "router.ini").read_text())
        servers.nginx((servers.directory / "nginx.conf").read_text(), f"127.0.0.1:{self.http}")
        self.router.wait_ready(self.cheap)

    def filled(self, text: str) -> str:
        """A file's text with this test's addresses."""
        for printed, mine in self.ports.items():
            text = text.replace(printed, mine)
        return text

    def cheap(self) -> bool:
        """Whether every worker waits for a node."""
        titles = [title(pid) for pid in self.router.workers()]
        return bool(titles) and all(" cheap" in text for text in titles)

    def node(self) -> UwsgiApp:
        """Another machine's uWSGI."""
        return self.servers.uwsgi("--ini", str(self.servers.directory / "node.ini"))

    def who(self, results: list[Outcome], *nodes: UwsgiApp) -> Counter[str]:
        """The answers by who gave them: "app", "node 1", ..."""
        found: Counter[str] = Counter()
        homes = {child.pid: f"node {number}" for number, node in enumerate(nodes, 1) for child in node.children()}
        for result in results:
            match = re.fullmatch(rb"example.com served by process (\d+) on .*\n", result.body)
            assert match, result
            found[homes.get(int(match[1]), "app")] += 1
        return found

    def wait_for(self, load: SteadyLoad, expected: set[str], *nodes: UwsgiApp) -> Counter[str]:
        """Wait until the last hundred answers came from these, and from each of them."""

        def settled() -> Counter[str]:
            found = self.who(load.results[-RATE:], *nodes)
            return found if set(found) == expected else Counter()

        return wait_until(settled, 10, f"served by {expected}")


def instance(router: Router) -> list[int]:
    """The pids of the application's gunicorn: its master first."""
    mine = [child.pid for child in router.children() if title(child.pid).startswith("uwsgirouter: local instance")]
    return sorted(mine, key=lambda pid: title(pid).endswith("worker"))


def test_the_application_serves_alone_with_nodes_and_alone_again(servers: Servers, project: Path) -> None:
    site = Site(servers, project)
    with SteadyLoad(http_get(site.http, "example.com"), rate=RATE) as load:
        wait_until(lambda: len(load.results) >= RATE, 10, "the load runs")
        site.wait_for(load, {"app"})
        one, two = site.node(), site.node()
        site.wait_for(load, {"app", "node 1", "node 2"}, one, two)
        assert not site.cheap()
        site.router.hup()
        site.router.wait_for_log("] reloaded in ", deadline=10)
        site.wait_for(load, {"app", "node 1", "node 2"}, one, two)
        one.stop(signal.SIGINT)
        two.stop(signal.SIGINT)
        wait_until(site.cheap, 5, "the router is cheap again")
        before = len(load.results)
        wait_until(lambda: len(load.results) >= before + RATE, 10, "the load goes on")
        site.wait_for(load, {"app"})
    assert load.failures == []
    assert load.achieved() > 0.9 * RATE


class App:
    """A router with an application of its own, without a web server; each test writes the application's text."""

    def __init__(self, servers: Servers, text: str, *lines: str, ready: bool = True) -> None:
        self.servers = servers
        self.file = servers.directory / "site.wsgi"
        self.file.write_text(HEAD + text)
        self.address, self.server = local(), f"127.0.0.1:{free_udp_port()}"
        self.lines = [
            "[uwsgi]",
            f"shared-socket = {self.address}",
            "fastrouter = =0",
            "socket = =0",
            f"fastrouter-subscription-server = {self.server}",
            "fastrouter-cheap = true",
            f"wsgi-file = {self.file}",
        ]
        self.router = servers.router(config=self.text(*lines), ready=ready)
        if ready:
            self.router.wait_ready(self.router.workers)

    def text(self, *lines: str) -> str:
        return "\n".join([*self.lines, *lines, ""])

    def body(self, path: str = "/") -> bytes:
        return fetch(self.address, path=path).body

    def hup(self, until: str = "] reloaded in ") -> None:
        before = self.router.log().count(until)
        self.router.hup()
        self.router.wait_for_log(until, count=before + 1, deadline=10)


HEAD = """
import os, sys, threading, time
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [page(environ)]
"""
FIRST = HEAD + "def page(environ): return b'first'\n"
SECOND = HEAD + "def page(environ): return b'second'\n"
KINDS = {"sync": ["processes = 2"], "threads": ["processes = 2", "threads = 3"], "gevent": ["gevent = 10"]}


@pytest.mark.parametrize(("kind", "times"), [("sync", 2), ("threads", 1), ("gevent", 1)])
def test_a_reload_under_load_brings_the_new_application_and_loses_nothing(
    servers: Servers, kind: str, times: int
) -> None:
    site = App(servers, FIRST, *KINDS[kind])
    with SteadyLoad(uwsgi_get(site.address, "a.example"), rate=200) as load:
        for number in range(times):
            old = instance(site.router)
            site.file.write_text(SECOND if number % 2 == 0 else FIRST)
            site.hup()
            done = time.monotonic()
            wait_until(lambda: not set(instance(site.router)) & set(old), 10, "the old ones left")  # noqa: B023
            wait_until(lambda: len(load.since(done)) >= 20, 5, "the load goes on")  # noqa: B023
        left = time.monotonic()
        wait_until(lambda: len(load.since(left)) >= 50, 5, "the load goes on")
    assert load.failures == []
    assert set(load.share(since=left)) == {b"second" if times == 1 else b"first"}
    assert set(load.share()) == {b"first", b"second"}


@pytest.mark.parametrize("kind", ["sync", "gevent"])
def test_an_application_that_cannot_be_imported_changes_nothing(servers: Servers, kind: str) -> None:
    site = App(servers, FIRST, *KINDS[kind])
    before, workers = instance(site.router), site.router.workers()
    with SteadyLoad(uwsgi_get(site.address, "a.example"), rate=RATE) as load:
        site.file.write_text("import no_such_module\n")
        site.hup("the old configuration stays in use")
        wait_until(lambda: instance(site.router) == before, 5, "the new one is gone")
    assert load.failures == []
    assert set(load.share()) == {b"first"}
    assert site.router.workers() == workers
    assert "No module named 'no_such_module'" in site.router.log()
    assert re.search(r"reload failed: local instance exited with \d", site.router.log())


def test_an_application_that_cannot_be_imported_ends_the_start(servers: Servers) -> None:
    site = App(servers, "def page(): return missing_name\nmissing_name\n", ready=False)
    assert site.router.wait() == 1
    assert "NameError: name 'missing_name' is not defined" in site.router.log()
    assert "local instance cannot start: giving up" in site.router.log()


def test_one_that_dies_is_replaced_while_the_router_goes_on(servers: Servers) -> None:
    site = App(servers, "def page(environ): return b'app'\n", "processes = 2")
    node = servers.node(answer(b"node"))
    workers = site.router.workers()
    first = instance(site.router)
    os.kill(first[1], signal.SIGKILL)  # gunicorn replaces its own
    wait_until(lambda: len(instance(site.router)) == 3 and first[1] not in instance(site.router), 5, "a new process")
    assert instance(site.router)[0] == first[0]
    announce(site.server, "a.example", node.address)
    wait_until(lambda: {site.body() for _ in range(20)} == {b"app", b"node"}, 5, "both serve")
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: site.router.log().count("local instance (pid") >= 4, 5, "another one was started")
    wait_until(lambda: not set(instance(site.router)) & set(first), 5, "nothing is left of the old one")
    wait_until(lambda: {site.body() for _ in range(20)} == {b"app", b"node"}, 5, "both serve")
    # All of it: gunicorn loses the TERM of a process that it has just forked, and a stop waits reload-mercy for it.
    wait_until(lambda: len(instance(site.router)) == 3 and site.router.log().count(") is ready") >= 2, 10, "it is up")
    assert site.router.workers() == workers


@pytest.mark.parametrize("kind", KINDS)
def test_harakiri(servers: Servers, kind: str) -> None:
    """A request that hangs is cut with its process; all others go on."""
    text = "def page(environ):\n    while environ['PATH_INFO'] == '/hang': time.sleep(0.01)\n    return b'app'\n"
    site = App(servers, text, *KINDS[kind], "harakiri = 1")
    begun = time.monotonic()
    with servers.client(site.address) as client:
        client.send_packet([(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b"/hang"), (b"HTTP_HOST", b"a")])
        assert client.read_all()[0] == b""
    assert 0.9 < time.monotonic() - begun < 4
    site.router.wait_for_log("HARAKIRI: 'GET /hang' took more than 1 seconds, 1 cut")
    wait_until(lambda: fetch(site.address).status == 200, 5, "another process serves")
    assert "HARAKIRI ON GATEWAY" not in site.router.log()


def test_harakiri_of_one_that_holds_the_interpreter(servers: Servers) -> None:
    """No thread of it runs any more: gunicorn's own limit ends it."""
    text = "import re\ndef page(environ):\n    if environ['PATH_INFO'] == '/hang': re.match('(a+)+b', 'a' * 99)\n"
    site = App(servers, text + "    return b'app'\n", "harakiri = 1")
    with servers.client(site.address) as client:
        client.send_packet([(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b"/hang"), (b"HTTP_HOST", b"a")])
        assert client.read_all()[0] == b""
    assert "WORKER TIMEOUT" in site.router.log()
    wait_until(lambda: fetch(site.address).status == 200, 5, "another process serves")


def test_what_the_options_do(servers: Servers) -> None:
    """pythonpath, chdir, env, callable, mount, max-requests; a second socket; the log that is opened again."""
    text = (
        "def page(environ): return repr((environ['SCRIPT_NAME'], os.getpid(), value, os.environ['COLOUR'])).encode()\n"
    )
    (servers.directory / "extra").mkdir()
    (servers.directory / "extra" / "extra_module.py").write_text("value = 5\n")
    (servers.directory / "api.py").write_text("from site_api import application as app\n")
    (servers.directory / "site_api.py").write_text(SECOND)
    log, second = servers.directory / "site.log", servers.path("second.sock")
    site = App(
        servers,
        "from extra_module import value\n" + text,
        f"chdir = {servers.directory}",
        f"pythonpath = {servers.directory}/extra",
        "env = COLOUR=red",
        "mount = /api=api:app",
        "manage-script-name = true",
        "max-requests = 3",
        f"socket = {second}",
        f"logto = {log}",
    )
    assert site.body("/x").startswith(b"('', ")
    assert site.body().endswith(b"5, 'red')")
    assert site.body("/api/x") == b"second"
    assert fetch(second).status == 200
    assert len({site.body() for _ in range(9)}) >= 3, "three requests a process"
    log.rename(servers.directory / "old.log")
    site.router.signal(signal.SIGUSR1)
    pids = [site.router.pid, *instance(site.router)]
    wait_until(lambda: all(os.path.realpath(f"/proc/{pid}/fd/2") == str(log) for pid in pids), 5, "all write to it")
    assert site.router.stop() == 0
    assert os.path.exists(second), "it is the router's to remove (vacuum), not gunicorn's"


def test_autoreload(servers: Servers) -> None:
    site = App(servers, FIRST, "py-autoreload = 1")
    assert site.body() == b"first"
    with SteadyLoad(uwsgi_get(site.address, "a.example"), rate=RATE) as load:
        site.file.write_text(SECOND)
        site.router.wait_for_log(f"{site.file} changed: reloading")
        site.router.wait_for_log("] reloaded in ", deadline=10)
        wait_until(lambda: site.body() == b"second", 5, "the new application serves")
    assert load.failures == []


def test_a_virtual_environment(servers: Servers) -> None:
    """The application runs with its Python and its packages; gunicorn is the router's if it has none."""
    import venv

    home = servers.directory / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    (site_packages,) = home.glob("lib/python*/site-packages")
    (site_packages / "only_there.py").write_text("value = b'from the environment'\n")
    text = "from only_there import value\nassert sys.prefix == {!r}\ndef page(environ): return value\n"
    site = App(servers, text.format(str(home)), f"virtualenv = {home}")
    assert site.body() == b"from the environment"
    site.router.rewrite(site.text(f"virtualenv = {home}/nowhere"))
    site.hup("the old configuration stays in use")
    assert f"virtualenv = {home}/nowhere: there is no {home}/nowhere/bin/python" in site.router.log()


def test_without_gunicorn_the_error_says_what_to_install(servers: Servers) -> None:
    (servers.directory / "hidden").mkdir()
    hide = (
        "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == 'gunicorn' else f(n, *a)"
    )
    (servers.directory / "hidden" / "sitecustomize.py").write_text(hide)
    config = f"[uwsgi]\nfastrouter = {local()}\nsocket = {local()}\nmodule = a\nfastrouter-to = {local()}\n"
    path = f"{servers.directory}/hidden:{os.environ.get('PYTHONPATH', '')}:{Path(__file__).parents[2]}"
    router = servers.router(config=config, env={"PYTHONPATH": path}, ready=False)
    assert router.wait() == 1
    log = router.log()
    assert "conf:4: module = a: an application needs gunicorn, which is not installed" in log
    assert "pip install 'uwsgirouter[app]'" in log


SLOW = "def page(environ):\n    if environ['PATH_INFO'] == '/slow': time.sleep(1.5)\n    return b'app'\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_requests_finish_and_a_fast_one_cuts_them(servers: Servers, number: int) -> None:
    site = App(servers, SLOW)
    with servers.client(site.address) as client:
        client.send_packet([(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b"/slow"), (b"HTTP_HOST", b"a")])
        (busy,) = instance(site.router)[1:]
        wait_until(lambda: connected(busy), 5, "the request is under way")
        site.router.signal(number)
        data, _ = client.read_all()
    assert data.endswith(b"app") is (number == signal.SIGTERM), data
    assert site.router.stop(deadline=3) == 0


def connected(pid: int) -> bool:
    """Whether a process has accepted a connection."""
    return any(connection.status == "ESTABLISHED" for connection in psutil.Process(pid).net_connections())


def test_it_rests_with_the_workers(servers: Servers) -> None:
    site = App(servers, FIRST)
    site.router.signal(signal.SIGWINCH)
    wait_until(lambda: not instance(site.router) and not site.router.workers(), 5, "all left")
    with servers.client(site.address) as client:
        client.send_packet([(b"REQUEST_METHOD", b"GET"), (b"HTTP_HOST", b"a")])
        site.router.hup()
        assert client.reply().body == b"first"


def test_the_router_may_connect_to_it(servers: Servers) -> None:
    """fastrouter-use-socket: the application as the router's node, on a socket of its own."""
    own = servers.path("own.sock")
    (servers.directory / "site.py").write_text(FIRST)
    lines = [f"fastrouter = {local()}", f"socket = {own}", "fastrouter-use-socket = 0"]
    router = servers.router(config="\n".join(["[uwsgi]", *lines, f"wsgi-file = {servers.directory}/site.py", ""]))
    router.wait_ready(router.workers)
    assert fetch(router.address).body == fetch(own).body == b"first"
    assert "stats: 1 nodes" in stats(router)


def stats(router: Router) -> str:
    """The router's counters."""
    router.signal(signal.SIGUSR1)
    return router.wait_for_log("stats: ")


def test_nothing_outlives_a_master_that_was_killed(servers: Servers) -> None:
    site = App(servers, FIRST, "processes = 2")
    family = [psutil.Process(pid) for pid in instance(site.router)]
    assert len(family) == 3
    site.router.signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, 10)
    assert alive == []
    site.router.kill()

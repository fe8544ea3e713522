"""What else goes over an upgrade: attendants, caches, metrics, the snapshot's file, names, and how it was started."""

from __future__ import annotations

import fcntl
import glob
import json
import os
import pwd
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from tests.master.versions import Installation
from tests.master.watching import assert_no_failure, load, title, wait_for_serving
from tests.servers import (
    Process,
    Router,
    Servers,
    announce,
    answer,
    fetch,
    free_udp_port,
    is_listening,
    local,
    wait_until,
)
from tests.servers.programs import environment
from tests.servers.wire import Reply

DEADLINE = 40.0
ROOT = os.geteuid() == 0

FILL = """
import uwsgi
uwsgi.cache_inc("runs", 1)
print("the script ran", flush=True)
"""
APP = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"app %d" % os.getppid()]
"""


def present(router: Process) -> dict[str, int]:
    """How many of the master's children are what, by their titles."""
    titles = [title(child.pid) for child in psutil.Process(router.pid).children()]
    names = ("scripts", "resolver", "worker")
    return {name: sum(text.startswith(f"uwsgirouter: {name}") for text in titles) for name in names}


def upgrade(router: Process, times: int) -> None:
    router.signal(signal.SIGUSR2)
    router.wait_for_log("] upgraded from version", DEADLINE, times)


def hits(reply: Reply) -> int:
    return int(reply.header("x-hits") or 0)


def test_everything_goes_over(servers: Servers) -> None:
    """Scripts and caches, an application, a resolver, metrics, the snapshot's lock: nothing fails, nothing is twice."""
    installation = Installation(servers, "1.0.0")
    (servers.directory / "fill.py").write_text(FILL)
    (servers.directory / "app.py").write_text(APP)
    address, app, server = local(), local(), f"127.0.0.1:{free_udp_port()}"
    snapshot = servers.directory / "nodes"
    router = installation.router(
        config=f"""[uwsgi]
fastrouter = {address}
fastrouter-subscription-server = {server}
fastrouter-processes = 2
fastrouter-fallback = localhost:9
subscription-tolerance = 600
subscription-snapshot = {snapshot}
file = fill.py
cache2 = name=things,items=100
socket = {app}
wsgi-file = app.py
processes = 2
metric = name=hits
route-run = metricinc:hits
route-run = addheader:X-Hits: ${{metric[hits]}}
"""
    )
    wait_for_serving(router, 2, DEADLINE)
    node = servers.node(answer(b"served"))
    announce(server, "a.example", node.address)
    wait_until(lambda: fetch(address, "a.example").status == 200, DEADLINE, "the node serves")
    wait_until(lambda: fetch(app, "x").body.startswith(b"app"), DEADLINE, "the application serves")
    each = {"scripts": 1, "resolver": 1, "worker": 2}
    assert present(router) == each
    places = glob.glob(f"/dev/shm/uwsgirouter.run-{router.pid}-*")
    old_app = fetch(app, "x").body
    counted = hits(fetch(address, "a.example"))
    with load(address, rate=100, threads=4) as routed, load(app, rate=50, threads=4) as direct:
        for number in (1, 2):
            installation.install(f"{number + 1}.0.0")
            upgrade(router, number)
    for asked in (routed, direct):
        assert_no_failure(asked.results)
    wait_until(lambda: present(router) == each, DEADLINE, "nobody is there twice")
    assert hits(fetch(address, "a.example")) >= counted + len(routed.results)
    wait_until(lambda: fetch(app, "x").body != old_app, DEADLINE, "the application was replaced, too")
    assert glob.glob(f"/dev/shm/uwsgirouter.run-{router.pid}-*") == places
    argv = [sys.executable, "-m", "uwsgirouter.control", "cache", "--router", str(router.pid), "get", "runs"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=DEADLINE, env={**os.environ, **environment(None)}
    )
    assert router.log().count("the script ran") == 3
    assert done.returncode == 0, done.stderr
    with open(f"{snapshot}.lock", "r+b") as file, pytest.raises(OSError, match=r".*"):
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    before_exit = psutil.Process(router.pid).children(recursive=True)
    assert router.stop(deadline=DEADLINE) == 0
    assert not [child for child in before_exit if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert glob.glob(f"/dev/shm/uwsgirouter.run-{router.pid}-*") == []


def test_statistics_and_logs_go_on(servers: Servers) -> None:
    """What was counted stays counted, no reader of statistics is cut off, each request is in the log once."""
    address, server, stats, log = local(), f"127.0.0.1:{free_udp_port()}", local(), servers.directory / "access.log"
    router = servers.router(
        config=f"""[uwsgirouter]
fastrouter = {address}
fastrouter-subscription-server = {server}
fastrouter-processes = 2
subscription-tolerance = 600
fastrouter-stats = {stats}
req-logger = file:{log}
"""
    )
    wait_for_serving(router, 2, DEADLINE)
    node = servers.node(answer(b"served"))
    announce(server, "a.example", node.address)
    wait_until(lambda: fetch(address, "a.example").status == 200, DEADLINE, "the node serves")

    def hits() -> int:
        host, port = stats.rsplit(":", 1)
        with socket.create_connection((host, int(port)), DEADLINE) as sock, sock.makefile("rb") as file:
            return int(json.loads(file.read())["subscriptions"][0]["hits"])

    before, descriptors = hits(), len(os.listdir(f"/proc/{router.pid}/fd"))
    with load(address, rate=100, threads=4) as asked:
        for number in (1, 2):
            router.signal(signal.SIGUSR2)
            while router.log().count("] upgraded from version") < number:
                hits()
    assert_no_failure(asked.results)
    wait_until(lambda: hits() == before + len(asked.results), DEADLINE, "all are counted")
    wait_until(lambda: log.read_text().count("\n") >= before + len(asked.results), DEADLINE, "all are written")
    wait_until(lambda: len(os.listdir(f"/proc/{router.pid}/fd")) <= descriptors + 1, DEADLINE, "no descriptor is lost")
    assert "trial: " not in router.log(), "a trial has nothing to say when all is well"


def test_it_is_started_again_as_it_was(servers: Servers) -> None:
    """A script on a relative path, a relative configuration, chdir, env, standard input, options of the interpreter."""
    installation = Installation(servers, "1.0.0")
    address, work = local(), servers.directory / "work"
    work.mkdir()
    (servers.directory / "bin").mkdir()
    script = servers.directory / "bin" / "uwsgirouter"
    script.write_text("import sys\nfrom uwsgirouter.cli import main\nassert sys.flags.dont_write_bytecode\nmain()\n")
    node = servers.node(answer(b"served"))
    (servers.directory / "nodes.ini").write_text(f"[uwsgirouter]\nfastrouter-to = {node.address}\n")
    config = f"[uwsgirouter]\nfastrouter = {address}\nchdir = work\ninclude = nodes.ini\nfastrouter = r.sock\n"
    (servers.directory / "stdin.ini").write_text(config)
    code = (
        "import os, sys; os.dup2(os.open('stdin.ini', 0), 0); os.environ['PYTHONPATH'] = sys.argv[1]; "
        "os.execv(sys.executable, [sys.executable, '-B', 'bin/uwsgirouter', '-c', '-'])"
    )
    router = servers.process(sys.executable, "-c", code, os.path.basename(installation.root))
    router.wait_ready(lambda: is_listening(address))
    for number in (1, 2):
        installation.install(f"{number + 1}.0.0")
        with load(address) as asked:
            upgrade(router, number)
        assert_no_failure(asked.results)
        assert psutil.Process(router.pid).cwd() == str(work)
        assert fetch(str(work / "r.sock")).body == b"served"
    assert "*** uwsgirouter 3.0.0 " in router.log()


def test_a_router_that_became_another_user(servers: Servers) -> None:
    """What it cannot do any more it need not, it has its sockets; an interpreter out of reach ends the trial."""
    user = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
    installation = Installation(servers, "1.0.0")
    address, node = local(), servers.node(answer(b"served"))
    config = f"[uwsgirouter]\nfastrouter = {address}\nfastrouter-to = {node.address}\nuid = {user.pw_uid}\n"
    router: Router = installation.router(config=config)
    old = wait_for_serving(router, 1, DEADLINE)
    probe = (
        f"import os; os.setgid({user.pw_gid}); os.setuid({user.pw_uid}); os.execv({sys.executable!r}, ['p', '-c', ''])"
    )
    may = subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=DEADLINE).returncode == 0
    installation.install("2.0.0")
    with load(address) as asked:
        if may:
            upgrade(router, 1)
            assert set(wait_for_serving(router, 1, DEADLINE)).isdisjoint(old)
            assert psutil.Process(router.pid).uids().real == user.pw_uid
        else:
            router.signal(signal.SIGUSR2)
            router.wait_for_log("upgrade failed: version 1.0.0 goes on", DEADLINE)
            assert "PermissionError: [Errno 13] Permission denied" in router.log()
            assert wait_for_serving(router, 1, DEADLINE) == old
    assert_no_failure(asked.results)

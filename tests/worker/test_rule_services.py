"""What rules use beside the request, in a real worker: scripts, other servers, passwords, metrics, alarms."""

from __future__ import annotations

import base64
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest

from tests.servers import Servers, UwsgiApp, get, local, wait_until
from tests.servers.wire import Reply
from tests.worker.site import Site

FUNCS = """\
import os, time, uwsgi

def hello(*arguments):
    return b"hello " + b",".join(arguments)

def slow(seconds):
    time.sleep(float(seconds))
    return b"slept in %d" % uwsgi.worker_id()

def fail():
    raise RuntimeError("on purpose")

def large():
    return b"x" * 100_000

def note(number):
    time.sleep(0)  # waits as a greenlet does
    uwsgi.cache_update("signal", b"%d in %d" % (number, uwsgi.worker_id()))

uwsgi.register_rpc("hello", hello)
uwsgi.register_rpc("slow", slow)
uwsgi.register_rpc("fail", fail)
uwsgi.register_rpc("large", large)
uwsgi.register_signal(17, "", note)
"""
REMOTE = (
    "import uwsgi\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n"
)
RULES = """\
cache2 = name=one,items=100
metric = hits
alarm = command cmd:cat >> alarm.out
alarm-freq = 0
route = ^/rpc/(.*) rpc:hello $1 ${REMOTE_ADDR}
route = ^/slow rpc:slow 1.5
route = ^/fail rpc:fail
route = ^/nobody rpc:hello@127.0.0.1:1 x
route = ^/quick return:204
route = ^/signal signal:17
route = ^/signal return:204
route = ^/noted cache:key=signal
route = ^/hit metricinc:hits
route = ^/hit addheader:X-Hits: ${metric[hits]}
route = ^/hit return:200
route = ^/alarm alarm:command at ${PATH_INFO};
route = ^/alarm return:204
route = ^/secret basicauth:Realm,users
route = ^/secret return:200
route = ^/count cacheinc:key=n
route = ^/count cachevar:key=n,var=N,as_num=1
route = ^/count addheader:X-N: ${N}
route = ^/count return:200
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("services")
    (path / "funcs.py").write_text(FUNCS)
    (path / "users").write_bytes(b"ann:" + bcrypt.hashpw(b"pw", bcrypt.gensalt(11)) + b"\n")
    return path


@pytest.fixture(scope="module")
def remote(started: Servers, directory: Path) -> UwsgiApp:
    """A real uWSGI that answers calls."""
    (directory / "remote.py").write_text(REMOTE + FUNCS)
    return started.uwsgi("--socket", "127.0.0.1:0", "--wsgi-file", str(directory / "remote.py"), "--master")


@pytest.fixture(scope="module")
def site(started: Servers, directory: Path, remote: UwsgiApp) -> Site:
    lines = [line.replace("users", f"{directory}/users").replace("alarm.out", f"{directory}/alarm.out")
             for line in RULES.splitlines()]  # fmt: skip
    calls = [f"route = ^/remote/(.*) rpc:hello@{remote.address} $1", f"route = ^/large rpc:large@{remote.address}"]
    return Site(started, f"import = {directory}/funcs.py", "fastrouter-timeout = 10", *lines, *calls)


def ask(site: Site, path: str, headers: dict[str, str] | None = None) -> Reply:
    extra = [(f"HTTP_{name.upper()}".encode(), value.encode()) for name, value in (headers or {}).items()]
    with site.servers.client(site.tcp) as client:
        client.send_packet(get("any.example", path, extra=extra))
        return client.reply()


def test_a_function_of_a_script_answers(site: Site) -> None:
    reply = ask(site, "/rpc/one")
    assert (reply.status, reply.body) == (200, b"hello one,127.0.0.1")


def test_a_function_that_fails_is_told(site: Site) -> None:
    assert ask(site, "/fail").status == 500
    wait_until(lambda: "RuntimeError: on purpose" in site.router.log(), 10, "the traceback is logged")


def test_a_function_that_waits_holds_up_nobody(site: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(ask, site, "/slow") for _ in range(2)]
        began = time.monotonic()
        for _ in range(5):
            assert ask(site, "/quick").status == 204
        assert not any(one.done() for one in slow), time.monotonic() - began
        assert {one.result().body for one in slow} == {b"slept in 1"}


def test_a_function_of_a_real_uwsgi(site: Site) -> None:
    assert ask(site, "/remote/one").body == b"hello one"
    assert ask(site, "/large").body == b"x" * 100_000


def test_another_server_that_is_not_there(site: Site) -> None:
    assert ask(site, "/nobody").status == 500
    wait_until(lambda: "rpc hello@127.0.0.1:1 failed" in site.router.log(), 10, "it is logged")


def test_a_signal_runs_its_function_in_the_worker(site: Site) -> None:
    assert ask(site, "/signal").status == 204
    wait_until(lambda: ask(site, "/noted").body == b"17 in 1", 20, "the function ran")


def test_caches_are_those_of_the_scripts(site: Site) -> None:
    assert [ask(site, "/count").header("x-n") for _ in range(3)] == ["1", "2", "3"]


def test_an_alarm_runs_its_command(site: Site, directory: Path) -> None:
    assert ask(site, "/alarm").status == 204
    assert ask(site, "/alarm/2").status == 204
    told = directory / "alarm.out"
    wait_until(lambda: told.exists() and told.read_bytes().count(b";") == 2, 20, "both were told")
    assert b"at /alarm;" in told.read_bytes()


def test_slow_hashes_hold_up_nobody(site: Site) -> None:
    wrong = {"authorization": "Basic " + base64.b64encode(b"ann:wrong").decode()}
    right = {"authorization": "Basic " + base64.b64encode(b"ann:pw").decode()}
    with ThreadPoolExecutor(6) as pool:
        slow = [pool.submit(ask, site, "/secret", wrong) for _ in range(6)]
        assert ask(site, "/quick").status == 204
        assert {one.result().status for one in slow} == {401}
    assert ask(site, "/secret", right).status == 200
    assert ask(site, "/secret", right).status == 200
    assert ask(site, "/secret").status == 401


def test_a_script_that_fails_in_a_worker_refuses_the_start(started: Servers, directory: Path) -> None:
    (directory / "picky.py").write_text(
        "import uwsgi\nif uwsgi.worker_id():\n    raise RuntimeError('not in a worker')\n"
    )
    lines = ["[uwsgirouter]", f"fastrouter = {local()}", f"import = {directory}/picky.py", "route-run = rpc:hello"]
    router = started.router(config="\n".join([*lines, "fastrouter-to = 127.0.0.1:1", ""]), ready=False)
    assert router.wait(20) != 0
    assert "picky.py: RuntimeError: not in a worker" in router.log()


def test_metrics_outlive_workers_and_reloads(site: Site) -> None:
    assert [ask(site, "/hit").header("x-hits") for _ in range(2)] == ["1", "2"]
    os.kill(site.worker, signal.SIGKILL)
    wait_until(lambda: site.router.workers() not in ([], [site.worker]), 20, "another worker is there")
    assert ask(site, "/hit").header("x-hits") == "3"
    before = site.router.workers()
    site.router.signal(signal.SIGHUP)
    wait_until(lambda: not set(before) & set(site.router.workers()) and site.router.workers(), 20, "they are new")
    assert ask(site, "/hit").header("x-hits") == "4"
    assert ask(site, "/rpc/two").status == 200

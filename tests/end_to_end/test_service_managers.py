"""The units and scripts of conf/ for systemd, runit and supervisord: each started as its manager does, and upgraded."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tests.master.test_notify import LAUNCHER, Manager, manager
from tests.servers import Process, Servers, announce, answer, fetch, is_listening, wait_until
from tests.servers.programs import ROUTER_COMMAND, environment, program

DEADLINE = 30.0
UNITS = ("uwsgirouter.service", "uwsgirouter.socket", "uwsgirouter@.service", "uwsgirouter@.socket")
OF_A_SERVICE = {
    "Type": "notify",
    "NotifyAccess": "main",
    "KillMode": "mixed",
    "KillSignal": "SIGTERM",
    "ExecReload": "/bin/kill -HUP $MAINPID",
}


def unit(text: str) -> RawConfigParser:
    """A unit file; a repeated key or one outside a section is an error."""
    parser = RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def serve_through(servers: Servers, listener: str, server: str, key: str = "a.example") -> None:
    """A node announces itself, and a request finds it."""
    node = servers.node(answer(b"served"))
    announce(server, key, node.address)
    wait_until(lambda: fetch(listener, key).status == 200, DEADLINE, "the announced node serves")


def test_the_units_are_understood_by_systemd(servers: Servers, project: Path) -> None:
    """By systemd's own judgement where it is installed; that they are units, and agree, in any case."""
    for name in UNITS:
        text = (project / "conf" / "systemd" / name).read_text()
        found = unit(text)
        if name.endswith(".service"):
            service = dict(found["Service"])
            assert OF_A_SERVICE.items() <= service.items(), name
            assert int(service["WatchdogSec"]) >= 30
        (servers.directory / name).write_text(text.replace("/usr/local/bin/uwsgirouter", sys.executable))
    verifier = shutil.which("systemd-analyze")
    for name in UNITS if verifier else ():
        path = servers.directory / name.replace("@.", "@shop.")
        done = subprocess.run(
            [str(verifier), "verify", "--man=no", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert str(servers.directory) not in done.stderr, done.stderr


def started_by_systemd(servers: Servers, text: str, sockets: str, told: Manager) -> Process:
    """ExecStart of a unit, with the sockets of the other one, and its watchdog."""
    service = unit(text)["Service"]
    command = service["ExecStart"].replace("/usr/local/bin/uwsgirouter", shlex.join(ROUTER_COMMAND))
    kinds = {"ListenStream": "stream", "ListenDatagram": "datagram"}
    listen = " ".join(f"{kinds[kind]},{name}" for kind, name in unit(sockets)["Socket"].items() if kind in kinds)
    seconds = int(service["WatchdogSec"])
    variables = {"NOTIFY_SOCKET": told.address, "WATCHDOG_USEC": str(seconds * 1_000_000)}
    return servers.process(sys.executable, "-c", LAUNCHER, listen, *shlex.split(command), env=variables)


def test_an_instance_of_the_template(servers: Servers, project: Path) -> None:
    """Its sockets, its configuration, ready, reloaded by ExecReload, upgraded, stopped by KillSignal."""
    directory = project / "conf" / "systemd"

    def text(name: str) -> str:
        found = (directory / name).read_text().replace("%i", "shop").replace("/etc/uwsgirouter", str(servers.directory))
        return found.replace("/run/", f"{servers.directory}/")

    listener, server = servers.path("uwsgirouter-shop.sock"), servers.path("uwsgirouter-shop.nodes")
    (servers.directory / "shop.conf").write_text(
        f"[uwsgirouter]\nfastrouter = {listener}\nfastrouter-subscription-server = {server}\nvacuum = true\n"
    )
    with manager(servers.path("notify")) as told:
        router = started_by_systemd(servers, text("uwsgirouter@.service"), text("uwsgirouter@.socket"), told)
        told.wait("READY")
        serve_through(servers, listener, server)
        reload = unit(text("uwsgirouter@.service"))["Service"]["ExecReload"].replace("$MAINPID", str(router.pid))
        subprocess.run(shlex.split(reload), check=True, timeout=DEADLINE)
        told.wait("READY", 2)
        subprocess.run(["/bin/kill", "-USR2", str(router.pid)], check=True, timeout=DEADLINE)
        told.wait("READY", 3)
        router.wait_for_log("goes on where", DEADLINE)
        assert fetch(listener, "a.example").body == b"served"
        told.wait("WATCHDOG")
        assert router.stop() == 0
        told.wait("STOPPING")
    assert is_listening(listener) is False
    assert Path(listener).exists(), "systemd's socket is systemd's to remove"


@pytest.fixture
def config(servers: Servers, project: Path) -> tuple[Path, str, str]:
    """router.conf with addresses of its own: the file, the listener, the subscription server."""
    listener, server = servers.path("r.sock"), servers.path("r.nodes")
    text = (project / "conf" / "router.conf").read_text()
    path = servers.directory / "router.conf"
    path.write_text(text.replace("127.0.0.1:3017", listener).replace("127.0.0.1:2626", server))
    return path, listener, server


def commands(servers: Servers) -> dict[str, str]:
    """A PATH on which ``uwsgirouter`` is this tree's."""
    directory = servers.directory / "bin"
    directory.mkdir()
    script = directory / "uwsgirouter"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(ROUTER_COMMAND)} "$@"\n')
    script.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def test_runit(servers: Servers, project: Path, config: tuple[Path, str, str]) -> None:
    """runsv starts it; sv reloads it, upgrades it (the pid stays) and stops it."""
    path, listener, server = config
    service = servers.directory / "uwsgirouter"
    service.mkdir()
    text = (project / "conf" / "runit" / "run").read_text()
    assert re.search(r"^exec uwsgirouter ", text, re.M)
    (service / "run").write_text(text.replace("/etc/uwsgirouter/router.conf", str(path)))
    (service / "run").chmod(0o755)
    runsv = servers.process(program("runsv"), str(service), env=commands(servers))
    runsv.wait_ready(lambda: is_listening(listener))
    serve_through(servers, listener, server)

    def sv(*words: str) -> str:
        argv = [program("sv"), *words, str(service)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout

    pid = re.search(r"\(pid (\d+)\)", sv("status"))
    assert pid is not None
    sv("reload")
    runsv.wait_for_log("] reloaded in ", DEADLINE)
    sv("2")
    runsv.wait_for_log("] upgraded from version", DEADLINE)
    assert fetch(listener, "a.example").body == b"served"
    assert f"(pid {pid[1]})" in sv("status"), "runit supervises the same process"
    assert sv("-w", "30", "stop").startswith("ok: down")
    assert "goodbye to uwsgirouter." in runsv.log()
    sv("exit")
    runsv.wait(DEADLINE)


def test_supervisord(servers: Servers, project: Path, config: tuple[Path, str, str]) -> None:
    """USR2 by supervisorctl: supervisord sees the same process, which is another version afterwards."""
    path, listener, server = config
    text = (project / "conf" / "supervisord.conf").read_text()
    text = text.replace("/etc/uwsgirouter/router.conf", str(path))
    text = text.replace("/var/log/uwsgirouter.log", servers.path("router.log"))
    main, socket = servers.directory / "supervisord.conf", servers.path("supervisor.sock")
    main.write_text(
        f"[supervisord]\nlogfile={servers.path('s.log')}\npidfile={servers.path('s.pid')}\n"
        f"[unix_http_server]\nfile={socket}\n[supervisorctl]\nserverurl=unix://{socket}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n" + text
    )
    supervisor = servers.process(program("supervisord"), "-n", "-c", str(main), env=commands(servers))
    supervisor.wait_ready(lambda: is_listening(listener), 30)
    serve_through(servers, listener, server)

    def control(*words: str) -> str:
        argv = [program("supervisorctl"), "-c", str(main), *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**environment(None)})
        return done.stdout + done.stderr

    pid = control("pid", "uwsgirouter")
    control("signal", "USR2", "uwsgirouter")
    log = servers.directory / "router.log"
    wait_until(lambda: "] upgraded from version" in log.read_text(), DEADLINE, "the upgrade")
    assert control("pid", "uwsgirouter") == pid
    assert fetch(listener, "a.example").body == b"served"
    assert "uwsgirouter: stopped" in control("stop", "uwsgirouter")
    assert not is_listening(listener)

"""The real programs: the router under test, the C FastRouter, uWSGI, gunicorn, nginx, uwsgirouterctl.

A program that is missing fails the test with its name; ``make test`` installs them all.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import psutil

from tests.servers.ports import is_bound_udp, is_listening, local
from tests.servers.process import Process, wait_until

ROUTER_COMMAND = [sys.executable, "-m", "uwsgirouter"]
PROJECT = Path(__file__).resolve().parents[2]


def program(name: str) -> str:
    """The path of a program: beside this Python, else on PATH, else in the places of system programs."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    assert found, f"{name} is not installed: run `make test`, which installs it"
    return found


def uwsgi_command() -> list[str]:
    """uWSGI with Python built in: the wheel's, else Debian's with its plugin."""
    found = program("uwsgi")
    return [found] if Path(found).parent == Path(sys.executable).parent else [found, "--plugins", "python3"]


def system_uwsgi() -> str:
    """The uWSGI of the system's packages. The wheel's cannot sign, check signatures, or reload in an environment."""
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join(place for place in os.get_exec_path() if place != beside)
    found = shutil.which("uwsgi", path=path)
    assert found, "no uwsgi of the system: run `make test`, which installs it"
    return found


def environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """The variables that every started program gets beside the test's own."""
    # The package under test is found from whatever directory the server runs in.
    path = os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": f"{PROJECT}:{path}" if path else str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        **(env or {}),
    }


class Router(Process):
    """uwsgirouter, ready when every address it was given is listened on.

    ``config`` is the text of a configuration file, written to ``config_file``; ``args`` are further
    arguments.
    """

    name = "router"
    worker_title = "uwsgirouter: worker"

    def __init__(
        self,
        directory: Path,
        *args: str,
        config: str = "",
        env: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> None:
        self.config_file = directory / f"{self.name}-{len(list(directory.glob(self.name + '-*.conf')))}.conf"
        from_file: list[str] = []
        if config:
            self.rewrite(config)
            from_file = self.config_arguments(self.config_file)
        super().__init__([*self.command(), *from_file, *args], directory, environment(env))
        self.listening, self.subscription_servers = _addresses(config, args)
        if ready:
            self.wait_ready(self.is_ready)

    def command(self) -> list[str]:
        """The router's command line without options."""
        return list(ROUTER_COMMAND)

    def config_arguments(self, path: Path) -> list[str]:
        """The arguments that name a configuration file."""
        return ["-c", str(path)]

    def rewrite(self, config: str) -> None:
        """Write another configuration to the file; :meth:`hup` makes the router read it."""
        temporary = self.config_file.with_suffix(".new")
        temporary.write_text(config)
        temporary.replace(self.config_file)

    @property
    def address(self) -> str:
        """The first address it listens on."""
        return self.listening[0]

    @property
    def server(self) -> str:
        """Its first subscription server's address."""
        return self.subscription_servers[0]

    def is_ready(self) -> bool:
        """Every address is listened on."""
        return all(map(is_listening, self.listening)) and all(map(is_bound_udp, self.subscription_servers))

    def workers(self) -> list[int]:
        """The pids of its workers, lowest first."""
        return sorted(child.pid for child in self.children() if _title(child).startswith(self.worker_title))

    def wait_for_workers(self, count: int, deadline: float = 5.0) -> list[int]:
        """Wait until there are exactly so many workers; their pids."""
        return wait_until(lambda: self.workers() if len(self.workers()) == count else [], deadline, f"{count} workers")

    def hup(self) -> None:
        """Ask for a reload."""
        self.signal(signal.SIGHUP)


def _title(process: psutil.Process) -> str:
    """What ``ps`` shows of it, empty when it has ended since it was found."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


class FastRouter(Router):
    """uWSGI's own FastRouter: what the router under test is compared with."""

    name = "fastrouter"
    worker_title = ""

    def command(self) -> list[str]:
        """uWSGI as a router: with a master, and stopped by SIGTERM."""
        return [program("uwsgi"), "--master", "--die-on-term"]

    def config_arguments(self, path: Path) -> list[str]:
        """uWSGI's option for an ini file of any name."""
        return ["--ini", str(path)]


class SystemFastRouter(FastRouter):
    """The one of the system's packages, which can check signatures."""

    def command(self) -> list[str]:
        """As above, with the plugins that it needs."""
        return [system_uwsgi(), "--plugins", "corerouter,fastrouter", "--master", "--die-on-term"]


_LISTEN = re.compile(r"^(?:--)?(?:fastrouter|shared-socket)$")
_SERVER = re.compile(r"^(?:--)?fastrouter-subscription-server$")


def _catches_hangup(pid: int) -> bool:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next(line for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGHUP - 1))


def _addresses(config: str, args: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The addresses that a configuration names plainly: listeners and subscription servers."""
    lines = (line.partition("=") for line in config.splitlines())
    pairs = [(name.strip(), value.strip()) for name, equals, value in lines if equals]
    spread = [part for argument in args for part in argument.split("=", 1)]
    pairs += list(pairwise(spread))
    plain = [
        (name, value) for name, value in pairs if value and not value.startswith(("=", "fd:")) and "%" not in value
    ]
    listening = [value for name, value in plain if _LISTEN.match(name)]
    servers = [value for name, value in plain if _SERVER.match(name)]
    return listening, servers


class UwsgiApp(Process):
    """A real uWSGI application server: master, workers, a uwsgi socket on a port that it chooses."""

    name = "uwsgi"
    stop_signal = signal.SIGINT
    _bound = re.compile(r"uwsgi socket \d+ (?:bound|inherited).*?address (\S+)")

    def __init__(self, directory: Path, *args: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__([*self.command(), *args], directory, environment(env))
        self.wait_ready(lambda: "spawned uWSGI worker 1" in self.log() and self._bound.search(self.log()))
        self.wait_ready(self.heeds_signals)

    def heeds_signals(self) -> bool:
        """Its workers have their own handlers. Before, one may lose the signal by which its master would stop it."""
        workers = re.findall(r"spawned uWSGI worker \d+ \(pid: (\d+)", self.log())
        return all(_catches_hangup(int(pid)) for pid in workers if psutil.pid_exists(int(pid)))

    def command(self) -> list[str]:
        """uWSGI with Python."""
        return uwsgi_command()

    @property
    def address(self) -> str:
        """Its first uwsgi socket, as the kernel knows it."""
        found = self._bound.search(self.log())
        assert found, self.log()
        return found.group(1)


class SystemUwsgiApp(UwsgiApp):
    """The uWSGI of the system's packages, which can sign its announcements."""

    def command(self) -> list[str]:
        """As above, with the plugin that it needs."""
        return [system_uwsgi(), "--plugins", "python3"]


class Gunicorn(Process):
    """gunicorn --protocol uwsgi serving ``app`` (module:name) of ``app_directory``."""

    name = "gunicorn"

    def __init__(
        self,
        directory: Path,
        app: str,
        app_directory: Path,
        *args: str,
        address: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address or local()
        bind = f"unix:{self.address}" if self.address.startswith("/") else self.address
        fixed = ["--protocol", "uwsgi", "--bind", bind, "--chdir", str(app_directory), "--no-control-socket"]
        argv = [sys.executable, "-m", "gunicorn", *fixed, *args, app]
        # Tests write its configuration anew within a second, and bytecode knows its source by the second and the size.
        super().__init__(argv, directory, environment({"PYTHONDONTWRITEBYTECODE": "1", **(env or {})}))
        self.wait_ready(lambda: is_listening(self.address) and "Booting worker" in self.log())


class Nginx(Process):
    """nginx in the foreground with the text as its configuration; ``{directory}`` is left to the caller."""

    name = "nginx"
    stop_signal = signal.SIGQUIT

    def __init__(self, directory: Path, config: str, *listening: str) -> None:
        path = directory / f"nginx-{len(list(directory.glob('nginx-*.conf')))}.conf"
        path.write_text(config)
        super().__init__([program("nginx"), "-p", f"{directory}/", "-c", str(path)], directory)
        self.wait_ready(lambda: all(map(is_listening, listening)))


class Announcer(Process):
    """``uwsgirouterctl subscribe``: announces until it is stopped, then unsubscribes."""

    name = "announcer"

    def __init__(self, directory: Path, server: str, key: str, address: str, *args: str) -> None:
        argv = [sys.executable, "-m", "uwsgirouter.control", "subscribe"]
        argv += ["--server", server, "--key", key, "--address", address, *args]
        super().__init__(argv, directory, environment(None))
        self.wait_ready(lambda: f"{key} => {address}" in self.log())

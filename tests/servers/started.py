"""What the ``servers`` fixture gives: it starts servers and peers, and stops whatever it started."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tests.servers.client import Client
from tests.servers.node import Handler, Node
from tests.servers.process import Process
from tests.servers.programs import (
    Announcer,
    FastRouter,
    Gunicorn,
    Nginx,
    Router,
    SystemFastRouter,
    SystemUwsgiApp,
    UwsgiApp,
    environment,
)
from tests.servers.services import Daemon, Detour

D = TypeVar("D", bound=Daemon)
P = TypeVar("P", bound=Process)


class Servers:
    """Starts things; :meth:`close` stops them in reverse order and reports the first thing that did not go
    well.
    """

    def __init__(self) -> None:
        # Not pytest's tmp_path: a unix socket's name has 107 bytes at most.
        self.directory = Path(tempfile.mkdtemp(prefix="uwsgirouter-"))
        self.directory.chmod(0o755)  # nginx's workers are another user
        self._cleanups: list[Callable[[], object]] = []

    def router(self, *args: str, config: str = "", env: Mapping[str, str] | None = None, ready: bool = True) -> Router:
        """The router under test (ROUTER_UNDER_TEST=fastrouter in the environment: the C FastRouter in its
        place).
        """
        kind = FastRouter if os.environ.get("ROUTER_UNDER_TEST") == "fastrouter" else Router
        return self._started(kind(self.directory, *args, config=config, env=env, ready=ready))

    def fastrouter(self, *args: str, config: str = "", ready: bool = True, system: bool = False) -> FastRouter:
        """The C FastRouter; ``system``: that of the system's packages, which can check signatures."""
        kind = SystemFastRouter if system else FastRouter
        return self._started(kind(self.directory, *args, config=config, ready=ready))

    def uwsgi(self, *args: str, env: Mapping[str, str] | None = None, system: bool = False) -> UwsgiApp:
        """A real uWSGI application server; ``system``: that of the system's packages, which can sign and reload."""
        kind = SystemUwsgiApp if system else UwsgiApp
        return self._started(kind(self.directory, *args, env=env))

    def gunicorn(
        self, app: str, app_directory: Path, *args: str, address: str = "", env: Mapping[str, str] | None = None
    ) -> Gunicorn:
        """gunicorn over the uwsgi protocol."""
        return self._started(Gunicorn(self.directory, app, app_directory, *args, address=address, env=env))

    def nginx(self, config: str, *listening: str) -> Nginx:
        """nginx, ready when the addresses are listened on."""
        return self._started(Nginx(self.directory, config, *listening))

    def announcer(self, server: str, key: str, address: str, *args: str) -> Announcer:
        """uwsgirouterctl subscribe."""
        return self._started(Announcer(self.directory, server, key, address, *args))

    def process(self, *argv: str, env: Mapping[str, str] | None = None) -> Process:
        """Any other program."""
        return self._started(Process(argv, self.directory, environment(env)))

    def daemon(self, kind: type[D], *args: str) -> D:
        """A server that rules ask (tests.servers.services), started; it may be stopped and started meanwhile."""
        daemon = kind(self.directory, *args)
        self._cleanups.append(daemon.stop)
        return daemon

    def detour(self, address: str) -> Detour:
        """A way to a server on which what it says takes its time."""
        detour = Detour(address)
        self._cleanups.append(detour.stop)
        return detour

    def node(self, handler: Handler, address: str = "127.0.0.1:0") -> Node:
        """A scripted node."""
        node = Node(handler, address)
        self._cleanups.append(node.stop)
        return node

    def client(self, address: str, receive_buffer: int | None = None) -> Client:
        """A scripted client, connected."""
        client = Client(address, receive_buffer=receive_buffer)
        self._cleanups.append(client.close)
        return client

    def path(self, name: str) -> str:
        """A path in the directory, for sockets and files."""
        return str(self.directory / name)

    def _started(self, process: P) -> P:
        self._cleanups.append(lambda: self._stop(process))
        return process

    def _stop(self, process: Process) -> None:
        process.stop()

    def close(self) -> None:
        """Stop everything; raise the first failure after all were stopped."""
        failures: list[AssertionError] = []
        for cleanup in reversed(self._cleanups):
            try:
                cleanup()
            except AssertionError as error:
                failures.append(error)
        shutil.rmtree(self.directory, ignore_errors=True)
        if failures:
            raise failures[0]

"""Both routers side by side, with the same rules about senders; see :class:`Court`."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path

from tests.servers import Router, Servers, UwsgiApp, free_udp_port, local, wait_until
from tests.servers.tap import Tap
from tests.servers.wire import send_datagram

SLOW = 20.0
"""Seconds that anything may take on a busy machine."""
APPLICATION = "def application(env, start):\n    start('200 OK', [])\n    return [b'here']\n"


def taken(router: Router) -> list[str]:
    """The keys whose nodes it took, in both routers' words."""
    return re.findall(r"\] (\S+) => new node: ", router.log())


def counts(router: Router) -> Counter[str]:
    """Refused datagrams by reason, as the stats line says."""
    before = router.log().count("bad datagrams: ")
    router.signal(signal.SIGUSR1)
    log = router.wait_for_log("bad datagrams: ", SLOW, before + 1)
    found = re.findall(r"bad datagrams: ([^;]*);", log)[-1]
    return Counter({name: int(count) for name, count in re.findall(r"(\S+)=(\d+)", found)})


class Court:
    """Both routers with the same lines, a tap, and options for instances that announce to all three.

    ``unix``: the routers' subscription servers are unix sockets that everybody may send to.
    """

    def __init__(self, servers: Servers, lines: str, unix: bool = False) -> None:
        self.servers = servers
        self.tap = Tap()
        self._unix = unix
        self.ours = servers.router(config=self._config("uwsgirouter", lines + "fastrouter-processes = 2\n"))
        self.theirs = servers.fastrouter(config=self._config("uwsgi", lines), system=True)
        for router in (self.ours, self.theirs):
            if unix:
                os.chmod(router.server, 0o666)  # so that everybody may send
        Path(servers.path("app.py")).write_text(APPLICATION)

    def _config(self, section: str, lines: str) -> str:
        server = self.servers.path(f"{section}.sock") if self._unix else f"127.0.0.1:{free_udp_port()}"
        return f"[{section}]\nfastrouter = {local()}\nfastrouter-subscription-server = {server}\n{lines}"

    @property
    def servers_of_all(self) -> tuple[str, ...]:
        return (self.ours.server, self.theirs.server, self.tap.address)

    def options(self, key: str, fields: str = "") -> list[str]:
        texts = [f"server={server},key={key}{fields}" for server in self.servers_of_all]
        return [part for text in texts for part in ("--subscribe2", text)]

    def instance(self, *options: str, socket: str = "127.0.0.1:0") -> UwsgiApp:
        fixed = ("--master", "--socket", socket, "--wsgi-file", self.servers.path("app.py"))
        return self.servers.uwsgi(*fixed, *options, system=True)

    def send(self, datagram: bytes) -> None:
        """To both, as it is."""
        for router in (self.ours, self.theirs):
            send_datagram(router.server, datagram)

    def wait_taken(self, key: str, count: int = 1) -> None:
        for router in (self.ours, self.theirs):
            wait_until(lambda router=router: taken(router).count(key) >= count, SLOW, f"{key} x{count}")  # type: ignore[misc]

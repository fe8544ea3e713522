"""The whole way of a request: nginx, the routers beside each other, the application. Gone when left.

All lanes share nginx and the application. Each is proved by a request before anything is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from scripts.bench import nginx, programs
from scripts.bench.fleet import Fleet, Lane, Layout
from scripts.bench.peers import Wiring
from scripts.bench.processes import BenchError, Daemon, accepts, answers, free_udp_address, split_address
from scripts.scale.sending import Barrage, announcement, send_steadily

ANNOUNCED_PER_SECOND = 4000
"""At the start: no more than the kernel's queue of a router takes."""
EVERY = 10.0
"""Seconds between two announcements of a node, uWSGI's own."""
LIFETIME = 600
"""Seconds after which whoever announces ends by itself."""


@dataclass(frozen=True)
class Shape:
    """What is special about a way."""

    processes: int = 1
    """Of each router."""
    unix: bool = False
    """Unix sockets on both sides of the routers."""
    hosts: tuple[str, ...] = ()
    """Keys under which the nodes announce themselves; none: one static node."""
    nodes: int = 1
    """Under each key."""
    adopting: bool = False
    """The application is one that adopts clients (gunicorn)."""
    more: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Further arguments of a lane's router, by the lane's name."""


class Site(Fleet):
    """``with Site(layout, shape) as site`` gives ``site.lanes``; ``site.web`` is nginx."""

    def __init__(self, layout: Layout, shape: Shape | None = None) -> None:
        super().__init__(layout)
        self.shape = shape or Shape()
        self.web: Daemon

    def _start(self) -> None:
        shape = self.shape
        nodes = [self.address(f"node-{number}", shape.unix) for number in range(shape.nodes)]
        self._start_application(nodes)
        routers: dict[str, str] = {}
        for name, kind in self.layout.lanes:
            listen, front = self.address(name, shape.unix), self.address("front")
            server = free_udp_address() if shape.hosts else ""
            wiring = Wiring(
                listen, "" if shape.hosts else nodes[0], server, shape.processes, dict(shape.more).get(name, ())
            )
            router = self.router(name, kind, wiring)
            if shape.hosts:
                self._announce(name, server, nodes)
            routers[front] = listen
            self.lanes.append(Lane(name, front, router, kind))
        directory = self.directory("nginx")
        (directory / "nginx.conf").write_text(nginx.configuration(directory, routers, self.layout.buffer_size))
        argv = nginx.command(programs.find("nginx"), directory)
        self.web = self.run("nginx", argv, lambda: accepts(self.lanes[0].front), self.other_cores)
        hosts = (shape.hosts[0], shape.hosts[-1]) if shape.hosts else ("bench.example",)
        for lane in self.lanes:
            for host in hosts:
                lane.router.wait_until(partial(answers, lane.front, host), "answer through nginx")

    def _start_application(self, nodes: Sequence[str]) -> None:
        count = self.layout.app_processes
        make = programs.find_uwsgi().app
        argv = programs.adopting(nodes[0], count) if self.shape.adopting else make(nodes, count)
        self.run("application", argv, lambda: all(map(accepts, nodes)), self.other_cores)

    def _announce(self, name: str, server: str, nodes: Sequence[str]) -> None:
        """All nodes at once, then each again and again by a process, as uWSGI does."""
        pairs = [(host, node) for host in self.shape.hosts for node in nodes]
        barrage = Barrage(server, [announcement(host, node) for host, node in pairs])
        try:
            send_all(barrage, len(pairs))
        finally:
            barrage.sock.close()
        argv = [sys.executable, "-m", "scripts.scale.sending", server]
        argv += ["--rate", str(len(pairs) / EVERY), "--seconds", str(LIFETIME)]
        for host, node in pairs:
            argv += ["--alive", host, node]
        self.run(f"announcer of {name}", argv, lambda: True, self.other_cores)


def send_all(barrage: Barrage, count: int, rate: float = ANNOUNCED_PER_SECOND) -> None:
    """So many datagrams, ``rate`` a second. BenchError if the kernel does not take one."""
    sent, _ = send_steadily(barrage, rate, count / rate + 5, None, count)
    if sent != count:
        raise BenchError(f"only {sent} of {count} announcements could be sent: is the router there?")


def lost_datagrams(address: str) -> int:
    """How many datagrams to a UDP address of 127.0.0.1 the kernel dropped. BenchError if nobody has the address."""
    with open("/proc/net/udp") as file:
        return parse_drops(file.read(), split_address(address)[1])


def parse_drops(table: str, port: int) -> int:
    """The drops of all sockets with that port in /proc/net/udp."""
    rows = [line.split() for line in table.splitlines()[1:]]
    drops = [int(row[-1]) for row in rows if row and int(row[1].rpartition(":")[2], 16) == port]
    if not drops:
        raise BenchError(f"nobody has UDP port {port}")
    return sum(drops)

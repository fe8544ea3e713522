"""A site: one router with one worker, reachable over TCP, IPv6 and a unix socket; its nodes announce themselves.

Each test takes a key of its own, so that many tests share one router. :meth:`Site.settle` makes an announcement
certain: it announces one node more and asks until that one answers; the earlier ones are known then, too.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
from pathlib import Path

from tests.master.watching import title
from tests.servers import (
    Handler,
    Node,
    Reply,
    Router,
    Servers,
    announce,
    answer,
    fetch,
    free_port,
    free_udp_port,
    local,
    wait_until,
)
from tests.servers.wire import UNSUBSCRIBE

POOL_MOST = 8
"""Pipes that a worker keeps (uwsgirouter.worker.pipes)."""
KINDS = ["tcp", "v6", "unix"]


class Site:
    """``lines`` are further lines of the configuration. One worker, whose pid is ``worker``."""

    def __init__(self, servers: Servers, *lines: str, announced: bool = True) -> None:
        self.servers = servers
        self.tcp = local()
        self.v6 = f"[::1]:{free_port()}"
        self.unix = servers.path(f"router-{free_port()}.sock")
        config = ["[uwsgirouter]", *(f"fastrouter = {address}" for address in (self.tcp, self.v6, self.unix))]
        if announced:
            self.server = f"127.0.0.1:{free_udp_port()}"
            config += [f"fastrouter-subscription-server = {self.server}", "subscription-tolerance = 600"]
        self.router = servers.router(config="\n".join([*config, *lines, ""]))
        (self.worker,) = self.router.wait_for_workers(1)
        wait_until(lambda: "starting" not in title(self.worker), 5, "the worker is up")
        self._numbers = itertools.count(1)
        self._probe = servers.node(answer(b"probe")) if announced else None
        if announced:
            self.settle()

    def address(self, kind: str) -> str:
        """The listener of a kind."""
        return {"tcp": self.tcp, "v6": self.v6, "unix": self.unix}[kind]

    def place(self, kind: str) -> str:
        """An address for a new node."""
        if kind == "unix":
            return self.servers.path(f"node-{self.tcp.rpartition(chr(58))[2]}-{next(self._numbers)}")
        return {"tcp": "127.0.0.1:0", "v6": "[::1]:0"}[kind]

    def key(self) -> str:
        """A key that nobody has."""
        return f"k{next(self._numbers)}.example"

    def node(self, handler: Handler, kind: str = "tcp") -> Node:
        """A scripted node, not announced yet."""
        return self.servers.node(handler, self.place(kind))

    def announce(self, key: str, *addresses: str, **extra: int) -> str:
        """Announce nodes under the key and wait until the worker knows them; the key."""
        for address in addresses:
            announce(self.server, key, address, extra=dict(extra))
        self.settle()
        return key

    def serve(self, handler: Handler, kind: str = "tcp", **extra: int) -> tuple[str, Node]:
        """A new node under a new key."""
        node = self.node(handler, kind)
        return self.announce(self.key(), node.address, **extra), node

    def settle(self) -> None:
        """All that was announced so far is known to the worker."""
        assert self._probe is not None
        key = f"probe-{next(self._numbers)}.example"
        announce(self.server, key, self._probe.address)
        self.router.wait_for_log(f"{key} => new node")
        wait_until(lambda: fetch(self.tcp, key).status == 200, 5, "the worker knows the nodes")

    def descriptors(self) -> int:
        """How many the worker has open; the empty pipes that it keeps for bulk transfers do not count."""
        return len([link for link in links(self.worker) if not link.startswith("pipe:")])

    def pipes(self) -> int:
        """How many of its descriptors are pipes."""
        return len([link for link in links(self.worker) if link.startswith("pipe:")])

    def memory(self) -> int:
        """Bytes of memory that are the worker's (its share of shared pages)."""
        return memory(self.worker)

    def assert_released(self, key: str, node: Node | str, baseline: int) -> None:
        """No descriptor is left over, and the node has no session under way: it goes at once when it says so."""
        wait_until(lambda: self.descriptors() <= baseline, 5, f"{baseline} descriptors, as before")
        assert self.pipes() <= 2 * POOL_MOST
        address = node if isinstance(node, str) else node.address
        announce(self.server, key, address, UNSUBSCRIBE)
        wait_until(lambda: f"{key} => " in self._farewell(address), 5, f"{address} leaves {key}")
        assert "removing node" in self._farewell(address), self._farewell(address)

    def _farewell(self, address: str) -> str:
        """The line about a node that took leave: it was removed, or it drains."""
        found = re.search(rf".*(?:removing|draining) node: {re.escape(address)} \(unsubscribed\)", self.router.log())
        return found.group() if found else ""

    def stats(self) -> Stats:
        """The counters, by SIGUSR1."""
        return stats(self.router)

    def fetch(self, key: str, kind: str = "tcp", body: bytes | None = None) -> Reply:
        """One request."""
        return fetch(self.address(kind), key, body=body)


def links(pid: int) -> list[str]:
    """What the descriptors of a process are."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue  # closed since
    return found


class Stats:
    """The line that SIGUSR1 logs, by name: ``requests``, ``in flight``, ..., and the failures by cause."""

    def __init__(self, line: str) -> None:
        self.line = line
        head, _, tail = line.partition("failures: ")
        causes, _, rest = tail.partition("; bad datagrams: ")
        self.numbers = {name: int(number) for number, name in re.findall(r"(\d+) ([a-z ]+)[,;]", head)}
        self.causes = {name: int(number) for name, number in re.findall(r"([a-z-]+)=(\d+)", causes)}
        self.rejects = {name: int(number) for name, number in re.findall(r"([a-zA-Z-]+)=(\d+)", rest)}


def stats(router: Router) -> Stats:
    """Ask a router for its counters."""
    before = router.log().count("] stats: ")
    router.signal(signal.SIGUSR1)
    log = router.wait_for_log("] stats: ", count=before + 1)
    # The line may be seen before its end.
    wait_until(lambda: router.log().endswith("\n"), 5, "whole lines")
    return Stats([line for line in router.log().splitlines() if "] stats: " in line][before] if log else "")


def memory(pid: int) -> int:
    """Bytes of memory of a process, its share of what is shared."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no Pss for {pid}")

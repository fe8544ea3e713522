"""Both sides of a group of cases: uWSGI with the rules and the application, and the router with the rules in front of a
plain uWSGI with the same application.

:meth:`Sides.run` sends every request of the group to one side and then the other, and gives what came of each. Log
lines are told apart by ``@@N|``, N being the request's number: rules write ``log:{log}text``.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.rules.differential.case import CHAINS, Ask, Case
from tests.rules.differential.outcome import Outcome
from tests.rules.differential.table import guarded, labelled
from tests.servers import Memcached, Process, Redis, Servers, is_listening, local, wait_until
from tests.servers.programs import environment, system_uwsgi, uwsgi_command
from tests.servers.wire import packet, where

HERE = Path(__file__).parent
LOG = "@@${X_ID}|"
SYNC = Case("sync", ("final-route-run = log:{log}all is logged",), (Ask(),))
"""The last request of a group: when its line is in the log, all are."""
_LOGGED = re.compile(r"@@([a-z0-9-]+)\|(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Group:
    """Instances that share their options. ``both`` are lines of both sides, ``real`` and ``ours`` of one."""

    both: tuple[str, ...] = ()
    real: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    system: bool = False
    """uWSGI of Debian's packages, which has what the wheel lacks (toupper, xattr)."""
    guards: bool = False
    """Guard each rule instead of jumping to a label."""
    stores: bool = False
    """Each side has a memcached and a Redis of its own, ``{memcached}`` and ``{redis}``."""


class Reports:
    """Receives what the applications saw, by the request's number."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self.by_number: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while data := self._socket.recv(1 << 20):
            report = json.loads(data)
            number = report["vars"].get("X_ID", "")
            for name in ("CASE", "CHAINS", "X_ID", "X_APP"):
                report["vars"].pop(name, None)
            self.by_number[number].append(report)

    def close(self) -> None:
        """No more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", self.path)
        self._thread.join(5)
        self._socket.close()


class Side:
    """One side: where requests go, and the file that has its log. Not all of it is there until the side is stopped."""

    def __init__(self, address: str, process: Process, own: Path) -> None:
        self.address = address
        self.process = process
        self.own = own

    def send(self, data: bytes, patience: float = 15.0) -> tuple[bytes, str]:
        """One request; the answer to its end, and how the connection ended."""
        family, address = where(self.address)
        blocks = []
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(patience)
            connection.connect(address)
            connection.sendall(data)
            try:
                while block := connection.recv(1 << 16):
                    blocks.append(block)
            except ConnectionError:
                return b"".join(blocks), "reset"
            except TimeoutError:
                return b"".join(blocks), "silent"
        return b"".join(blocks), "closed"


def uwsgi(system: bool = False) -> list[str]:
    """uWSGI with all that rules may need: the wheel's; that of the system's packages where there is no wheel."""
    beside = uwsgi_command()
    if len(beside) == 1 and not system:
        return beside
    return [system_uwsgi(), "--plugins", SYSTEM_PLUGINS]


def fill(line: str, places: dict[str, str]) -> str:
    """The line with ``{root}`` and its kin filled in; other braces stay."""
    for name, value in places.items():
        line = line.replace("{" + name + "}", value)
    return line


class Sides:
    """Starts what a group needs. ``places`` are what ``{name}`` in a rule means; ``{own}`` is a directory of each
    side's own.
    """

    def __init__(
        self, servers: Servers, name: str, group: Group, cases: Sequence[Case], places: dict[str, str]
    ) -> None:
        self.servers, self.name, self.group, self.cases = servers, name, group, cases
        self.reports = Reports(servers.path(f"reports-{name}.sock"))
        self.places = {"log": LOG, "here": str(HERE), **places}
        self.node = self.start_node()
        """The application alone: the router's node, and the server that rules of both sides name ``{upstream}``."""
        self.places["upstream"] = self.node.address
        self.stores: dict[Path, tuple[Memcached, Redis]] = {}
        """By the side's own directory."""
        self.rules = guarded([*cases, SYNC], CHAINS) if group.guards else labelled([*cases, SYNC])

    def config(self, side: str, lines: Sequence[str]) -> tuple[Path, Path]:
        """Writes a side's file; the file, and its own directory."""
        own = Path(self.servers.path(f"{self.name}-{side}-own"))
        own.mkdir()
        file = Path(self.servers.path(f"{self.name}-{side}.ini"))
        places = {**self.places, "own": str(own)}
        if self.group.stores and side != "node":
            self.stores[own] = self.servers.daemon(Memcached), self.servers.daemon(Redis)
            places.update({store.name: store.address for store in self.stores[own]})
        file.write_text("[uwsgi]\n" + "\n".join(fill(line, places) for line in lines) + "\n", encoding="latin-1")
        return file, own

    def start_real(self) -> Side:
        """uWSGI with rules and application."""
        return self._uwsgi("real", [*self.group.both, *self.group.real, *self.rules], self.group.system)

    def start_node(self) -> Side:
        """uWSGI with the application alone."""
        return self._uwsgi("node", [], False)

    def _uwsgi(self, side: str, lines: Sequence[str], system: bool) -> Side:
        address = local()
        usual = [f"socket = {address}", "master = true", "die-on-term = true", f"wsgi-file = {HERE / 'app.py'}"]
        usual += ["need-app = true", "buffer-size = 16384", "disable-logging = true"]
        file, own = self.config(side, [*usual, *lines])
        process = self.servers.process(*uwsgi(system), "--ini", str(file), env=self.environment())
        process.wait_ready(lambda: is_listening(address) and "spawned uWSGI worker 1" in process.log())
        return Side(address, process, own)

    def start_ours(self) -> Side:
        """The router with the rules, before the node."""
        address = local()
        usual = [f"fastrouter = {address}", f"fastrouter-to = {self.node.address}", "fastrouter-ejection = false"]
        file, own = self.config("ours", [*usual, *self.group.both, *self.group.ours, *self.rules])
        process = self.servers.router("-c", str(file), ready=False)
        process.wait_ready(lambda: is_listening(address))
        return Side(address, process, own)

    def environment(self) -> dict[str, str]:
        """What the application needs."""
        return environment({"ORACLE_REPORT": self.reports.path})

    def run(self, side: Side) -> dict[str, list[Outcome]]:
        """What came of every request, by case. What was reported and logged is added when all is there."""
        self.reports.by_number.clear()
        outcomes: dict[str, list[Outcome]] = {}
        for case in [*self.cases, SYNC]:
            outcomes[case.name] = [self.one(side, case, index, asked) for index, asked in enumerate(case.asks)]
        wait_until(lambda: "sync-0" in self.reports.by_number, 15, "the last request's report")
        log = wait_until(lambda: text if "@@sync-0|" in (text := side.process.log()) else "", 15, "the last line")
        for name, found in outcomes.items():
            for index, outcome in enumerate(found):
                outcome.seen = self.reports.by_number.get(f"{name}-{index}", [])
                for store in self.stores.get(side.own, ()):
                    for report in outcome.seen:
                        report["vars"] = {
                            key: v.replace(store.address, store.name) for key, v in report["vars"].items()
                        }
        for number, text in _LOGGED.findall(log):
            name, _, index = number.rpartition("-")
            outcomes[name][int(index)].log.append(text.replace(str(side.own), "{own}"))
        return outcomes

    def one(self, side: Side, case: Case, index: int, asked: Ask) -> Outcome:
        """Send one request."""
        places = {**self.places, "own": str(side.own)}
        for store in self.stores.get(side.own, ()):
            places[store.name] = store.address
            if asked.kept:
                self._wait_for_item(store, asked.kept)
        plan = {key: fill(value, places) if isinstance(value, str) else value for key, value in asked.app.items()}
        variables = [
            (name, fill(value.decode("latin-1"), places).encode("latin-1"))
            for name, value in replace(asked, app=plan).packet(case.name, case.chains(), f"{case.name}-{index}")
        ]
        start = time.time()
        answer, end = side.send(packet(variables, *asked.modifiers) + asked.body)
        return Outcome(answer.replace(str(side.own).encode(), b"{own}"), end, seconds=time.time() - start, moment=start)

    def _wait_for_item(self, store: Memcached | Redis, kept: str) -> None:
        """``kind:key``: uWSGI does not wait until what it has to keep is kept."""
        kind, _, key = kept.partition(":")
        if store.name == kind:
            wait_until(lambda: store.get(key), 20, f"{key} is kept")


SYSTEM_PLUGINS = ",".join(
    [
        "python3",
        "xattr",
        "transformation_toupper",
        "transformation_gzip",
        "transformation_chunked",
        "transformation_template",
        "transformation_tofile",
        "router_redirect",
        "router_basicauth",
        "router_rewrite",
        "router_static",
        "router_cache",
        "router_uwsgi",
        "router_http",
        "router_hash",
        "router_expires",
        "router_metrics",
        "transformation_offload",
        "rpc",
        "ping",
        "signal",
    ]
)

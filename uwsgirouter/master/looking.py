"""What operators may look at beside the nodes: the state of the whole router, its news, the traces of requests.

One idea: these are commands of the control socket that change nothing but for a trace (master/traces.py). ``status`` is
one line, made at once, and what is in it is kept at hand or read from shared memory: so it costs a millisecond or two,
however many nodes there are. It reads the parts of the master and judges nothing (uwsgirouterctl does). Invariant: its
lists are bounded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from socket import AF_INET, AF_INET6, IPPROTO_TCP, TCP_INFO
from typing import TYPE_CHECKING

from uwsgirouter import __version__, compiled
from uwsgirouter.log import Log
from uwsgirouter.master.conversation import Lines
from uwsgirouter.master.fleet import Life, Member
from uwsgirouter.master.news import KEYS
from uwsgirouter.master.reload import Setback
from uwsgirouter.master.traces import Traces
from uwsgirouter.master.troubles import Troubles
from uwsgirouter.model.counters import Counter
from uwsgirouter.protocol.control import encode_line, to_text
from uwsgirouter.stats.figures import Process

if TYPE_CHECKING:
    from uwsgirouter.master.sockets import Bound
    from uwsgirouter.master.supervisor import Supervisor

NEWS_SHOWN = 20
"""Pieces of news in a status."""
OUT_SHOWN = 20
"""Nodes, or keys, out of service that a status names."""
WORKERS_SHOWN = 100
QUIET_AFTER = 2.5
"""Seconds without a beat after which a worker is called stuck."""

Request = dict[str, object]

_TOTALS = {
    "requests": Counter.REQUESTS,
    "answered": Counter.ANSWERED,
    "retries": Counter.RETRIES,
    "failed_connects": Counter.NODE_FAILURES,
    "adopted": Counter.ADOPTED,
    "clients_gone": Counter.CLIENT_GONE,
    "cut_off": Counter.ABORTED,
    "accept_errors": Counter.ACCEPT_ERRORS,
    "bytes_to_nodes": Counter.RX,
    "bytes_from_nodes": Counter.TX,
}
_WAITING, _ROOM = 24, 28
"""Where the kernel's words on a TCP listener have its backlog and how much fits (tcpi_unacked, tcpi_sacked)."""


class Looking:
    """What of ``master`` is shown."""

    def __init__(self, master: Supervisor) -> None:
        self._master = master
        self.news = master.news
        self.troubles = Troubles(master.counters, self._beside)
        self.traces = Traces(master.fleet)
        self._overflows = _overflows()

    def tick(self, now: float) -> None:
        """Once a second."""
        self.troubles.tick(now)

    def lines_dropped(self) -> int:
        """Lines of the log that nobody took, the workers' included."""
        return Log.lost + self._total(Counter.LINES_DROPPED)

    def hear(self, member: Member, message: list[object]) -> None:
        """What a worker tells of failures and traced requests; nonsense is dropped."""
        match message:
            case ["trouble", *told]:
                self.troubles.tell(member.number, told)
            case ["traced", int(token), dict(row)]:
                self.traces.hear(member.number, token, row)

    # -- events -------------------------------------------------------------------------------------------------------

    def events(self, last: int, follow: bool) -> Lines:
        """The last ones, and then all that come, if that is wanted."""
        if follow:
            for piece in self.news.follow(max(0, self.news.count - last)):
                yield None if piece is None else encode_line(piece)
            return
        for piece in self.news.last(last):
            yield encode_line(piece)
        yield encode_line({"ok": True})

    # -- status -------------------------------------------------------------------------------------------------------

    def status(self) -> Iterator[bytes]:
        """One line with everything, and the end."""
        now = time.monotonic()
        master, news = self._master, self.news
        current = master.reload.current
        members = list(master.fleet.members.values())
        status = {
            "version": __version__,
            "form": compiled.describe(),
            "pid": os.getpid(),
            "stage": self._stage(),
            "source": current.settings.source or "command line",
            "uptime": round(now - master.began, 1),
            "generation": current.index,
            "reload_failed": _setback(master.reload.failure),
            "upgrade_failed": _setback(master.upgrade.failure),
            "frozen": current.frozen,
            "workers_wanted": current.target,
            "workers": [self._worker(member, now) for member in members[:WORKERS_SHOWN]],
            "workers_more": max(0, len(members) - WORKERS_SHOWN),
            "deaths": master.crew.respawns.deaths_since(now),
            "respawn_in": _until(master.crew.respawns.not_before, now),
            "attendants": [
                {
                    "name": attendant.duty.name,
                    "pid": attendant.pid,
                    "generation": attendant.generation,
                    "state": attendant.state.value,
                    "age": round(now - attendant.since, 1),
                }
                for attendant in islice(master.attendants.members.values(), WORKERS_SHOWN)
            ],
            "attendants_missing": master.attendants.missing(current),
            "listeners": [_listener(bound) for bound in current.endpoints.listeners],
            "keys": len(master.table.slots),
            "nodes": {state.value: number for state, number in news.states.items() if number},
            "unserved": [_written(key) for key in islice(news.unserved, OUT_SHOWN)],
            "unserved_more": max(0, len(news.unserved) - OUT_SHOWN),
            "out_of_service": list(self._out()),
            "out_of_service_more": max(0, len(news.out) - OUT_SHOWN),
            "totals": {name: self._total(cell) for name, cell in _TOTALS.items()},
            "lately": self.troubles.lately(),
            "failures": self.troubles.rows(),
            "datagrams_rejected": master.registrar.describe_rejects(),
            "log_lines_dropped": self.lines_dropped(),
            "events": news.last(NEWS_SHOWN),
        }
        yield encode_line({"status": status})
        yield encode_line({"ok": True})

    def _stage(self) -> str:
        """What the router is about, in some words."""
        master = self._master
        if master.is_stopping:
            return master.stage.value
        if master.upgrade.is_pending:
            return "upgrading"
        return "reloading" if master.reload.incoming is not None else master.stage.value

    def _total(self, cell: int) -> int:
        return self._master.counters.total(cell, self._master.counters.used_rows())

    def _beside(self) -> dict[str, int]:
        datagrams = self._master.registrar.datagrams()
        return {
            "requests": self._total(Counter.REQUESTS),
            "accept_errors": self._total(Counter.ACCEPT_ERRORS),
            "log_lines_dropped": self.lines_dropped(),
            "datagrams_rejected": sum(datagrams.rejected.values()),
            "datagrams_lost": datagrams.lost,
            "backlog_overflows": max(0, _overflows() - self._overflows),
        }

    def _worker(self, member: Member, now: float) -> dict[str, object]:
        counters = self._master.counters
        beat = counters.read(member.row, Counter.BEAT) / 1000
        silent = now - beat if beat and not member.is_foreign else None
        is_stuck = silent is not None and silent > QUIET_AFTER and member.life is not Life.STARTING
        state = member.life.value
        if member.life is Life.SERVING and counters.read(member.row, Counter.CHEAP):
            state = "cheap"
        process = Process.of(member.pid)
        return {
            "number": member.number,
            "pid": member.pid,
            "generation": member.generation,
            "state": state,
            "stuck": is_stuck,
            "silent": None if silent is None else round(silent, 1),
            "age": round(now - member.since, 1),
            "leaves_in": None if member.deadline is None else round(max(0.0, member.deadline - now), 1),
            "sessions": counters.read(member.row, Counter.SESSIONS),
            "requests": counters.read(member.row, Counter.REQUESTS),
            "rss": process.resident,
            "cpu": round(process.cpu, 2),
        }

    def _out(self) -> Iterator[dict[str, object]]:
        wall = time.time() - time.monotonic()
        for id in islice(self.news.out, OUT_SHOWN):
            node = self._master.table.nodes.get(id)
            if node is not None:
                yield {
                    "key": _written(node.key),
                    "node": node.address.text,
                    "state": node.state.value,
                    "order": node.order.value,
                    "since": round(wall + node.since, 3),
                    "why": node.why,
                }


def _written(key: bytes) -> str:
    return KEYS.get(key) or to_text(key)


def _setback(setback: Setback | None) -> dict[str, object] | None:
    return None if setback is None else {"at": round(setback.at, 3), "reason": setback.reason[:2000]}


def _until(moment: float, now: float) -> float | None:
    return round(moment - now, 1) if moment > now else None


def _listener(bound: Bound) -> dict[str, object]:
    """A socket that clients connect to: how many wait to be accepted, and how many may; null where nobody tells."""
    row: dict[str, object] = {"name": bound.name, "waiting": None, "room": None}
    if bound.sock.family in (AF_INET, AF_INET6):
        try:
            info = bound.sock.getsockopt(IPPROTO_TCP, TCP_INFO, 64)
        except OSError:
            return row
        row["waiting"] = int.from_bytes(info[_WAITING : _WAITING + 4], "little")
        row["room"] = int.from_bytes(info[_ROOM : _ROOM + 4], "little")
    return row


def _overflows() -> int:
    """How often a listener of this machine (or container) had no room for a connection; 0 when nobody tells."""
    try:
        with open("/proc/net/netstat", "rb") as file:
            names, values = [line.split() for line in file if line.startswith(b"TcpExt:")][:2]
        return int(values[names.index(b"ListenOverflows")])
    except (OSError, ValueError, IndexError):
        return 0

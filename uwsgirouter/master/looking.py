"""What operators may look at beside the nodes: the state of the whole router, its news, the traces of requests.

One idea: these are commands of the control socket that change nothing but for a trace, which workers are told to begin
and to end. ``status`` is one line, made at once; ``events`` and ``trace`` go on until whoever asked leaves. It reads
the supervisor's parts and decides nothing. Invariant: a trace ends with the connection that asked for it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import TYPE_CHECKING

import psutil

from uwsgirouter import __version__, compiled
from uwsgirouter.master.conversation import Lines
from uwsgirouter.master.fleet import Life, Member
from uwsgirouter.master.news import News
from uwsgirouter.master.troubles import Troubles
from uwsgirouter.model.counters import ROWS, Counter, Counters
from uwsgirouter.model.node import State
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY
from uwsgirouter.protocol.control import FALLBACK, STATIC, encode_line, to_text

if TYPE_CHECKING:
    from uwsgirouter.master.fleet import Fleet
    from uwsgirouter.master.registrar import Registrar
    from uwsgirouter.master.reload import Reload

NEWS_SHOWN = 20
"""Pieces of news in a status."""
OUT_SHOWN = 20
"""Nodes out of service that a status names."""
TRACES_MOST = 1000
"""Requests that one trace may ask for."""
QUIET_AFTER = 2.0
"""Seconds without a beat after which a worker is called stuck."""

Request = dict[str, object]

_KEYS = {STATIC_KEY: STATIC, FALLBACK_KEY: FALLBACK}
_TOTALS = {
    "requests": Counter.REQUESTS,
    "answered": Counter.ANSWERED,
    "retries": Counter.RETRIES,
    "failed_connects": Counter.NODE_FAILURES,
    "adopted": Counter.ADOPTED,
    "clients_gone": Counter.CLIENT_GONE,
    "cut_off": Counter.ABORTED,
    "bytes_to_nodes": Counter.RX,
    "bytes_from_nodes": Counter.TX,
}


class Looking:
    """``stage()`` says what the router is about, in a word or two."""

    def __init__(
        self,
        fleet: Fleet,
        reload: Reload,
        registrar: Registrar,
        counters: Counters,
        news: News,
        stage: Callable[[], str],
    ) -> None:
        self._fleet = fleet
        self._reload = reload
        self._registrar = registrar
        self._counters = counters
        self.news = news
        self.troubles = Troubles(counters)
        self._stage = stage
        self._began = time.monotonic()
        self._tokens = count(1)
        self._traces: dict[int, deque[object]] = {}

    def tick(self, now: float) -> None:
        """Once a second."""
        self.troubles.tick(now)

    # -- status -------------------------------------------------------------------------------------------------------

    def status(self) -> Iterator[bytes]:
        """One line with everything, and the end."""
        now = time.monotonic()
        current = self._reload.current
        table = self._registrar.registry.table
        yield encode_line(
            {
                "status": {
                    "version": __version__,
                    "form": compiled.describe(),
                    "pid": os.getpid(),
                    "stage": self._stage(),
                    "source": current.settings.source or "command line",
                    "uptime": round(now - self._began, 1),
                    "generation": current.index,
                    "workers_wanted": current.target,
                    "workers": [self._worker(member, now) for member in self._fleet.members.values()],
                    "keys": len(table.slots),
                    "nodes": {state.value: number for state, number in self.news.states.items() if number},
                    "out_of_service": list(self._out()),
                    "out_of_service_more": max(0, len(self.news.out) - OUT_SHOWN),
                    "totals": {name: self._counters.total(cell, range(ROWS)) for name, cell in _TOTALS.items()},
                    "failures": self.troubles.rows(),
                    "datagrams_rejected": self._registrar.describe_rejects(),
                    "log_lines_dropped": 0,
                    "events": self.news.last(NEWS_SHOWN),
                }
            }
        )
        yield encode_line({"ok": True})

    def _worker(self, member: Member, now: float) -> dict[str, object]:
        beat = self._counters.read(member.row, Counter.BEAT) / 1000
        silent = now - beat if beat and not member.is_foreign else None
        state = member.life.value
        if silent is not None and silent > QUIET_AFTER and member.life is not Life.STARTING:
            state = f"stuck for {silent:.0f} s"
        row: dict[str, object] = {
            "number": member.number,
            "pid": member.pid,
            "generation": member.generation,
            "state": state,
            "age": round(now - member.since, 1),
            "sessions": self._counters.read(member.row, Counter.SESSIONS),
            "requests": self._counters.read(member.row, Counter.REQUESTS),
            "silent": None if silent is None else round(silent, 1),
        }
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(member.pid)
            times = process.cpu_times()
            row.update(rss=process.memory_info().rss, cpu=round(times.user + times.system, 2))
        return row

    def _out(self) -> Iterator[dict[str, object]]:
        table = self._registrar.registry.table
        wall = time.time() - time.monotonic()
        for id in islice(self.news.out, OUT_SHOWN):
            node = table.nodes.get(id)
            if node is not None and node.state is not State.UP:
                yield {
                    "key": _KEYS.get(node.key) or to_text(node.key),
                    "node": node.address.text,
                    "state": node.state.value,
                    "since": round(wall + node.since, 3),
                    "why": node.why,
                }

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

    # -- traces -------------------------------------------------------------------------------------------------------

    def trace(self, key: bytes, wanted: int) -> Lines:
        """What workers tell of the next ``wanted`` requests of ``key``."""
        token = next(self._tokens)
        told = self._traces[token] = deque(maxlen=TRACES_MOST)
        self._order("trace", token, to_text(key), wanted)
        try:
            yield encode_line({"tracing": to_text(key), "workers": len(self._fleet.members)})
            seen = 0
            while seen < wanted:
                if told:
                    seen += 1
                    yield encode_line({"trace": told.popleft()})
                else:
                    yield None
            yield encode_line({"ok": True})
        finally:
            del self._traces[token]
            self._order("untrace", token)

    def _order(self, *items: object) -> None:
        for member in self._fleet.members.values():
            if member.downlink.sock.fileno() >= 0:
                member.downlink.order(*items)

    def hear(self, member: Member, message: list[object]) -> None:
        """What a worker tells of failures and traced requests."""
        match message:
            case ["trouble", *told]:
                self.troubles.tell(member.number, told)
            case ["traced", int(token), dict(row)] if token in self._traces:
                self._traces[token].append({"worker": member.number, **row})

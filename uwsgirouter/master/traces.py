"""Traces as the master has them: who asked for which, which workers were told, and what they told.

One idea: a trace is an answer that goes on; it begins with an order to all workers, later ones hear of it when they
come, and it ends with the connection that asked for it, at the latest. It must not know what the steps mean.
Invariants: what workers tell is looked at before it is passed on (a worker may have fewer rights than the master and
whoever asks), and no more of it is held than :data:`HELD_MOST` bytes a trace, however slowly it is taken.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uwsgirouter.master.conversation import Lines
from uwsgirouter.master.news import KEYS
from uwsgirouter.protocol.control import encode_line, to_text

if TYPE_CHECKING:
    from uwsgirouter.master.fleet import Fleet, Member

TRACES_MOST = 1000
"""Requests that one trace may ask for."""
HELD_MOST = 1 << 20
"""Bytes of traced requests that wait for somebody to take them; what comes beyond that is counted."""
TEXT_MOST = 4000
"""Characters of a text that a worker tells."""
STEPS_MOST = 300

_LARGEST = 1e15
_TEXTS = ("id", "key", "request", "node", "cause", "phase")
_NUMBERS = ("tries", "status", "omitted", "to_node", "from_node", "queue_ms", "connect_ms", "ttfb_ms", "total_ms")

Row = dict[str, object]


@dataclass
class _Trace:
    key: bytes
    left: int
    """Requests that are still to be told by workers."""
    told: deque[bytes] = field(default_factory=deque)
    held: int = 0
    missed: int = 0


class Traces:
    """The traces of the workers of ``fleet``."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._traces: dict[int, _Trace] = {}
        # Another master may have had traces before us (an upgrade), and their workers go on: no number of theirs.
        self._token = int.from_bytes(os.urandom(5), "big")

    def follow(self, key: bytes, wanted: int) -> Lines:
        """What workers tell of the next ``wanted`` requests of ``key``."""
        self._token += 1
        token, trace = self._token, _Trace(key, wanted)
        self._traces[token] = trace
        for member in self._fleet.members.values():
            self._begin(member, token, trace)
        try:
            yield encode_line({"tracing": KEYS.get(key) or to_text(key), "workers": len(self._fleet.members)})
            while trace.left or trace.told or trace.missed:
                if trace.told:
                    line = trace.told.popleft()
                    trace.held -= len(line)
                    yield line
                elif trace.missed:
                    missed, trace.missed = trace.missed, 0
                    yield encode_line({"missed": missed})
                else:
                    yield None
            yield encode_line({"ok": True})
        finally:
            del self._traces[token]
            for member in self._fleet.members.values():
                _order(member, "untrace", token)

    def joined(self, member: Member) -> None:
        """A worker began to serve: it is told of the traces that go on."""
        for token, trace in self._traces.items():
            if trace.left:
                self._begin(member, token, trace)

    def _begin(self, member: Member, token: int, trace: _Trace) -> None:
        _order(member, "trace", token, to_text(trace.key), trace.left)

    def hear(self, worker: int, token: int, row: Row) -> None:
        """What ``worker`` tells of one request; nonsense is left out."""
        trace = self._traces.get(token)
        if trace is None or not trace.left:
            return
        trace.left -= 1
        line = encode_line({"trace": {"worker": worker, **_looked_at(row)}})
        if trace.held + len(line) > HELD_MOST:
            trace.missed += 1
        else:
            trace.held += len(line)
            trace.told.append(line)


def _order(member: Member, *items: object) -> None:
    if member.downlink.sock.fileno() >= 0:
        member.downlink.order(*items)


def _looked_at(row: Row) -> Row:
    """``row`` with all the fields of a traced request, each of its own type; what is none is null."""
    found: Row = {name: text[:TEXT_MOST] if isinstance(text := row.get(name), str) else None for name in _TEXTS}
    found |= {name: _number(row.get(name)) for name in _NUMBERS}
    found["steps"] = list(_steps(row.get("steps")))
    return found


def _steps(value: object) -> Iterator[list[object]]:
    for step in (value if isinstance(value, list) else [])[:STEPS_MOST]:
        match step:
            case [int() | float() as moment, str(text)]:
                yield [_number(moment) or 0, text[:TEXT_MOST]]


def _number(value: object) -> float | None:
    """A number that any reader of JSON can read; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < _LARGEST else None

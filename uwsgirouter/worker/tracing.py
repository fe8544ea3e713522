"""Traces: what was decided for the next requests of a key, step by step, told to the master.

One idea: while anybody traces, every request of this worker notes its steps (worker/record.py) until it is known whose
it is (worker/explaining.py), and those of the key that is asked for are told when they are over; when nobody does, no
request does. A worker tells no more than it was asked for. It must not know who asks. Invariant: a trace that ended, or
whose time is over, costs nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uwsgirouter.log import printable
from uwsgirouter.protocol.control import to_text
from uwsgirouter.protocol.packet import value_of, values_of
from uwsgirouter.worker.explaining import keys_of
from uwsgirouter.worker.observer import ID_VARIABLE, Observer, acceptable

if TYPE_CHECKING:
    from uwsgirouter.worker.record import Record
    from uwsgirouter.worker.router import Router
    from uwsgirouter.worker.session import Session

STEPS_MOST = 200
"""Of one request: rules that go round and round would fill the channel."""
TEXT_MOST = 500
"""Characters of a step."""
LASTS = 600.0
"""Seconds after which a trace ends by itself: whoever asked may be gone with the master."""

_LINE = (b"REMOTE_ADDR", b"REQUEST_METHOD", b"HTTP_HOST", b"REQUEST_URI")
_NAMES = frozenset(_LINE)


@dataclass
class _Trace:
    key: bytes
    left: int
    until: float


class Tracing:
    """The traces of one worker. ``make()`` gives an observer to a router that has none; ``tell`` says whether what it
    was given will be told."""

    def __init__(self, router: Router, make: Callable[[], Observer], tell: Callable[..., bool]) -> None:
        self._router = router
        self._make = make
        self._tell = tell
        self._traces: dict[int, _Trace] = {}
        self._own: Observer | None = None

    def begin(self, token: int, key: bytes, count: int) -> None:
        """Tell the next ``count`` requests of ``key``."""
        self._traces[token] = _Trace(key, count, time.monotonic() + LASTS)
        observer = self._router.observer
        if observer is None:
            observer = self._own = self._router.observer = self._make()
        if self._over not in observer.sinks:
            observer.sinks = [*observer.sinks, self._over]
        observer.traces = self._keys()

    def end(self, token: int) -> None:
        """No more of them."""
        self._traces.pop(token, None)
        observer = self._router.observer
        if observer is None:
            return
        observer.traces = self._keys()
        if self._traces:
            return
        # Another list: the one that is being gone through now stays what it is.
        observer.sinks = [sink for sink in observer.sinks if sink != self._over]
        if observer is self._own:
            self._own = self._router.observer = None

    def tick(self) -> None:
        """Once a second."""
        if self._traces:
            now = time.monotonic()
            for token in [token for token, trace in self._traces.items() if now >= trace.until]:
                self.end(token)

    def _keys(self) -> frozenset[bytes] | None:
        return frozenset(trace.key for trace in self._traces.values()) or None

    def _over(self, session: Session, record: Record) -> None:
        if record.steps is None:
            return
        keys = keys_of(session)
        wanted = [token for token, trace in self._traces.items() if trace.key in keys]
        if not wanted:
            return
        row = _written(session, record)
        for token in wanted:
            trace = self._traces[token]
            if self._tell("traced", token, row):
                trace.left -= 1
                if not trace.left:
                    self.end(token)


def _written(session: Session, record: Record) -> dict[str, object]:
    """One request as JSON has it: times in milliseconds."""
    packet = record.packet
    line = values_of(packet, _NAMES) if packet else {}
    assert record.steps is not None
    steps = record.steps[:STEPS_MOST]
    node = session.node
    return {
        "id": to_text(_id_of(session, packet)),
        "key": to_text(session.key or record.key),
        "request": " ".join(printable(line.get(name, b"-")) for name in _LINE),
        "node": node.address.text if node is not None else None,
        "tries": session.attempts,
        "status": record.status or None,
        "cause": record.cause or None,
        "phase": session.phase.value,
        "steps": [[round(moment * 1000, 3), text[:TEXT_MOST]] for moment, text in steps],
        "omitted": len(record.steps) - len(steps),
        "to_node": record.rx,
        "from_node": record.tx,
        "queue_ms": _span(record.began, record.sought),
        "connect_ms": _span(record.dialled, record.connected),
        "ttfb_ms": _span(record.connected, record.first),
        "total_ms": _span(record.began, record.ended),
    }


def _id_of(session: Session, packet: bytes) -> bytes:
    """As the log calls it, though the session has let go of its packet."""
    if not session.request_id and packet:
        session.request_id = acceptable(value_of(packet, len(packet), ID_VARIABLE))
    return session.router.identify(session)


def _span(begin: float, end: float) -> float | None:
    """Milliseconds; None when the one or the other never came."""
    return round((end - begin) * 1000, 3) if begin and end >= begin else None

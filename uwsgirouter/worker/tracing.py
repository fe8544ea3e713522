"""Traces: what was decided for the next requests of a key, step by step, told to the master.

One idea: while anybody traces, every request of this worker notes its steps (worker/record.py), and those of the key
that is asked for are told when they are over; when nobody does, no request does. The operator counts the requests; a
worker tells no more than it was asked for. It must not know who asks. Invariant: a trace that ended, or whose time is
over, costs nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uwsgirouter.log import printable
from uwsgirouter.protocol.control import to_text
from uwsgirouter.protocol.packet import values_of
from uwsgirouter.worker.observer import Observer

if TYPE_CHECKING:
    from uwsgirouter.worker.record import Record
    from uwsgirouter.worker.router import Router
    from uwsgirouter.worker.session import Session

STEPS_MOST = 200
"""Of one request: rules that go round and round would fill the channel."""
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
    """The traces of one worker. ``make()`` gives an observer to a router that has none."""

    def __init__(self, router: Router, make: Callable[[], Observer], tell: Callable[..., None]) -> None:
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
            observer.sinks.append(self._over)
        observer.traces = True

    def end(self, token: int) -> None:
        """No more of them."""
        self._traces.pop(token, None)
        observer = self._router.observer
        if self._traces or observer is None:
            return
        observer.traces = False
        if self._over in observer.sinks:
            observer.sinks.remove(self._over)
        if observer is self._own:
            self._own = self._router.observer = None

    def tick(self) -> None:
        """Once a second."""
        if self._traces:
            now = time.monotonic()
            for token in [token for token, trace in self._traces.items() if now >= trace.until]:
                self.end(token)

    def _over(self, session: Session, record: Record) -> None:
        if record.steps is None:
            return
        for token, trace in list(self._traces.items()):
            if trace.key in (session.key, record.key):
                trace.left -= 1
                self._tell("traced", token, _written(session, record))
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
        "id": to_text(session.router.identify(session)),
        "key": to_text(session.key or record.key),
        "request": " ".join(printable(line.get(name, b"-")) for name in _LINE),
        "node": node.address.text if node is not None else None,
        "tries": session.attempts,
        "status": record.status or None,
        "cause": record.cause or None,
        "steps": [[round(moment * 1000, 3), text] for moment, text in steps],
        "omitted": len(record.steps) - len(steps),
        "queue_ms": _span(record.began, record.sought),
        "connect_ms": _span(record.dialled, record.connected),
        "ttfb_ms": _span(record.connected, record.first),
        "total_ms": _span(record.began, record.ended),
    }


def _span(begin: float, end: float) -> float | None:
    """Milliseconds; None when the one or the other never came."""
    return round((end - begin) * 1000, 3) if begin and end >= begin else None

"""The router of one worker: what every session shares.

One idea: a session asks here for the slot of a key, for the loop, the counters and the limits, and tells here what
failed; the answers cost an attribute each, because they are computed once, at start. It knows the registry's table and
the log; it must not know the channel or the master: what they must hear goes through ``report``.
Invariant: every open session is in ``sessions``, and in no other place for longer than a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uwsgirouter.log import Log, Throttle, printable
from uwsgirouter.mappers.base import Mapper
from uwsgirouter.mappers.static import StaticMapper
from uwsgirouter.mappers.subscription import SubscriptionMapper
from uwsgirouter.model.counters import Counter
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.worker.session import Session

CONNECT_TIMEOUT = 5
"""Seconds that a connect may take at most, so that another node can be tried while the client still waits."""
FRESH_DELAY = 0.05
"""Seconds after which a request that is not answered yet has its client watched."""
LINES_PER_SECOND = 10
"""Failure lines that go to the log each second; the rest is counted."""

_SENT_BADLY = (Cause.BAD_PACKET, Cause.NO_KEY)
"""What anybody who can connect can cause, as often as they like: one line a second tells it all."""

_CAUSE_CELL = {cause: int(Counter.FAILURES) + index for index, cause in enumerate(Cause)}


class Router:
    """Shared by the sessions of one worker. ``cells`` and ``inflight`` are its rows of the shared memory."""

    def __init__(
        self,
        settings: Settings,
        table: RouteTable,
        mapper: Mapper,
        cells: memoryview,
        inflight: memoryview,
        loop: Any,
        log: Log,
        report: Callable[[Node, str], None],
    ) -> None:
        self.table = table
        self.cells = cells
        self.inflight = inflight
        self.loop = loop
        self.timeout = settings.number("fastrouter-timeout")
        self.connect_timeout = min(self.timeout, CONNECT_TIMEOUT)
        self.max_retries = settings.number("fastrouter-max-retries")
        self.keep_modifiers = settings.flag("fastrouter-keep-modifiers")
        self.error_pages = settings.flag("fastrouter-error-pages")
        size = settings.number("fastrouter-buffer-size")
        self.scratch = memoryview(bytearray(max(65536, size)))
        """What every read goes through first: packets, and (the part of it that is ``relay``) all that is relayed."""
        self.relay = self.scratch[:size]
        self.find = mapper.find
        self.sessions: set[Session] = set()
        self.ticks = 0
        self.idle: Callable[[], None] | None = None
        """Called when the last session closes (a draining worker sets it)."""
        self._quiet = settings.flag("fastrouter-quiet")
        self._report = report
        self._say = Throttle(log.say, LINES_PER_SECOND)
        self._say_bad = Throttle(log.say, 1)
        self._fresh: list[Session] = []
        self._fresh_timer = loop.timer(FRESH_DELAY, FRESH_DELAY)

    def watch_later(self, session: Session) -> None:
        """Have ``session`` watch its client soon, if it still lasts then."""
        if not self._fresh:
            self._fresh_timer.again(self._watch_fresh)
        self._fresh.append(session)

    def _watch_fresh(self) -> None:
        self._fresh_timer.stop()
        fresh, self._fresh = self._fresh, []
        for session in fresh:
            session.watch_client()

    def tick(self) -> None:
        """Once a second: count silence and end what took too long."""
        self.ticks += 1
        for session in list(self.sessions):
            session.silence += 1
            if session.silence > 1 or session.deadline:
                session.expire()
        self.cells[Counter.SESSIONS] = len(self.sessions)
        now = time.monotonic()
        self._say.flush(now)
        self._say_bad.flush(now)

    def closed(self, session: Session) -> None:
        """``session`` is over."""
        self.sessions.discard(session)
        if self.idle is not None and not self.sessions:
            self.idle()

    def connect_failed(self, node: Node, error: OSError, retries: int) -> None:
        """``node`` does not accept: it is out at once here, and the master hears of it."""
        self.cells[Counter.NODE_FAILURES] += 1
        if node.state is State.UP:
            self.table.fail(node)
            self._report(node, error.strerror or str(error))
        if not self._quiet:
            text = f'unable to connect() to node "{node.address.text}" ({retries} retries): {error.strerror}'
            self._say(text, time.monotonic())

    def repeated(self, session: Session, node: Node, cause: Cause) -> None:
        """A request goes to another node because ``node`` ended before its first byte."""
        text = f"{cause.value.word} by {node.address.text}, key {printable(session.key)}: tried on another node"
        self._say(text, time.monotonic())

    def failed(self, session: Session, cause: Cause, detail: str, node: Node | None, tries: int) -> None:
        """A request ends with our answer for ``cause``."""
        self.cells[_CAUSE_CELL[cause]] += 1
        self._tell("failed", session, cause, detail, node, tries)

    def aborted(self, session: Session, cause: Cause, detail: str, node: Node | None, tries: int) -> None:
        """A response is cut off after its first byte."""
        self.cells[_CAUSE_CELL[cause]] += 1
        self.cells[Counter.ABORTED] += 1
        self._tell("cut off", session, cause, detail, node, tries)

    def _tell(self, what: str, session: Session, cause: Cause, detail: str, node: Node | None, tries: int) -> None:
        where = f" node {node.address.text}" if node is not None else ""
        reason = f" ({detail})" if detail else ""
        key = printable(session.key) or "-"
        answer = cause.value
        text = f"request {what}: {answer.status} {answer.word} key {key}{where} tries {tries}{reason}"
        (self._say_bad if cause in _SENT_BADLY else self._say)(text, time.monotonic())


def choose_mapper(settings: Settings, table: RouteTable, announced: bool) -> Mapper:
    """The one way to find nodes: announcements when there is a subscription server, else the configured nodes.

    As with the FastRouter, a key that nobody announced does not fall through to ``fastrouter-to``.
    """
    if announced:
        return SubscriptionMapper(table, settings.flag("fastrouter-strip-port"))
    return StaticMapper(table)

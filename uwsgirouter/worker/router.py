"""The router of one worker: what every session shares.

One idea: a session asks here for the slot of a key, for the loop, the counters and the limits, and tells here what
failed; the answers cost an attribute each, because they are computed once, at start. It knows the registry's table and
the log; it must not know the channel or the master: what they must hear goes through ``report``.
Invariant: every open session is in ``sessions``, and in no other place for longer than a moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from uwsgirouter.log import Log, Throttle, printable
from uwsgirouter.mappers.base import Candidates, Mapper
from uwsgirouter.mappers.direct import DIRECT_KEY, DirectNodes
from uwsgirouter.model.counters import Counter
from uwsgirouter.model.node import SERVING, Node
from uwsgirouter.model.table import FALLBACK_KEY, RouteTable
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.adoption import Adoptions
from uwsgirouter.worker.asking import Ask, Asking
from uwsgirouter.worker.choice import Choice
from uwsgirouter.worker.common import FRESH_DELAY, Common
from uwsgirouter.worker.disk import Disk
from uwsgirouter.worker.explaining import is_traced, step
from uwsgirouter.worker.observer import ID_VARIABLE, Ids, Observer, acceptable
from uwsgirouter.worker.queue import Queue
from uwsgirouter.worker.vassals import Vassals

if TYPE_CHECKING:
    from uwsgirouter.worker.routed import Rules
    from uwsgirouter.worker.session import Session

CONNECT_TIMEOUT = 5
"""Seconds that a connect may take at most, so that another node can be tried while the client still waits."""
LINES_PER_SECOND = 10
"""Failure lines that go to the log each second; the rest is counted."""

_SENT_BADLY = (Cause.BAD_PACKET, Cause.NO_KEY, Cause.BAD_KEY)
"""What anybody who can connect can cause, as often as they like: one line a second tells it all."""

_CAUSE_CELL = {cause: int(Counter.FAILURES) + index for index, cause in enumerate(Cause)}


class Told(Protocol):
    """What the master must hear."""

    def node_failed(self, node: Node, reason: str) -> None:
        """``node`` does not accept connections."""

    def node_faulty(self, id: int) -> None:
        """Node ``id`` accepted a request and did not answer it."""

    def node_answered(self, node: Node) -> None:
        """``node``, which was unconfirmed, has answered."""

    def node_wanted(self, id: int) -> None:
        """Requests wait for the vassal of node ``id``."""

    def troubled(self, cause: str, key: bytes, node: str, detail: str, request: bytes) -> None:
        """A request failed for ``cause``: one of many."""


class Router(Common):
    """Shared by the sessions of one worker. ``cells`` and ``inflight`` are its rows of the shared memory."""

    # More than an instance dictionary shares between look-ups (30), so slots.
    __slots__ = (
        "_adopters",
        "_asking",
        "_ids",
        "_quiet",
        "_sampled",
        "_say",
        "_say_bad",
        "_told",
        "adoptions",
        "ask",
        "await_vassal",
        "confirmed",
        "connect_timeout",
        "direct",
        "disk",
        "error_pages",
        "fallback_on_no_key",
        "first_byte_timeout",
        "idle_timeout",
        "is_asleep",
        "limit_post",
        "max_retries",
        "post_buffering",
        "post_buffering_dir",
        "queue",
        "table",
        "timeout",
        "vassals",
    )

    def __init__(
        self,
        settings: Settings,
        table: RouteTable,
        mapper: Mapper,
        direct: DirectNodes,
        cells: memoryview,
        inflight: memoryview,
        loop: Any,
        log: Log,
        told: Told,
        choice: Choice | None = None,
        waits_elsewhere: Callable[[int], bool] = lambda since: False,
        rules: Rules | None = None,
        ids: Ids | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.rules = rules
        self.observer = observer
        self._ids = ids if ids is not None else Ids()
        self.table = table
        self.cells = cells
        self.inflight = inflight
        self.loop = loop
        self.timeout = settings.number("fastrouter-timeout")
        self.connect_timeout = settings.optional_number("fastrouter-connect-timeout") or min(
            self.timeout, CONNECT_TIMEOUT
        )
        self.first_byte_timeout = settings.optional_number("fastrouter-first-byte-timeout") or self.timeout
        self.idle_timeout = settings.optional_number("fastrouter-idle-timeout") or self.timeout
        self.max_retries = settings.number("fastrouter-max-retries")
        self.keep_modifiers = settings.flag("fastrouter-keep-modifiers")
        self.error_pages = settings.flag("fastrouter-error-pages")
        size = settings.number("fastrouter-buffer-size")
        self.scratch = memoryview(bytearray(max(65536, size)))
        self.relay = self.scratch[:size]
        self.find = mapper.find
        self.ask = getattr(mapper, "ask", None)
        self.mount_levels = getattr(mapper, "levels", 0)
        self.direct = direct
        self.forced_key = os.fsencode(settings.text("fastrouter-force-key"))
        self.fallback_on_no_key = settings.flag("fastrouter-fallback-on-no-key")
        self.limit_post = settings.number("limit-post")
        self.post_buffering = settings.number("fastrouter-post-buffering")
        self.post_buffering_dir = settings.text("fastrouter-post-buffering-dir")
        self.handles_bodies = bool(self.limit_post or self.post_buffering)
        self.passes_descriptors = not settings.flag("no-fd-passing")
        self.adoptions = Adoptions(loop)
        self._adopters: set[str] = set()
        """Addresses of nodes that were seen to adopt: of what they close at once nothing need be said."""
        self.vassals = Vassals(settings, told.node_wanted)
        self.is_asleep = self.vassals.is_asleep
        self.await_vassal = self.vassals.wait
        self.disk = Disk()
        self._asking = Asking(log)
        self.sessions = set()
        self.ticks = 0
        self.idle = None
        self._quiet = settings.flag("fastrouter-quiet")
        self._told = told
        self.confirmed = told.node_answered
        self.choice = choice
        self.queue: Queue | None = None
        if choice is not None and choice.full is not None:
            patience = settings.seconds("subscription-queue-timeout")
            most = settings.number("subscription-queue-length")
            self.queue = choice.queue = Queue(loop, choice, patience, most, cells, waits_elsewhere)
        self._sampled: dict[Cause, int] = {}
        self._say = Throttle(log.say, LINES_PER_SECOND)
        self._say_bad = Throttle(log.say, 1)
        self.fresh = []
        self.fresh_timer = loop.timer(FRESH_DELAY, FRESH_DELAY)

    def tick(self) -> None:
        """Once a second: count silence and end what took too long."""
        self.ticks += 1
        for session in list(self.sessions):
            session.silence += 1
            if session.record is not None and session.upstream is not None and self.observer is not None:
                self.observer.left(session)  # what streams for long is seen while it does
            if session.silence > 1 or session.deadline:
                session.expire()
        self.cells[Counter.SESSIONS] = len(self.sessions)
        self.vassals.tick()
        for node in self.direct.recover():
            self._say(f"node {node.address.text} is tried again", time.monotonic())
        now = time.monotonic()
        self._say.flush(now)
        self._say_bad.flush(now)

    def other(self, session: Session, slot: Candidates | None, tried: Sequence[Node], last: bool) -> Node | None:
        """The node for a request that the first choice does not serve; None when nobody is left.

        First whoever else is up, then a fallback, then those that are down: none is given up while it could be tried.
        The ``last`` attempt goes to a fallback that is up, so that retries never use up its turn. A fallback stands in
        for nodes: a key that has none gets one only with ``fastrouter-fallback-on-no-key``, and nobody stands in for an
        address that a rule chose.
        """
        fallback = None
        if (slot is not None or tried or self.fallback_on_no_key) and session.follows_key():
            fallback = self.table.slots.get(FALLBACK_KEY)
        stand_in = fallback.first(SERVING, tried) if fallback is not None else None
        if last and stand_in is not None:
            return stand_in
        node = self._another(session, slot, tried) if slot is not None else None
        if node is None:
            node = stand_in
        if node is None and slot is not None:
            node = slot.last_resort(tried)
        if node is None and fallback is not None:
            node = fallback.last_resort(tried)
        return node

    def _another(self, session: Session, slot: Candidates, tried: Sequence[Node]) -> Node | None:
        """One that is up and was not tried; rather one that is not full."""
        node = self.choice.pick(session, slot, tried, in_line=True) if self.choice is not None else None
        return node or slot.next_except(tried, session)

    def consult(self, session: Session, ask: Ask, tried: Sequence[Node]) -> None:
        """Ask whoever may have to wait, in a greenlet; ``session.mapped`` is called with the answer."""
        self._asking.begin(session, ask, session.key, tried)

    def ask_no_more(self, session: Session) -> None:
        """``session`` ends before its question was answered, its vassal was there or its turn came."""
        self._asking.forget(session)
        if self.rules is not None:
            self.rules.forget(session)
        self.vassals.forget(session)
        if self.queue is not None:
            self.queue.forget(session)

    def faulty(self, node: Node | None) -> None:
        """``node`` accepted a request and broke off, or let the time pass; too often, and the master ejects it."""
        if node is not None and node.key != DIRECT_KEY:
            self._told.node_faulty(node.id)

    def connect_failed(self, session: Session, node: Node, error: OSError, retries: int) -> None:
        """``node`` does not accept: it is out at once here, and the master hears of it."""
        self.cells[Counter.NODE_FAILURES] += 1
        if self.observer is not None:
            self.observer.refused(node)
        if node.key == DIRECT_KEY:
            self.direct.fail(node)
        elif node.state in SERVING:
            self.table.fail(node)
            self._told.node_failed(node, error.strerror or str(error))
        now = time.monotonic()
        if not self._quiet and not self._say.holds_back(now):
            text = f'unable to connect() to node "{node.address.text}" ({retries} retries): {error.strerror}'
            self._say(f"{text}, id {self.identify(session).decode()}", now)

    def tries_another(self, session: Session, node: Node, cause: Cause) -> None:
        """A request goes to another node after ``node``."""
        self.cells[Counter.RETRIES] += 1
        if is_traced(session):
            step(session, f"{cause.value.word} by {node.address.text}: another node is tried")
        if cause in (Cause.NODE_CLOSED, Cause.NODE_RESET):
            now = time.monotonic()
            if not self._say.holds_back(now):
                text = f"{cause.value.word} by {node.address.text}, key {printable(session.key)}: tried on another node"
                self._say(f"{text}, id {self.identify(session).decode()}", now)

    def adopted(self, session: Session, node: Node, unproven: bool) -> None:
        """``node`` took the client over. ``unproven``: it closed at once, which one that died would do as well."""
        self.cells[Counter.ANSWERED] += 1
        self.cells[Counter.ADOPTED] += 1
        step(session, "the node took the client over, and answers it by itself")
        if not unproven:
            self._adopters.add(node.address.text)
        elif node.address.text not in self._adopters:
            self._say(
                f"node {node.address.text} took over a client of key {printable(session.key)}, or closed without an "
                "answer (no-fd-passing tells which)",
                time.monotonic(),
            )

    def identify(self, session: Session) -> bytes:
        """What logs and the failure page call its request."""
        if session.request_id:
            return session.request_id
        if session.routed is not None:
            session.request_id = session.routed.exchange.identify()
        else:
            session.request_id = acceptable(session.variable(ID_VARIABLE)) or self._ids.new()
        return session.request_id

    def failed(self, session: Session, cause: Cause, detail: str, node: Node | None, tries: int) -> None:
        """A request ends with our answer for ``cause``."""
        self.cells[_CAUSE_CELL[cause]] += 1
        if is_traced(session):
            step(session, f"failed ({session.phase.value}): {_worded(cause, detail)}")
        if self.observer is not None:
            self.observer.failed(session, cause)
        self._tell("failed", session, cause, detail, node, tries)
        self._sample(session, cause, detail, node)

    def aborted(self, session: Session, cause: Cause, detail: str, node: Node | None, tries: int) -> None:
        """A response is cut off after its first byte."""
        self.cells[_CAUSE_CELL[cause]] += 1
        self.cells[Counter.ABORTED] += 1
        if session.record is not None:
            session.record.cause = cause.value.word
            step(session, f"cut off ({session.phase.value}): {_worded(cause, detail)}")
        self._tell("cut off", session, cause, detail, node, tries)
        self._sample(session, cause, detail, node)

    def _sample(self, session: Session, cause: Cause, detail: str, node: Node | None) -> None:
        """Tell the master of one failure a second of each cause: operators ask it for the last."""
        if self._sampled.get(cause) != self.ticks:
            self._sampled[cause] = self.ticks
            where = node.address.text if node is not None else ""
            self._told.troubled(cause.value.word, session.key, where, detail, self.identify(session))

    def _tell(self, what: str, session: Session, cause: Cause, detail: str, node: Node | None, tries: int) -> None:
        say, now = self._say_bad if cause in _SENT_BADLY else self._say, time.monotonic()
        if say.holds_back(now):
            return
        where = f" node {node.address.text}" if node is not None else ""
        reason = f" ({detail})" if detail else ""
        key = printable(session.key) or "-"
        answer = cause.value
        text = f"request {what}: {answer.status} {answer.word} key {key}{where} tries {tries}{reason}"
        say(f"{text} {self._where_it_was(session)}", now)

    def _where_it_was(self, session: Session) -> str:
        """What ends each line about a request."""
        return f"phase {session.phase.name.lower()} id {self.identify(session).decode()}"


def _worded(cause: Cause, detail: str) -> str:
    return f"{cause.value.status} {cause.value.word}{f' ({detail})' if detail else ''}"

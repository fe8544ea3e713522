"""A session's way through the rules: chains are run, and what they decided is done.

One idea: rules only say what is to happen (rules/exchange.py, rules/response.py); here it happens to the session:
another key, a node, a target in place of nodes, an answer, a response that is looked at. A table that may wait is run
in a greenlet, any other within the session's own step. Sessions whose rules said nothing are let go of at once and cost
nothing more. Invariants: the final chain runs once for each exchange that is kept; a greenlet of a session that is over
is killed; whatever a rule raises, or however long it takes, ends in an answer while nothing of one is out.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import gevent

from uwsgirouter.errors import ProtocolError
from uwsgirouter.log import Log, Throttle, printable
from uwsgirouter.mappers.mountpoints import path_of
from uwsgirouter.protocol.answers import Cause, encode_answer
from uwsgirouter.protocol.packet import scan
from uwsgirouter.rules.base import ChainName, Verdict
from uwsgirouter.rules.exchange import Exchange, Speech, Steps, Target
from uwsgirouter.rules.response import Piece, Response, Stage
from uwsgirouter.rules.stage import OPEN
from uwsgirouter.worker.ending import begin_answer, drop, end_answer, take_body, tell_failure
from uwsgirouter.worker.explaining import step
from uwsgirouter.worker.filter import Filter
from uwsgirouter.worker.outlet import Outlet, Unreadable
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.seeking import see_client

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.rules.host import Host
    from uwsgirouter.rules.table import Table
    from uwsgirouter.worker.arrival import Arrival
    from uwsgirouter.worker.asking import Ask
    from uwsgirouter.worker.record import Record
    from uwsgirouter.worker.session import Session
    from uwsgirouter.worker.streams import Stream

T = TypeVar("T")

# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_REQUEST, _FINAL, _BREAK = ChainName.REQUEST, ChainName.FINAL, Verdict.BREAK
_RULES, _PACKET, _ANSWER, _RELAY = Phase.RULES, Phase.PACKET, Phase.ANSWER, Phase.RELAY
_NOTHING, _SENT = Stage.NOTHING, Stage.SENT
_UWSGI, _HTTP, _TUNNEL = Speech.UWSGI, Speech.HTTP, Speech.TUNNEL

FAREWELL = 2.0
"""Seconds that a worker which leaves gives final chains that wait."""


class Rules:
    """The rules of one worker: ``table``, and the greenlets of sessions whose rules wait."""

    def __init__(self, table: Table, host: Host, log: Log) -> None:
        self.table = table
        self.host = host
        self._greenlets: dict[Session, Any] = {}
        self._finishing: set[Any] = set()
        self._say = Throttle(log.block, 1)
        self._waits = table.waits(_REQUEST)
        self.response_waits = table.waits(ChainName.ERROR) or table.waits(ChainName.RESPONSE) or table.transforms_wait
        self._final_waits = table.waits(_FINAL)
        self._has_final = table.has(_FINAL)

    def begin(self, session: Arrival, end: int, length: int, upgrade: bool) -> None:
        """Run the request chain for a session whose packet is ``session.packet[:end]``, then go on as it says."""
        exchange = Exchange(self.table, self.host, session.packet[:end], session.key)
        if session.request_id:
            exchange.request_id = session.request_id
        routed = session.routed = Routed(self, session, exchange, length, upgrade)
        if session.record is not None and session.record.steps is not None:
            exchange.steps = session.record
        if self._waits:
            step(session, _RULES.value)
            session.phase = _RULES
            see_client(session)
            self.run(session, True, partial(_run_request, exchange), routed.decided)
            return
        try:
            verdict = self.table.run(_REQUEST, exchange)
        except Exception:  # noqa: BLE001 - as in run()
            self.broke(session)
            return
        routed.decided(verdict)

    def run(self, session: Session, waits: bool, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """``then(work())``: at once, or in a greenlet. A session has one greenlet at most."""
        if waits:
            self._greenlets[session] = gevent.spawn(self._run, session, work, then)
            return
        try:
            result = work()
        except Exception:  # noqa: BLE001 - whatever a part does, its request gets an answer, and others are served
            self.broke(session)
            return
        then(result)

    def _run(self, session: Session, work: Callable[[], T], then: Callable[[T], None]) -> None:
        own = gevent.getcurrent()
        try:
            result = work()
        except BaseException:  # noqa: BLE001 - as above; and who was killed has nobody to tell
            if self._greenlets.get(session) is own:
                del self._greenlets[session]
                self.broke(session)
            return
        if self._greenlets.get(session) is own:
            del self._greenlets[session]
            then(result)

    def broke(self, session: Session) -> None:
        """A rule raised what it should not."""
        self._say("a rule failed: " + traceback.format_exc(), time.monotonic())
        if session.routed is not None:
            session.routed.give_up(Cause.INTERNAL)

    def waits_for(self, session: Session) -> bool:
        """Whether a rule of ``session`` is under way in a greenlet."""
        return session in self._greenlets

    def forget(self, session: Session) -> None:
        """``session`` waits for its rules no more."""
        if not self._greenlets:
            return
        greenlet = self._greenlets.pop(session, None)
        if greenlet is not None and greenlet is not gevent.getcurrent():
            greenlet.kill(block=False)

    def finish(self, exchange: Exchange) -> None:
        """Run the final chain; nobody waits for it."""
        if not self._has_final and not exchange.has_response:
            return
        if self._final_waits:
            last = gevent.spawn(self._finish, exchange)
            self._finishing.add(last)
            last.link(self._finishing.discard)
        else:
            self._finish(exchange)

    def end(self) -> None:
        """The worker leaves: let final chains come to their end, for a moment."""
        gevent.joinall(list(self._finishing), FAREWELL)

    def _finish(self, exchange: Exchange) -> None:
        try:
            exchange.response.finish()
        except Exception:  # noqa: BLE001 - the session is over: there is nobody to tell but the log
            self._say("a rule failed: " + traceback.format_exc(), time.monotonic())
        discard(exchange.response.take())
        exchange.let_go()


class Routed:
    """What rules made of one session. Kept as long as they have a say in it."""

    __slots__ = (
        "_is_hurried",
        "_length",
        "_out",
        "_owes",
        "_rules",
        "_session",
        "_told",
        "_upgrade",
        "begun",
        "exchange",
        "way",
    )

    def __init__(self, rules: Rules, session: Arrival, exchange: Exchange, length: int, upgrade: bool) -> None:
        self.exchange = exchange
        self.way = b""
        """The address that rules chose in place of the key's nodes."""
        self._rules = rules
        self._session = session
        self._length = length
        self._upgrade = upgrade
        self._out: Outlet | None = None
        self._owes = False
        self._told: Cause | None = None
        """The failure that is answered, which has its log line."""
        self._is_hurried = False
        """No rule is waited for any more."""
        self.begun = False
        """Whether anything of an answer, other than interim ones, is out or on its way."""

    @property
    def response(self) -> Response:
        """The answer that is being made."""
        return self.exchange.response

    # -- the request chain -------------------------------------------------------------------------------------------

    def decided(self, verdict: Verdict) -> None:
        """The request chain has ended."""
        session, exchange = self._session, self.exchange
        if session.phase is _RULES:
            session.unwatch()
            session.phase = _PACKET
            session.silence = 0
        if exchange.steps is not None:
            self._tell_decision(exchange.steps, verdict)
        if exchange.patience is not None:
            session.deadline = session.router.ticks + exchange.patience
        if verdict is not _BREAK and not (exchange.has_response and exchange.response.answered):
            self._go_on()
        elif exchange.target is not None:
            self._go_to(exchange.target)
        elif self.response.stage is not _NOTHING:
            self._owes = begin_answer(session)
            self._make_answer(self.response.complete)
        elif exchange.broken:
            session.fail(exchange.cause, exchange.broken)
        else:
            session.fail(Cause.RULE_BREAK)

    def _tell_decision(self, trace: Steps, verdict: Verdict) -> None:
        exchange = self.exchange
        if verdict is not _BREAK and not (exchange.has_response and exchange.response.answered):
            key = f", key {printable(exchange.key)}" if exchange.key != self._session.key else ""
            node = f", node {exchange.node}" if exchange.node else ""
            trace.step(f"the rules let it go on{key}{node}")
        elif exchange.target is not None:
            trace.step(f"the rules send it to {exchange.target.address} ({exchange.target.speech.name.lower()})")
        elif self.response.stage is not _NOTHING:
            trace.step(f"the rules answer it: {self.response.status}")
        else:
            trace.step("the rules end it without an answer")

    def _go_on(self) -> None:
        session, exchange = self._session, self.exchange
        key = self._take_packet()
        if exchange.node:
            self.way = os.fsencode(exchange.node)
        if not session.router.mount_levels:
            self._leave_unneeded()
        session.admit(key, self._length, self._upgrade)

    def _go_to(self, target: Target) -> None:
        session = self._session
        self._take_packet()
        self.way = os.fsencode(target.address)
        if target.modifiers is not None:
            self.exchange.chosen = target.modifiers
        if target.speech is _TUNNEL:
            session.open_ended()
        session.admit(session.key or self.way, self._length, self._upgrade)

    def _take_packet(self) -> bytes:
        """Give the session the packet as rules left it; the key that it then has."""
        session, exchange = self._session, self.exchange
        if not session.repack(exchange.packet):
            return exchange.key
        if exchange.key != session.key:
            return exchange.key  # a rule's word counts more than what the packet says
        try:
            return scan(exchange.packet, len(exchange.packet))[0]
        except ProtocolError:  # pragma: no cover - the exchange keeps it whole
            return exchange.key

    def _is_needed(self) -> bool:
        """Whether rules have any say in what comes."""
        exchange = self.exchange
        if exchange.table.answers or self.way or exchange.chosen is not None or exchange.patience is not None:
            return True
        if exchange.holds:
            return True
        return exchange.has_response and self.sees_response

    def _leave_unneeded(self) -> None:
        if not self._is_needed():
            if self._session.record is not None:
                self._note_wishes(self._session.record)
            self._session.routed = None

    def find(self) -> Candidates | None:
        """As the mapper's: the nodes for the session. Raises BadKey, BadTarget."""
        router = self._session.router
        return router.direct.of_target(self.way) if self.way else router.find(self._session.key)

    def asks(self) -> Ask | None:
        """What may find nodes after a while."""
        router = self._session.router
        return (lambda key, tried: router.direct.resolve(self.way)) if self.way else router.ask

    def path(self) -> bytes:
        """The path that a mountpoint is looked for in; asked once."""
        self._leave_unneeded()
        return path_of(self.exchange.variable(b"PATH_INFO"), self.exchange.variable(b"REQUEST_URI"))

    def note(self, record: Record) -> None:
        """What the client got, when rules have seen it, and what they want logged: the session is over."""
        self._note_wishes(record)
        if self.exchange.has_response and self.response.head_out:
            record.status = self.response.status
            record.head = self.response.sent_head
            record.own = len(record.head) + self.response.body_size

    def _note_wishes(self, record: Record) -> None:
        record.logvars = self.exchange.logvars or None
        record.unlogged = not self.exchange.log_request

    # -- what the session asks ---------------------------------------------------------------------------------------

    @property
    def sees_response(self) -> bool:
        """Whether the node's response passes through the rules."""
        target = self.exchange.target
        return self.response.wanted and (target is None or not target.untouched)

    @property
    def speaks_otherwise(self) -> bool:
        """Whether the node gets something else than the packet."""
        target = self.exchange.target
        return target is not None and target.speech is not _UWSGI

    @property
    def measures_body(self) -> bool:
        """Whether what follows the body must not reach the target, which would take it for another request."""
        target = self.exchange.target
        return target is not None and target.speech is _HTTP and not self._upgrade

    def opening(self, data: bytes) -> bytes:
        """What a target that speaks no uwsgi gets in place of the packet that ``data`` begins with."""
        target = self.exchange.target
        assert target is not None
        body = data[4 + data[1] + (data[2] << 8) :]
        if self.measures_body:
            body = body[: max(0, self._length)]
        return target.head + body

    def passed(self, pump: Pump, count: int) -> None:
        """Bytes of the response were read; those that a plain pump takes are all body."""
        if type(pump) is Pump:
            self.response.body_size += count

    def start(self, down: Pump) -> None:
        """The request is out: ``down`` begins. The client of a tunnel hears that it is open."""
        target = self.exchange.target
        if target is None or target.speech is not _TUNNEL:
            down.start()
        else:
            self.step(self._greet, partial(self._greeted, down))

    def _greet(self) -> None:
        if self.response.prepare(b"200 Connection established"):
            self.response.write_head()

    def _greeted(self, down: Pump) -> None:
        if self.response.stage is not _SENT or self.response.failure is not None:
            self._owes = begin_answer(self._session)  # rules would not have it
            self._answer()
            return
        greeting = b"".join(piece for piece in self.take() if isinstance(piece, bytes))
        self._session.moved(down, 0)
        down.start(greeting)

    def filter(self, source: Stream, own_line: bytes) -> Filter:
        """What takes the response of ``source``, perhaps a second node; ``own_line`` goes into its head."""
        self.response.reset()
        self.response.own_line = own_line.removesuffix(b"\r\n")
        return Filter(self._session, self, source, self._session.client)

    @property
    def may_wait(self) -> bool:
        """Whether :meth:`feed` and :meth:`step` may return before they are done."""
        return self._rules.response_waits

    def feed(self, data: bytes, then: Callable[[], None]) -> None:
        """Bytes of the node for the rules, as by :meth:`step`."""
        response, rules = self.exchange.response, self._rules
        if rules.response_waits:
            self.step(partial(response.feed, data), then)
            return
        try:
            response.feed(data)
        except Exception:  # noqa: BLE001 - as in Rules.run
            rules.broke(self._session)
            return
        then()

    def step(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Let the rules of the response do ``work``, then go on with ``then``."""
        rules = self._rules
        if rules.response_waits:
            rules.run(self._session, True, work, partial(_go_on, then))
            return
        try:
            work()
        except Exception:  # noqa: BLE001 - as in Rules.run
            rules.broke(self._session)
            return
        then()

    def take(self) -> list[bytes | Piece]:
        """What is ready to be sent."""
        output = self.response.take()
        if output and self.response.stage not in OPEN:
            self.begun = True
        return output

    @property
    def waits(self) -> bool:
        """Whether a rule is waited for."""
        return self._rules.waits_for(self._session)

    # -- ends --------------------------------------------------------------------------------------------------------

    def give_up(self, cause: Cause, detail: str = "") -> None:
        """End the session: with an answer while nothing of one is out, else by a reset."""
        session = self._session
        if session.phase is _ANSWER:
            self._give_up_answer(cause, detail)
        elif self.begun or (session.phase is _RELAY and type(session.down) is Pump):
            session.abort(cause, detail)
        else:
            session.fail(cause, detail)

    def abandon(self, cause: Cause) -> None:
        """The same, and at once: the session is closed next."""
        self._is_hurried = True
        self.give_up(cause)

    def _give_up_answer(self, cause: Cause, detail: str) -> None:
        self._rules.forget(self._session)
        if self._out is None:
            if self._told is None:
                self._told = cause
                tell_failure(self._session, cause, detail)
            self._answer_plainly(self._told)
        elif self._told is None:
            self._session.abort(cause, detail)
        else:
            drop(self._session)

    # -- an answer without a node ------------------------------------------------------------------------------------

    def fail(self, cause: Cause, detail: str, owes: bool) -> None:
        """The router's own answer for ``cause``, or what rules make of it. ``owes``: the client has more to send."""
        self._owes = owes
        self._told = cause
        self._rules.forget(self._session)
        self._session.silence = 0
        if self.response.stage not in OPEN or (self._is_hurried and self._rules.response_waits):
            self._answer_plainly(cause)
            return
        head_only = self._is_head_only()
        page = self._session.router.error_pages
        self._make_answer(lambda: self.response.fail(cause, head_only, page, detail))

    def _make_answer(self, work: Callable[[], None]) -> None:
        if self._rules.response_waits:
            see_client(self._session)
        self.step(work, self._answer)

    def _is_head_only(self) -> bool:
        return self.exchange.variable(b"REQUEST_METHOD") == b"HEAD"

    def _answer_plainly(self, cause: Cause) -> None:
        """The router's own answer, without asking any rule."""
        discard(self.response.take())
        self.response.status = cause.value.status
        page = self._session.router.error_pages
        name = self._session.router.identify(self._session)
        self._send([encode_answer(cause, self._is_head_only(), name)] if page else [])

    def _answer(self) -> None:
        session, response = self._session, self.response
        if response.cut and self._told is None:
            session.abort(response.failure or Cause.RULE_FAILED, response.detail)
            return
        if response.cut:
            drop(session)
            return
        if response.failure is not None and self._told is None:
            tell_failure(session, response.failure, response.detail)
            self._told = response.failure
        self._send(self.take())

    def _send(self, output: list[bytes | Piece]) -> None:
        session = self._session
        session.unwatch()
        self._out = Outlet(session.router.loop, session.client, self._answered, self._lost, self._moved)
        self._out.put(output)
        try:
            if not self._out.flush():
                if self._owes:
                    take_body(session)
                return
        except OSError as error:
            self._lost(error)
            return
        self._answered()

    def _answered(self) -> None:
        end_answer(self._session, self._owes)

    def _lost(self, error: OSError) -> None:
        if not isinstance(error, Unreadable):
            self._session.client_gone()
        elif self._told is None:
            self._session.abort(Cause.RULE_FAILED, str(error))
        else:
            drop(self._session)

    def _moved(self) -> None:
        self._session.silence = 0

    def over(self) -> None:
        """The session is over."""
        self._rules.forget(self._session)
        if self._out is not None:
            self._out.stop()
        if self.exchange.has_response:
            discard(self.response.take())
        try:
            self._rules.finish(self.exchange)
        finally:
            self.exchange.release()
        self._session.routed = None  # what refers to each other waits for the collector


def _run_request(exchange: Exchange) -> Verdict:
    return exchange.table.run(_REQUEST, exchange)


def _go_on(then: Callable[[], None], _: None) -> None:
    then()


def discard(output: list[bytes | Piece]) -> None:
    """Nobody will send this."""
    for piece in output:
        if isinstance(piece, Piece):
            os.close(piece.descriptor)

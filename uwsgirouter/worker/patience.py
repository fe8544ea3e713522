"""How long a session waits, and what becomes of it then.

One idea: seconds of silence are counted by the router's clock, once a second for all sessions; what too long means
depends on the phase, and whose fault it is on what is still to come. It asks the session and tells it how to end.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.ending import is_reading
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.peers import was_spoken_to
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.retrying import connect_failed
from uwsgirouter.worker.seeking import give_up_vassal

if TYPE_CHECKING:
    from uwsgirouter.worker.routed import Routed
    from uwsgirouter.worker.session import Session

LINGER_SILENCE = 2
"""Seconds without a byte after which a client that still owes us its body is let go."""
_LINGERING = (Phase.LINGER, Phase.LINGER_RESET)


def expire(session: Session) -> None:
    """Called each second for a session that is silent for long, or lingers: give up what took too long."""
    routed = session.routed
    if routed is None or session.phase in _LINGERING:
        _BY_PHASE.get(session.phase.name, _ignore)(session)
    elif session.deadline and session.router.ticks >= session.deadline:
        session.deadline = 0
        routed.give_up(Cause.HARAKIRI)
    elif routed.waits:
        _ruling(session, routed)
    else:
        _BY_PHASE.get(session.phase.name, _ignore)(session)


def _lingering(session: Session) -> None:
    patience = LINGER_SILENCE if session.left else 0
    if session.router.ticks >= session.deadline or (session.silence > patience and not is_reading(session)):
        session.close()


def _connecting(session: Session) -> None:
    if session.silence > session.router.connect_timeout and session.node is not None:
        session.silence = 0
        connect_failed(session, session.node, OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))


def _waiting(session: Session) -> None:
    """No byte of an answer: it is the client's fault while the node has taken all that there is of the body."""
    router = session.router
    if session.left > 0 and session.up is not None and not session.up.held:
        if session.silence > router.timeout:
            session.fail(Cause.CLIENT_TIMEOUT, f"{session.left} bytes of the body did not come")
    elif session.silence > router.first_byte_timeout:
        if session.passed and was_spoken_to(session.client):
            session.silence = 0  # the node has adopted the client and is at it
        else:
            if not _may_owe(session):
                router.faulty(session.node)
            session.fail(Cause.FIRST_BYTE_TIMEOUT)


def _may_owe(session: Session) -> bool:
    """Whether the node may be waiting for a body whose length nobody told."""
    up = session.up
    return session.left < 0 and up is not None and up.flow is Flow.OPEN and not up.held


def _relaying(session: Session) -> None:
    if session.silence > session.router.idle_timeout:
        if session.down is not None and session.down.flow is Flow.ENDED:
            session.close()  # the answer is complete; the client kept its own direction open
        elif session.routed is not None:
            session.routed.give_up(Cause.IDLE_TIMEOUT)
        else:
            session.abort(Cause.IDLE_TIMEOUT, "")


def _mapping(session: Session) -> None:
    if session.silence > session.router.first_byte_timeout:
        session.fail(Cause.MAPPER_TIMEOUT)


def _ruling(session: Session, routed: Routed) -> None:
    """A rule is waited for, in any phase; the seconds that rules of the request gave it count from its beginning."""
    patience = routed.exchange.patience
    if patience is not None and session.phase is Phase.RULES and session.silence >= patience:
        routed.give_up(Cause.HARAKIRI)
    elif session.silence > session.router.first_byte_timeout:
        routed.give_up(Cause.RULES_TIMEOUT)


def _answering(session: Session) -> None:
    """A client that does not read what rules made for it."""
    if session.silence > session.router.idle_timeout and session.routed is not None:
        session.routed.give_up(Cause.IDLE_TIMEOUT)


def _waking(session: Session) -> None:
    if session.silence > session.router.vassals.patience:
        give_up_vassal(session)


def _gathering(session: Session) -> None:
    if session.silence > session.router.timeout:
        missing = session.body.left if session.body is not None else 0
        session.fail(Cause.CLIENT_TIMEOUT, f"{missing} bytes of the body did not come")


def _reading(session: Session) -> None:
    if not session.packet and session.router.idle is not None:
        # It connected and has said nothing for a second or two: no reason to hold up a worker that drains.
        session.close()
    elif session.silence > session.router.timeout:
        if session.packet:
            session.fail(Cause.CLIENT_TIMEOUT, f"{len(session.packet)} bytes of the packet came")
        else:
            session.close()


def _ignore(session: Session) -> None:
    """An adopted client is its node's affair, and the queue has a clock of its own."""


_BY_PHASE = {
    "PACKET": _reading,
    "BODY": _gathering,
    "MAP": _mapping,
    "WAKE": _waking,
    "CONNECT": _connecting,
    "WAIT": _waiting,
    "RELAY": _relaying,
    "ANSWER": _answering,
    "LINGER": _lingering,
    "LINGER_RESET": _lingering,
}

"""How a session ends before its time: with an answer of our own, with a reset, or when its client has read what it got.

One idea: whatever has failed, the client is told as much as can still be told. Before a response byte is out that is an
answer; after it, a reset, so that what is incomplete does not look complete. A client that was answered while it still
sends is listened to for a while (LINGER): closing with its bytes unread would reset the connection under the answer. It
must not know why a request failed, nor whether another node could serve it.
Invariant: once a response byte is out, no answer of our own follows.
"""

from __future__ import annotations

import socket
from struct import pack
from time import monotonic
from typing import TYPE_CHECKING

from uwsgirouter.protocol.answers import Cause, encode_answer
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.peers import unsent
from uwsgirouter.worker.phases import FINDING, Phase
from uwsgirouter.worker.relay import Pump

if TYPE_CHECKING:
    from uwsgirouter.worker.session import Session

LINGER_TOTAL = 30
"""Seconds after which a client that still owes us its body is let go anyhow."""

_FLAGS = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_RESET_ON_CLOSE = pack("ii", 1, 0)
_OVER = (Phase.LINGER, Phase.LINGER_RESET, Phase.CLOSED)
_UNANSWERED = (Phase.CONNECT, Phase.WAIT, Phase.BODY, *FINDING)


def owes_body(session: Session) -> bool:
    """Whether the client has, or may have, more to send than the node took."""
    if session.phase is Phase.BODY:
        return True
    up = session.up
    if up is None:
        return session.left != 0
    if up.flow is Flow.ENDED:
        return False
    return session.left != 0 or up.held > 0 or up.flow is Flow.DISCARDING


# -- an answer of our own ------------------------------------------------------------------------------------------


def fail(session: Session, cause: Cause, detail: str) -> None:
    """Give the client the failure answer for ``cause`` and end the session. No response byte was sent before."""
    owes = owes_body(session)
    if session.routed is not None:
        cause, detail = session.routed.exchange.explained(cause, detail)
    if session.phase in FINDING:
        session.router.ask_no_more(session)
    tell_failure(session, cause, detail)
    session.leave_node()
    if session.body is not None:
        session.body.close()
    if session.routed is not None and session.phase is not Phase.ANSWER:
        session.phase = Phase.ANSWER
        session.packet = b""
        session.routed.fail(cause, detail, owes)
        return
    pages = session.router.error_pages
    if pages and not _send_answer(session, cause):
        owes = False  # it did not wait for the answer
    session.packet = b""
    if session.passed:
        _hang_up(session)
    if owes and pages:
        linger(session)
    else:
        session.close()


def _send_answer(session: Session, cause: Cause) -> bool:
    """Whether the client took it."""
    head_only = session.variable(b"REQUEST_METHOD") == b"HEAD"
    answer = encode_answer(cause, head_only, session.router.identify(session))
    if session.record is not None:
        session.record.own = len(answer)
        session.record.head = answer[: answer.find(b"\r\n\r\n") + 4]
        session.record.ended = monotonic()
    try:
        session.client.send(answer, _FLAGS)
    except OSError:
        return False
    return True


def _hang_up(session: Session) -> None:
    """End the connection, and not only our descriptor of it: one that nobody reads may be on its way to a node."""
    try:
        session.client.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it is gone


def tell_failure(session: Session, cause: Cause, detail: str) -> None:
    """The answer that the client gets is one for ``cause``, perhaps made elsewhere."""
    session.router.failed(session, cause, detail, session.node, session.attempts)


def begin_answer(session: Session) -> bool:
    """An answer of our own follows, and no node; whether the client owes a body."""
    owes = owes_body(session)
    session.leave_node()
    session.phase = Phase.ANSWER
    return owes


def take_body(session: Session) -> None:
    """The answer takes a while: read what the client still sends, who may not read before all of it is sent."""
    session.up = Pump(session.router.loop, session.router.relay, session, session.client, session.client)
    session.up.discard()


def end_answer(session: Session, owes: bool) -> None:
    """It is out."""
    if owes:
        linger(session)
    else:
        session.close()


# -- after an answer -----------------------------------------------------------------------------------------------


def linger(session: Session) -> None:
    """Let the client read its answer, which ends here, and throw away what it still sends."""
    session.leave_node()
    session.phase = Phase.LINGER
    try:
        session.client.shutdown(socket.SHUT_WR)
    except OSError:
        session.close()
    else:
        _listen_on(session)


def linger_for_reset(session: Session) -> None:
    """The same after a response that may be cut: its end is to be a reset, as the node's was."""
    session.leave_node()
    session.phase = Phase.LINGER_RESET
    if not session.left and not unsent(session.client):
        session.close()  # it has its answer and owes nothing
    else:
        _listen_on(session)


def _listen_on(session: Session) -> None:
    session.silence = 0
    session.deadline = session.router.ticks + LINGER_TOTAL
    take_body(session)


def is_reading(session: Session) -> bool:
    """Whether a client that will be reset has yet to read its answer; a reset would take the rest of it away."""
    return session.phase is Phase.LINGER_RESET and unsent(session.client)


# -- at once -------------------------------------------------------------------------------------------------------


def abort(session: Session, cause: Cause, detail: str) -> None:
    """A response that cannot be completed must not look complete: reset the client's connection."""
    if session.routed is not None:
        cause, detail = session.routed.exchange.explained(cause, detail)
    session.router.aborted(session, cause, detail, session.node, session.attempts)
    drop(session)


def drop(session: Session) -> None:
    """The same for a failure that is told already."""
    reset_when_closed(session)
    session.close()


def reset_when_closed(session: Session) -> None:
    """The end of the client's connection will be a reset."""
    try:
        session.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    except OSError:
        pass  # it is closed by the peer: nothing to reset


def abandon(session: Session, cause: Cause) -> None:
    """Give up at once (a bug, a fast stop): an answer if none was begun, a reset of one that was."""
    phase = session.phase
    try:
        if session.routed is not None and phase not in _OVER:
            session.routed.abandon(cause)
        elif phase is Phase.RELAY:
            abort(session, cause, "")
        elif phase in _UNANSWERED or (phase is Phase.PACKET and session.packet):
            fail(session, cause, "")
    finally:
        session.close()

"""One side has ended, or failed, while the other goes on: what becomes of the session.

One idea: an end is passed on as the end of its direction, as if both sides were connected directly, and what a failure
means depends on what is still to come: a node that resets when its answer is out has said all it had to say, one that
resets before has answered nothing. It knows pumps by what they tell (worker/flow.py), not how they move bytes. The
usual end, a whole response to a whole request, never comes here (:meth:`Session.ended`).
Invariant: an end is passed on once, and no reset of a node becomes a clean end for its client.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.adoption import let_go, may_have_begun
from uwsgirouter.worker.ending import is_reading, linger, linger_for_reset, owes_body
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.peers import hung_up
from uwsgirouter.worker.phases import Phase
from uwsgirouter.worker.retrying import no_answer

if TYPE_CHECKING:
    from uwsgirouter.worker.relay import Pump
    from uwsgirouter.worker.session import Session


def client_ended(session: Session) -> None:
    """Pass the end of the client's direction on."""
    down = session.down
    if down is None and (is_reading(session) or session.phase is Phase.ANSWER):
        return  # its patience closes it (worker/patience.py), or whoever answers
    if down is None or down.flow is Flow.ENDED:
        session.close()
    elif session.upstream is not None:
        try:
            session.upstream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the node is gone already: its own direction tells


def node_ended(session: Session) -> None:
    """The node ended, and all of it was passed on: a response, none, or what a reset looks like."""
    if session.cut is not None:
        node_failed(session, session.cut)
    elif uploads(session) and session.upstream is not None and hung_up(session.upstream):
        # It cannot have read it all: a reset, which sendfile(2) keeps to itself once it has sent something.
        node_failed(session, OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
    elif session.phase is not Phase.WAIT:
        _response_ended(session)
    elif session.passed:
        let_go(session)
    else:
        no_answer(session, Cause.NODE_CLOSED, "")


def _response_ended(session: Session) -> None:
    """Pass the end of the response on; the session lasts while the client still has something to send."""
    up = session.up
    if up is not None and up.flow is Flow.DISCARDING:
        linger(session)
    elif not owes_body(session):
        session.close()
    else:
        session.watch_client()
        try:
            session.client.shutdown(socket.SHUT_WR)
        except OSError:
            session.client_gone()


def uploads(session: Session) -> bool:
    """Whether the node is being sent a body from its file."""
    return session.body is not None and session.body.upload is not None


def node_failed(session: Session, error: OSError) -> None:
    """A reset by the node."""
    detail = error.strerror or str(error)
    if session.phase is Phase.WAIT:
        if session.passed and hung_up(session.client):
            session.client_gone()
        elif session.passed and may_have_begun(session):
            # The node had adopted the client, and died so soon that its word was not heard.
            session.abort(Cause.NODE_RESET, detail)
        else:
            no_answer(session, Cause.NODE_RESET, detail)
    elif session.with_body or owes_body(session) or session.cut is not None:
        # A node that closes with body unread resets: an early answer. It was passed on; let the client read it.
        linger_for_reset(session)
    else:
        session.abort(Cause.NODE_RESET, detail)


def sink_failed(session: Session, pump: Pump, error: OSError) -> None:
    """A write met a peer that is gone. A node that reads no more may still have answered."""
    down = session.down
    if pump is down or down is None:
        session.client_gone()
    elif down.flow is Flow.ENDED:
        linger(session)
    else:
        if error.errno == errno.ECONNRESET:
            session.cut = error
        pump.discard()

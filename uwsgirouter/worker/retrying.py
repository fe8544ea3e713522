"""A node did not serve a request: another one, or the failure answer.

One idea: what was sent decides. Where nothing was (no connection), any request may go elsewhere; where it was, only one
that can be repeated, and only while nothing came back. Who is next is not decided here (worker/seeking.py), nor what a
failure does to the node (worker/router.py), nor what its client is told (worker/ending.py).
Invariant: a request makes ``fastrouter-max-retries`` attempts more than one at most, and a node that it left is in
``tried``, unless it withdrew by itself.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.explaining import is_traced, step
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.seeking import look, lost, seek
from uwsgirouter.worker.state import STREAMING

if TYPE_CHECKING:
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.session import Session

IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

_OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_ENDED = (Flow.ENDING, Flow.ENDED)


def withdraw(session: Session, node: Node) -> None:
    """Another worker gave the node its last request in the same moment: another node, or wait."""
    assert session.upstream is not None
    session.upstream.close()
    session.upstream = None
    session.router.inflight[node.id] -= 1
    session.attempts -= 1
    step(session, f"{node.address.text} was given its last request by another worker in this moment")
    lost(session, node)


def connect_failed(session: Session, node: Node, error: OSError) -> None:
    """Mark the node and try another one."""
    if error.errno in _OUT_OF_DESCRIPTORS:
        session.fail(Cause.OVERLOAD, os.strerror(error.errno))
        return
    if is_traced(session):
        step(session, f"no connection to {node.address.text}: {error.strerror or error}")
    session.router.connect_failed(session, node, error, session.attempts - 1)
    cause = Cause.CONNECT_TIMEOUT if error.errno == errno.ETIMEDOUT else Cause.CONNECT_FAILED
    _try_another(session, node, cause, error.strerror or str(error))


def no_answer(session: Session, cause: Cause, detail: str) -> None:
    """The node ended before its first byte: another one, if the request may be sent twice."""
    node = session.node
    if session.up is None or session.up.flow not in _ENDED:
        session.router.faulty(node)  # a node that gives up since its client did is none
    if node is not None and _may_repeat(session):
        _try_another(session, node, cause, detail)
    else:
        step(session, "the request cannot be repeated: it is not idempotent, or its body was passed on")
        session.fail(cause, detail)


def _may_repeat(session: Session) -> bool:
    """An idempotent request (RFC 9110, 9.2.2) whose body is empty, or here to be sent again."""
    if session.left > 0 or session.left == STREAMING or len(session.packet) != session.end:
        return False
    return session.variable(b"REQUEST_METHOD") in IDEMPOTENT


def _try_another(session: Session, node: Node, cause: Cause, detail: str) -> None:
    """Leave ``node``; another one within ``fastrouter-max-retries``, else the failure answer for ``cause``."""
    session.leave_node()
    if session.tried is None:
        session.tried = []
    session.tried.append(node)
    session.cut = None
    session.why = (cause, detail)
    if session.attempts > session.router.max_retries:
        session.fail(cause, detail)
        return
    # Looked up anew: the slot of the first attempt may be gone, and another one stand in its place.
    seek(session, look(session))

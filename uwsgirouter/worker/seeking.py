"""Who serves a request that its first choice does not: ask, wait, or take what is left.

One idea: everything that can come between a request's key and its node, except the usual "it is that node's turn",
stands here, so that a session pays for it only when it happens. It drives the session's phases MAP (a mapper is asked),
QUEUE (every node has all the requests that it can have) and WAKE (a vassal is being started). Nothing here waits or
yields.
Invariant: a session that waits here is known to exactly one of those who can call it back.
"""

from __future__ import annotations

from functools import partial
from socket import MSG_DONTWAIT, MSG_PEEK
from typing import TYPE_CHECKING

from uwsgirouter.errors import BadKey, BadTarget
from uwsgirouter.model.slot import Slot
from uwsgirouter.model.table import FALLBACK_KEY
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.explaining import explain, is_traced, step
from uwsgirouter.worker.peers import has_ended, hung_up
from uwsgirouter.worker.phases import Phase

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.session import Session

_PEEK = int(MSG_DONTWAIT | MSG_PEEK)


class Overfull(Exception):
    """A node was given more requests than it can have: two workers chose it in the same moment."""


_OVER = (Phase.CLOSED, Phase.LINGER)


def cannot_map(session: Session, error: Exception) -> None:
    """The key leads nowhere, by the mapper's word."""
    session.fail(Cause.BAD_KEY if isinstance(error, BadKey) else Cause.MAPPER_FAILED, str(error))


def look(session: Session) -> Candidates | None:
    """The nodes for the request, None also when it has its failure answer already."""
    try:
        return session.candidates()
    except (BadKey, BadTarget) as error:
        cannot_map(session, error)
        return None


def seek(session: Session, slot: Candidates | None) -> None:
    """Nobody in ``slot`` is up and free, or one failed: ask whoever may know better, or take what is left."""
    if session.phase in _OVER:
        return
    ask = session.asks() if slot is None else None
    if ask is not None:
        session.phase = Phase.MAP
        step(session, session.phase.value)
        see_client(session)
        session.router.consult(session, ask, session.tried or [])
        return
    choose(session, slot)


def mapped(session: Session, slot: Candidates | None, error: Exception | None) -> None:
    """The mapper has answered."""
    if session.phase is not Phase.MAP:
        return
    session.phase = Phase.CONNECT
    session.silence = 0
    if error is not None:
        cannot_map(session, error)
    else:
        if is_traced(session):
            explain(session, slot, None)
        choose(session, slot)


def choose(session: Session, slot: Candidates | None, in_line: bool = False) -> None:
    """Wait for a node that is busy or asleep, else take whoever is left. ``in_line``: it has waited already."""
    router = session.router
    tried = session.tried or []
    full = router.choice.must_wait(session, slot, tried, in_line) if router.choice is not None else None
    if full is not None:
        wait_in_line(session, full.key)
        return
    if session.phase is not Phase.WAKE and router.is_asleep(slot, tried):
        session.phase = Phase.WAKE
        step(session, session.phase.value)
        session.silence = 0
        session.tried = None  # whoever failed may be the one that is being started
        see_client(session)
        router.await_vassal(session)
        return
    if session.watcher is not None:
        session.unwatch()
    if session.phase is Phase.WAKE:
        router.ask_no_more(session)
    node = router.other(session, slot, tried, 0 < session.attempts >= router.max_retries)
    if node is None:
        session.fail(*session.why)
        return
    if tried:
        router.tries_another(session, tried[-1], session.why[0])
    session.lent = None
    if node.key == FALLBACK_KEY:
        absent = tried[0] if tried else (slot.last_resort(()) if slot is not None else None)
        session.lent = absent.modifiers if absent is not None else None
    session.dial(node)


def wait_in_line(session: Session, key: bytes) -> None:
    """Every node of ``key`` that is up has all the requests that it can have."""
    router = session.router
    choice, slot = router.choice, look(session)
    assert router.queue is not None and choice is not None
    if session.phase in _OVER:
        return
    if session.phase is Phase.WAKE:
        router.ask_no_more(session)
    wanted = choice.wanted(session, slot, session.tried or []) if isinstance(slot, Slot) else []
    if router.queue.put(session, key, wanted):
        session.phase = Phase.QUEUE
        step(session, session.phase.value)
        session.silence = 0
        see_client(session)
    else:
        session.fail(Cause.QUEUE_FULL)


def dequeued(session: Session, slot: Candidates | None, node: Node | None) -> None:
    """Its turn has come: ``node``, or (None) nobody is worth waiting for any more."""
    session.unwatch()
    if has_ended(session.client):  # seen only now when there is a body that nobody has read
        session.client_gone()
        return
    session.phase = Phase.CONNECT
    session.silence = 0
    session.lent = None
    step(session, "its turn in the line has come")
    if node is not None:
        session.dial(node)
    else:
        choose(session, slot, in_line=True)


def lost(session: Session, node: Node) -> None:
    """The request has withdrawn from ``node``, which was overfull: another one that is free, or the line."""
    slot, choice = look(session), session.router.choice
    if session.phase in _OVER or choice is None:
        return
    free = choice.instead_of(node, session, slot)
    if free is not None:
        session.dial(free)
    else:
        wait_in_line(session, node.key)


def see_client(session: Session) -> None:
    """See whether the client goes away while its node is still being found."""
    if session.watcher is None:
        session.watch(session.client, 1, partial(_on_client, session))


def _on_client(session: Session) -> None:
    """A client moves while its node is still being found: it goes away, or its body begins to come."""
    session.unwatch()
    try:
        count = session.client.recv_into(session.router.scratch, 1, _PEEK)
    except BlockingIOError:
        see_client(session)
    except OSError:
        session.client_gone()
    else:
        # Without a body to come it has nothing more to say; whether it still listens is seen when it is answered,
        # unless it is gone. In the line nobody waits on the chance that it does: there are others.
        if not count and not session.left and (session.phase is Phase.QUEUE or hung_up(session.client)):
            session.client_gone()


def wake(session: Session) -> None:
    """The nodes have changed: go on if somebody is up now."""
    slot = look(session)
    if session.phase is Phase.WAKE and not session.router.is_asleep(slot, session.tried or []):
        choose(session, slot)


def give_up_vassal(session: Session) -> None:
    """It did not start in time: somebody else, or a failure."""
    session.why = (Cause.NO_NODE, "the vassal did not start in time")
    slot = look(session)
    if session.phase is Phase.WAKE:
        choose(session, slot)

"""Whose session a bug has met: a handler raised what it should not, and the others must go on.

One idea: an exception that nobody expects belongs to one session, and that one ends; which it is tells the object whose
handler it was, or else the frames that were being run. It ends nothing itself (worker/main.py does).
"""

from __future__ import annotations

import traceback
from types import TracebackType

from uwsgirouter.worker.heading import Heading
from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.session import Session


def session_of(owner: object) -> Session | None:
    """The session that an object is, or works for."""
    if isinstance(owner, (Pump, Heading)):
        owner = owner.session
    return owner if isinstance(owner, Session) else None


def session_in(tb: TracebackType) -> Session | None:
    """The session that was being worked on (the frames of compiled code show nothing, those of the router do)."""
    for frame, _ in traceback.walk_tb(tb):
        session = session_of(frame.f_locals.get("session")) or session_of(frame.f_locals.get("self"))
        if session is not None:
            return session
    return None

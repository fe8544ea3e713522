"""Ask a mapper that may have to wait, each session in a greenlet of its own.

One idea: a session goes on living while its question is out; what comes back too late is dropped, and a session that
ends takes its greenlet with it. Invariant: a session has at most one greenlet.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Container
from typing import Any, Protocol

import gevent

from uwsgirouter.errors import BadKey, BadTarget
from uwsgirouter.log import Log, Throttle
from uwsgirouter.mappers.base import Candidates
from uwsgirouter.model.node import Node

Ask = Callable[[bytes, Container[Node]], Candidates | None]


class Asker(Protocol):
    """A session with a question."""

    def mapped(self, slot: Candidates | None, error: Exception | None) -> None:
        """The answer, or what the mapper raised."""


class Asking:
    """The questions that are out."""

    def __init__(self, log: Log) -> None:
        self._greenlets: dict[Asker, Any] = {}
        self._say = Throttle(log.block, 1)

    def begin(self, session: Asker, ask: Ask, key: bytes, tried: Container[Node]) -> None:
        """Call ``ask``, which may yield, for ``key``; ``session.mapped`` follows, never before this returns."""
        self._greenlets[session] = gevent.spawn(self._run, session, ask, key, tried)

    def forget(self, session: Asker) -> None:
        """``session`` is over."""
        greenlet = self._greenlets.pop(session, None)
        if greenlet is not None and greenlet is not gevent.getcurrent():
            greenlet.kill(block=False)

    def _run(self, session: Asker, ask: Ask, key: bytes, tried: Container[Node]) -> None:
        slot: Candidates | None = None
        error: Exception | None = None
        try:
            slot = ask(key, tried)
        except (BadKey, BadTarget) as refused:
            error = refused
        except BaseException as raised:
            if session not in self._greenlets:
                raise  # it was killed: the session is over
            self._say("the mapper failed: " + traceback.format_exc(), time.monotonic())
            error = BadTarget(f"{type(raised).__name__}: {raised}")
        if self._greenlets.pop(session, None) is not None:
            session.mapped(slot, error)

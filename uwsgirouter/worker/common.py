"""What every session of a worker touches in every request, so that it costs a field of a structure and no look-up.

One idea: the compiled form of this class (common.pxd) has C fields, the router adds to it whatever is touched less
often. Invariant: every open session is in ``sessions``, and in no other place for longer than a moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.worker.choice import Choice
    from uwsgirouter.worker.observer import Observer
    from uwsgirouter.worker.routed import Rules
    from uwsgirouter.worker.session import Session

FRESH_DELAY = 0.05
"""Seconds after which a request that is not answered yet has its client watched."""


class Common:
    """The router adds the rest; it sets all of these."""

    __slots__ = (
        "cells",
        "choice",
        "find",
        "forced_key",
        "fresh",
        "fresh_timer",
        "handles_bodies",
        "idle",
        "inflight",
        "keep_modifiers",
        "loop",
        "mount_levels",
        "observer",
        "passes_descriptors",
        "relay",
        "rules",
        "scratch",
        "sessions",
        "ticks",
    )

    cells: memoryview
    inflight: memoryview
    """The worker's rows of the shared memory: its counters, and its requests under way by node."""
    loop: Any
    scratch: memoryview
    """What every read goes through first: packets, and (the part of it that is ``relay``) all that is relayed."""
    relay: memoryview
    find: Callable[[bytes], Candidates | None]
    choice: Choice | None
    """None unless more than the balancer decides (cookies, cores)."""
    rules: Rules | None
    """None unless there are rules."""
    observer: Observer | None
    """None unless requests are observed."""
    forced_key: bytes
    mount_levels: int
    """How many components of its path stand behind a request's key."""
    handles_bodies: bool
    keep_modifiers: bool
    passes_descriptors: bool
    ticks: int
    """Seconds that this worker has counted."""
    sessions: set[Session]
    idle: Callable[[], None] | None
    """Called when the last session closes (a draining worker sets it)."""
    fresh: list[Session]
    fresh_timer: Any

    def watch_later(self, session: Session) -> None:
        """Have ``session`` watch its client soon, if it still lasts then."""
        if not self.fresh:
            self.fresh_timer.again(self.watch_fresh)
        self.fresh.append(session)

    def watch_fresh(self) -> None:
        """Those who are no longer fresh watch their clients now."""
        self.fresh_timer.stop()
        fresh, self.fresh = self.fresh, []
        for session in fresh:
            session.watch_client()

    def closed(self, session: Session) -> None:
        """``session`` is over."""
        self.sessions.discard(session)
        if self.idle is not None and not self.sessions:
            self.idle()

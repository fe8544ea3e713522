"""The first choice where it is not only the balancer's: sticky cookies, and nodes that can be full.

One idea: a router without such options has no choice object at all (``router.choice`` is None), and its sessions ask
their slot alone. Invariant: a node that is full is never picked, except by another worker in the same moment.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from uwsgirouter.model.cores import FullNodes
from uwsgirouter.model.slot import Slot
from uwsgirouter.worker.seeking import Overfull

if TYPE_CHECKING:
    from uwsgirouter.mappers.base import Candidates
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.queue import Queue
    from uwsgirouter.worker.session import Session
    from uwsgirouter.worker.sticky import Sticky


class Choice:
    """``sticky``: cookies, or None; ``full``: which nodes are full, or None when none can be.

    ``queue`` is there exactly when ``full`` is.
    """

    __slots__ = ("full", "queue", "sticky")

    def __init__(self, sticky: Sticky | None, full: FullNodes | None) -> None:
        self.sticky = sticky
        self.full = full
        self.queue: Queue | None = None

    def pick(
        self, session: Session, slot: Candidates, tried: Container[Node] = (), in_line: bool = False
    ) -> Node | None:
        """The node for a request; None when nobody is free, or others wait already (unless it stands ``in_line``)."""
        if not isinstance(slot, Slot):
            return slot.next_except(tried, session) if tried else slot.next(session)
        if not in_line and self.queue is not None and self.queue.has(slot.key):
            return None
        if self.sticky is not None:
            node = self.sticky.node_of(session, slot)
            if node is not None and node not in tried:
                return None if self.full is not None and node in self.full else node
        if self.full is None:
            return slot.next_except(tried, session) if tried else slot.next(session)
        return slot.next_free(self.full.besides(tried), session)

    def must_wait(
        self, session: Session, slot: Candidates | None, tried: Container[Node], in_line: bool = False
    ) -> Slot | None:
        """The slot, if the request must wait for one of its nodes.

        Being full is no failure: nobody is given to a worse backup level, or to a fallback, for it.
        """
        if self.full is None or self.queue is None or not isinstance(slot, Slot):
            return None
        left = [node for node in slot.candidates() if node not in tried]
        if not left:
            return None
        if not in_line and self.queue.has(slot.key):
            return slot
        if self.sticky is not None:
            node = self.sticky.node_of(session, slot)
            if node is not None and node not in tried:
                return slot if node in self.full else None
        return slot if all(node in self.full for node in left) else None

    def check(self, node: Node) -> None:
        """Raise Overfull when ``node``, which was just given a request, has more of them than its cores."""
        if self.full is not None and self.full.over(node):
            raise Overfull

    def released(self, node: Node) -> None:
        """A request of ``node`` has ended here."""
        if self.queue is not None:
            self.queue.released(node)

    def header(self, session: Session, node: Node) -> bytes:
        """A line for the head of the response; empty when there is none."""
        return self.sticky.header(session, node) if self.sticky is not None else b""

    def is_full(self, slot: Slot) -> bool:
        """Whether every node that is up is full."""
        assert self.full is not None
        return all(node in self.full for node in slot.candidates())

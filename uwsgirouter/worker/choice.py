"""The first choice where it is not only the balancer's: sticky cookies, and nodes that can be full.

One idea: a router without such options has no choice object at all (``router.choice`` is None), and its sessions ask
their slot alone. Invariants: a node that is full is never picked, except by another worker in the same moment; who
comes now takes nothing that somebody in the line waits for.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from uwsgirouter.model.cores import Either, FullNodes
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
        """The node for a request; None when nobody is free, or others wait for who is (if it is not ``in_line``)."""
        if not isinstance(slot, Slot):
            return slot.next_except(tried, session) if tried else slot.next(session)
        own = self._own(session, slot, tried)
        if self.full is None:
            return own or (slot.next_except(tried, session) if tried else slot.next(session))
        taken = self._taken(self.full, slot, in_line)
        if own is not None:
            return None if own in taken else own
        node = slot.next_free(Either(taken, tried), session)
        if node is None and tried:
            node = next((node for node in slot.left(tried) if node not in taken), None)
        return node

    def must_wait(
        self, session: Session, slot: Candidates | None, tried: Container[Node], in_line: bool = False
    ) -> Slot | None:
        """The slot, if the request must wait for one of its nodes.

        Being full is no failure: nobody is given to a worse backup level, or to a fallback, for it.
        """
        if self.full is None or not isinstance(slot, Slot):
            return None
        wanted = self.wanted(session, slot, tried)
        taken = self._taken(self.full, slot, in_line)
        return slot if wanted and all(node in taken for node in wanted) else None

    def wanted(self, session: Session, slot: Slot, tried: Container[Node]) -> list[Node]:
        """The nodes that may serve the request: that of its cookie, else those that are up on the best level left."""
        own = self._own(session, slot, tried)
        return [own] if own is not None else slot.left(tried)

    def instead_of(self, node: Node, session: Session, slot: Candidates | None) -> Node | None:
        """One that is free now that ``node`` is not; None: wait."""
        if self.full is None or not isinstance(slot, Slot):
            return None
        wanted = self.wanted(session, slot, session.tried or ())
        return next((other for other in wanted if other is not node and other not in self.full), None)

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

    def is_full(self, slot: Slot, others: Iterable[Node] = ()) -> bool:
        """Whether every node that is up is full, and each of ``others``, too."""
        full = self.full
        assert full is not None
        return all(node in full for node in {*slot.candidates(), *others})

    def _own(self, session: Session, slot: Slot, tried: Container[Node]) -> Node | None:
        """The node of the request's cookie, unless it failed this request."""
        node = self.sticky.node_of(session, slot) if self.sticky is not None else None
        return None if node is None or node in tried else node

    def _taken(self, full: FullNodes, slot: Slot, in_line: bool) -> Container[Node]:
        """Nodes that are full, or (unless it stands ``in_line`` itself) awaited by those who came before."""
        awaited = () if in_line or self.queue is None else self.queue.awaited(slot.key)
        return Either(full, awaited) if awaited else full

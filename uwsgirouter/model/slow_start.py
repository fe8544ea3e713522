"""Slow start: a node that is new or back begins with a part of its share, and the part grows with time.

One idea: the part is computed of ``since``, when the node's state changed, which all processes know, so they agree
without a word. A slot's shares are set when its balancer is made; while they grow the owner of the clock has that done
again once a second (:meth:`~uwsgirouter.model.slot.Balancing.grow`). Nodes of one age have the same part of their
shares, so a router that starts together with its nodes treats them as if nothing were. No I/O; the clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.model.node import FULL_SHARE, Node

FIRST_PART = FULL_SHARE // 10
"""What a node begins with: with less it would hear of its first request too late to get warm."""


def part(age: float, seconds: float) -> int:
    """The part of its share that a node has at ``age`` seconds, in hundredths, when it has all at ``seconds``."""
    if age >= seconds:
        return FULL_SHARE
    return max(FIRST_PART, int(FULL_SHARE * max(age, 0.0) / seconds))


class SlowStart:
    """Called with the nodes of a slot; ``clock()`` gives the monotonic seconds that ``since`` is told in."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock

    def __call__(self, nodes: list[Node]) -> bool:
        """Set their shares; whether any of them is still to grow."""
        now = self._clock()
        growing = False
        for node in nodes:
            now_has = part(now - node.since, self._seconds)
            node.share = node.weight * now_has
            growing = growing or now_has < FULL_SHARE
        return growing

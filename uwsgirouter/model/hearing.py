"""Hearing: how much the silence of a node proves.

One idea: silence is evidence only for the time in which everything that was sent was also heard. What still waits
unread, and what was lost on the way, may have been the word of the very node that seems silent. So the time of a node's
silence ends where the reader has not come to yet, and begins anew at each loss. But not for ever: whoever floods the
router must not keep dead nodes in it. Pure: all times are monotonic seconds and are passed in.
Invariant: of two nodes, the one that was heard of later is not silent before the other.
"""

from __future__ import annotations

from dataclasses import dataclass

BOUND = 3
"""A node that was not heard of for so many times its tolerance is silent, whatever was lost."""


@dataclass(frozen=True)
class Hearing:
    """``until``: up to when all that arrived was read. ``missed``: when something that had arrived was lost last."""

    until: float = float("inf")
    missed: float = float("-inf")

    def is_silent(self, seen: float, now: float, tolerance: float) -> bool:
        """Whether a node that was heard of at ``seen`` has been silent for more than ``tolerance`` seconds."""
        if now - seen > BOUND * tolerance:
            return True
        return min(now, self.until) - max(seen, self.missed) > tolerance


PERFECT = Hearing()
"""Nothing was lost and nothing waits."""

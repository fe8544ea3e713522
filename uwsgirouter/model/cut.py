"""Whose sessions end before their time: keys and how many of each, in one short text for the log.

One idea: an operator wants to know whom a reload, a stop or a death of a worker has hit, and may have thousands of
keys; so the ones with most sessions are named, and the rest is counted. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from uwsgirouter.log import printable
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY

NAMED_MOST = 10
_NAMES = {STATIC_KEY: "fastrouter-to", FALLBACK_KEY: "fastrouter-fallback"}


def whose(keys: Iterable[bytes]) -> str:
    """``a.example 12, b.example 3 and 7 of 4 other keys``; empty when there is nobody."""
    counts = Counter(keys)
    named = counts.most_common(NAMED_MOST)
    text = ", ".join(f"{_NAMES.get(key) or printable(key) or 'no key yet'} {count}" for key, count in named)
    others = len(counts) - len(named)
    if others:
        rest = counts.total() - sum(count for _, count in named)
        text += f" and {rest} of {others} other key{'' if others == 1 else 's'}"
    return text

"""What a soak says at its end. Only words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from scripts.soak.diary import Diary
from scripts.soak.watch import MEGABYTE, Watch

FINDINGS_SHOWN = 40


def lines(diary: Diary, watch: Watch, log_end: str) -> Iterator[str]:
    """The whole report; the log's end only when there are findings."""
    yield ""
    yield from _table("visits", diary.visits)
    yield from _table("what was done", diary.faults)
    yield from _table("failures with a cause", diary.explained)
    most = f"most sessions {watch.most_sessions}; most PSS {watch.most_pss / MEGABYTE:.1f} MB"
    yield f"looked at {watch.seconds} times; {most}"
    for name, level in (("first rest", watch.levels[:1]), ("last rest", watch.levels[-1:])):
        yield from (f"{name}: {one.text}" for one in level)
    if not diary.findings:
        yield "everything came back to where it was; no failure without a cause"
        return
    yield f"{len(diary.findings)} FINDINGS"
    yield from (f"    {finding}" for finding in diary.findings[:FINDINGS_SHOWN])
    yield "the end of the router's log:"
    yield log_end


def _table(title: str, counts: Counter[str]) -> Iterator[str]:
    yield f"{title}: {counts.total()}"
    yield from (f"    {count:7}  {what}" for what, count in sorted(counts.items()))

"""Troubles: which failures requests met, how often in the last minute, and the last one of each cause.

One idea: the counters say how many, since the start; here is kept what they were a minute ago, and one sample of each
cause, which workers tell once a second at most. It changes nothing and judges nothing. Invariant: what a worker tells
is data: it is cut, and shown as it is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from uwsgirouter.model.counters import Counter, Counters
from uwsgirouter.protocol.answers import Cause

MINUTE = 60
"""Seconds that are looked back; the counters are read once in each of so many parts."""
PARTS = 12

_CAUSES = tuple(Cause)
_BY_WORD = {cause.value.word: cause for cause in Cause}
_TEXT_MOST = 300

Beside = Callable[[], "dict[str, int]"]


class _Moment(NamedTuple):
    at: float
    causes: list[int]
    beside: dict[str, int]


@dataclass(frozen=True)
class Sample:
    """One failed request."""

    at: float
    """The wall clock's."""
    worker: int
    key: str
    node: str
    detail: str
    request: str


class Troubles:
    """Failures by cause. ``beside()`` are other totals whose growth in the last minute is of interest, by name."""

    def __init__(self, counters: Counters, beside: Beside = dict) -> None:
        self._counters = counters
        self._beside = beside
        self._samples: dict[Cause, Sample] = {}
        self._past: deque[_Moment] = deque(maxlen=PARTS + 1)

    def tell(self, worker: int, message: list[object]) -> None:
        """What ``worker`` says of a failure: cause, key, node, detail, request id. Nonsense is dropped."""
        texts = [text[:_TEXT_MOST] for text in message if isinstance(text, str)]
        cause = _BY_WORD.get(texts[0]) if len(texts) == len(message) == 5 else None
        if cause is not None:
            self._samples[cause] = Sample(time.time(), worker, *texts[1:])

    def tick(self, now: float) -> None:
        """Called now and then: note the counters, a few times a minute."""
        if not self._past or now - self._past[-1].at >= MINUTE / PARTS:
            self._past.append(_Moment(now, self._totals(), self._beside()))

    def lately(self) -> dict[str, int]:
        """By how much the other totals have grown in the last minute."""
        before = self._past[0].beside if self._past else {}
        return {name: total - before.get(name, 0) for name, total in self._beside().items()}

    def rows(self) -> list[dict[str, object]]:
        """One row for each cause that occurred, the most frequent of the last minute first."""
        totals = self._totals()
        before = self._past[0].causes if self._past else [0] * len(totals)
        found = [
            (total - then, total, cause) for cause, total, then in zip(_CAUSES, totals, before, strict=True) if total
        ]
        found.sort(key=lambda row: (-row[0], -row[1]))
        return [self._row(cause, total, lately) for lately, total, cause in found]

    def _row(self, cause: Cause, total: int, lately: int) -> dict[str, object]:
        answer = cause.value
        row: dict[str, object] = {
            "cause": answer.word,
            "status": answer.status,
            "sentence": answer.sentence,
            "total": total,
            "last_minute": lately,
        }
        sample = self._samples.get(cause)
        if sample is not None:
            row["last"] = {
                "at": round(sample.at, 3),
                "worker": sample.worker,
                "key": sample.key,
                "node": sample.node,
                "detail": sample.detail,
                "id": sample.request,
            }
        return row

    def _totals(self) -> list[int]:
        """By cause, since the start."""
        rows = self._counters.used_rows()
        return [self._counters.total(Counter.FAILURES + index, rows) for index in range(len(_CAUSES))]

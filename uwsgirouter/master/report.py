"""What the master says of itself in one line, at SIGUSR1. Reads counters and tables, changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from uwsgirouter.model.counters import ROWS, UNNUMBERED, Counter, Counters
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.answers import Cause


def describe(counters: Counters, table: RouteTable, rows: Sequence[int], rejects: str, dropped: int) -> str:
    """The stats line: what is there now (``rows`` are those of living workers), and what happened since the start."""

    def total(counter: int) -> int:
        return counters.total(counter, range(ROWS))

    causes = " ".join(
        f"{cause.value.word}={count}" for index, cause in enumerate(Cause) if (count := total(Counter.FAILURES + index))
    )
    inflight = sum(counters.inflight(id, rows) for id in (*table.nodes, UNNUMBERED))
    return (
        f"stats: {len(table.nodes)} nodes, {len(table.slots)} pools, "
        f"{counters.total(Counter.SESSIONS, rows)} sessions, {inflight} in flight, "
        f"{total(Counter.REQUESTS)} requests, {total(Counter.ANSWERED)} answered, "
        f"{total(Counter.RETRIES)} retries, {total(Counter.NODE_FAILURES)} failed connects, "
        f"{total(Counter.ADOPTED)} adopted, {total(Counter.CLIENT_GONE)} clients gone, "
        f"{total(Counter.ABORTED)} cut off; "
        f"failures: {causes or 'none'}; bad datagrams: {rejects or 'none'}; log lines dropped: {dropped}"
    )

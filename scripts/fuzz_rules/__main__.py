"""Draws tables until the time is over: many at once share one uWSGI and one router. A table whose requests differ is
made as small as it stays different, and printed; exit status 1 when there was one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, seed, settings

from scripts.fuzz_rules.grammar import END, Table, tables
from tests.rules.differential.case import Case
from tests.rules.differential.outcome import Outcome, same
from tests.rules.differential.places import places
from tests.rules.differential.sides import Group, Sides
from tests.servers import Servers

BATCH = 150
GROUP = Group(both=("mime-file = {root}/mime.types", "cache2 = name=default,items=5000,blocksize=65536"))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="fuzz_rules", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=None, help="draw the same tables again")
    options = parser.parse_args()
    number = int(time.time()) if options.seed is None else options.seed
    print(f"seed {number}")
    end = time.monotonic() + options.seconds
    found = Search(end)
    found.run(number)
    print(f"{found.tables} tables, {found.requests} requests, {len(found.smallest)} of them different")
    for table, difference in found.smallest:
        print("\n".join(["", *table.rules, *(f"  {asked}" for asked in table.asks), difference]))
    return 1 if found.smallest else 0


class Search:
    """Draws until ``end`` (monotonic) or until three different tables are found."""

    def __init__(self, end: float) -> None:
        self.end = end
        self.tables = self.requests = 0
        self.smallest: list[tuple[Table, str]] = []

    def run(self, number: int) -> None:
        """Draw, compare, and make smaller what differs."""
        while time.monotonic() < self.end and len(self.smallest) < 3:
            batch = drawn(number)
            number += 1
            self.tables += len(batch)
            self.requests += sum(len(table.asks) for table in batch)
            for table, difference in different(batch)[:1]:
                self.smallest.append(smaller(table, difference))


def drawn(number: int, count: int = BATCH) -> list[Table]:
    """``count`` tables; the same for the same number."""
    batch: list[Table] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(tables())
    def draw(table: Table) -> None:
        batch.append(table)

    draw()
    return batch


def different(batch: Sequence[Table]) -> list[tuple[Table, str]]:
    """Those whose requests both sides answer differently, with the first difference, in one start of both sides."""
    cases = [
        Case(f"f{index}", tuple(rule.replace("{case}", f"f{index}") for rule in table.rules), table.asks)
        for index, table in enumerate(batch)
    ]
    servers = Servers()
    try:
        sides = Sides(servers, "fuzz", GROUP, cases, places(servers))
        real, ours = sides.run(sides.start_real()), sides.run(sides.start_ours())
        sides.reports.close()
    finally:
        servers.close()
    found = []
    for table, case in zip(batch, cases, strict=True):
        for asked, one, other in zip(case.asks, real[case.name], ours[case.name], strict=True):
            try:
                compare(one, other)
            except AssertionError as error:
                found.append((replace(table, asks=(asked,)), f"{error}\nuWSGI  {one.show()}\nrouter {other.show()}"))
                break
    return found


def compare(real: Outcome, ours: Outcome) -> None:
    """As in the differential tests. Where uWSGI closes without a byte, the router answers, and its later chains
    run for that answer.
    """
    if not real.answer or (ours.failed and not real.answer.startswith(b"HTTP/")):
        assert ours.answer
        assert ours.seen == real.seen
        return
    coded = any(line.startswith((b"Content-Encoding", b"Transfer-Encoding", b"Content-Length")) for line in real.head)
    same(real, ours, framing=coded)


def smaller(table: Table, difference: str) -> tuple[Table, str]:
    """The smallest table that still differs: of all that are one step smaller, the first that does, again and again."""
    while steps := list(reduced(table)):
        still = different(steps)
        if not still:
            break
        table, difference = still[0]
    return table, difference


def reduced(table: Table) -> Iterator[Table]:
    """All that is one step smaller: a rule or a variable less."""
    for index in range(len(table.rules)):
        if len(table.rules) > 1 and f"= {END}-" not in table.rules[index]:
            yield replace(table, rules=table.rules[:index] + table.rules[index + 1 :])
    (asked,) = table.asks
    for pair in asked.variables:
        if pair[0] not in (b"HTTP_REFERER", b"HTTP_USER_AGENT", b"REMOTE_USER", b"N", b"M"):
            yield replace(
                table, asks=(replace(asked, variables=tuple(other for other in asked.variables if other != pair)),)
            )
    for key in asked.app:
        yield replace(
            table, asks=(replace(asked, app={name: value for name, value in asked.app.items() if name != key}),)
        )
    if asked.path != "/":
        yield replace(table, asks=(replace(asked, path="/"),))
    if asked.method != "GET":
        yield replace(table, asks=(replace(asked, method="GET", body=b""),))


if __name__ == "__main__":
    sys.exit(main())

"""One table for many cases: each stands behind a label, and a request names its case.

In each chain: a request whose case has no rules there leaves at once; any other jumps to its case's label; each case
ends with ``last:``. Invariant: a case meets no rule of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.rules.differential.case import CHAINS, Case, chain_of

PREFIX = {"request": "", "error": "error-", "response": "response-", "final": "final-"}


def labelled(cases: Sequence[Case]) -> list[str]:
    """The lines of the whole table."""
    lines: list[str] = []
    for chain in CHAINS:
        lines += guarded(case for case in cases if chain == "error" and case.guards_errors())
        having = [case for case in cases if chain in case.chains()]
        if not having:
            continue
        prefix = PREFIX[chain]
        lines += [
            f"{prefix}route-if-not = contains:${{CHAINS}};{chain} last:",
            f"{prefix}route-run = goto:${{CASE}}",
        ]
        for case in having:
            lines.append(f"{prefix}route-label = {case.name}")
            lines += [rule for rule in case.rules if chain_of(rule) == chain]
            lines.append(f"{prefix}route-run = last:")
    return lines


def guarded(cases: Iterable[Case], chains: Sequence[str] = ("error",)) -> list[str]:
    """The same without jumps, for cases whose rules are all ``route-run``: each rule asks for its case.

    uWSGI's error chain loses its way when it jumps in its second run.
    """
    lines: list[str] = []
    for case in cases:
        for rule in case.rules:
            if chain_of(rule) not in chains:
                continue
            option, _, action = rule.partition("=")
            assert option.strip().endswith("route-run"), rule
            guard = option.strip().replace("route-run", "route-if")
            lines.append(f"{guard} = equal:${{CASE}};{case.name} {action.strip()}")
    return lines

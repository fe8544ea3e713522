"""From figures to a verdict: the table for people, the JSON for machines, the targets of the project.

Pure but for reading what the machine is; prints nothing, ends nothing.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.bench import programs
from scripts.bench.measures import Spread, ratios, spread
from scripts.bench.rounds import Figures, Work
from scripts.bench.site import FASTROUTER, OURS

TARGETS = {"small": 1.05, "download": 0.35, "upload": 0.35}
"""CPU of uwsgirouter over CPU of the C FastRouter: the most that is allowed, by load."""


@dataclass(frozen=True)
class Row:
    """The outcome of one load."""

    key: str
    title: str
    unit: str
    cost: dict[str, Spread]
    """By lane."""
    ratio: Spread | None
    """The second lane over the first; None if there is only one."""
    target: float | None

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.ratio is None or self.target is None:
            return None
        return self.ratio.median <= self.target


def row(work: Work, figures: Figures, lanes: Sequence[tuple[str, str]]) -> Row:
    """``lanes`` are (name, kind) in order; a target applies if they are the FastRouter and ours."""
    cost = {name: spread(figures.cost[name]) for name, _ in lanes}
    ratio = None
    if len(lanes) == 2:
        (base, _), (other, _) = lanes
        ratio = spread(ratios(figures.cost[other], figures.cost[base]))
    compared = [kind for _, kind in lanes] == [FASTROUTER, OURS]
    return Row(work.key, work.title, work.unit, cost, ratio, TARGETS[work.key] if compared else None)


def table(rows: Sequence[Row]) -> str:
    """Lines of text, a line per load: median cost by lane, median ratio, the rounds' ratios and their width."""
    head = ["router CPU per", *rows[0].cost, "unit", "ratio", "rounds' ratios", "target", ""]
    lines = [head, *(cells(one) for one in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def cells(one: Row) -> list[str]:
    """A row as text, in the order of the table's head."""
    costs = [f"{cost.median:.1f}" for cost in one.cost.values()]
    if one.ratio is None:
        return [one.title, *costs, one.unit, "", "", "", ""]
    span = f"{one.ratio.least:.3f} to {one.ratio.greatest:.3f} ({one.ratio.width:.1%})"
    target = f"<= {one.target:.2f}" if one.target is not None else ""
    verdict = {True: "pass", False: "MISSED", None: ""}[one.passed]
    return [one.title, *costs, one.unit, f"{one.ratio.median:.3f}", span, target, verdict]


def document(
    rows: Sequence[Row],
    figures: Mapping[str, Figures],
    settings: Mapping[str, Any],
    about: Mapping[str, str],
) -> dict[str, Any]:
    """Everything of a run as JSON types: machine, settings, summaries, and each round's figures."""
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": dict(about),
        "settings": dict(settings),
        "results": {
            one.key: {
                "unit": one.unit,
                "cost": {name: asdict(cost) for name, cost in one.cost.items()},
                "ratio": asdict(one.ratio) if one.ratio else None,
                "target": one.target,
                "passed": one.passed,
                "rounds": asdict(figures[one.key]),
            }
            for one in rows
        },
    }


def machine() -> dict[str, str]:
    """What a reader must know to compare two runs."""
    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "uwsgi": programs.find_uwsgi().version(),
        "nginx": programs.first_line([programs.find("nginx"), "-v"]).rpartition("/")[2],
        "wrk": programs.first_line([programs.find("wrk"), "-v"]).removeprefix("wrk ").split()[0],
    }


def processor() -> str:
    """The processor's name as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()

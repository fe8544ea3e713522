"""From figures to a verdict: the table for people, the JSON for machines.

Pure but for reading what the machine is; prints nothing, ends nothing.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.bench import programs
from scripts.bench.arithmetic import Spread, ratios, spread
from scripts.bench.experiment import Experiment, Figure, Results
from scripts.bench.peers import FASTROUTER, FLOORS, OURS

Lanes = Sequence[tuple[str, str]]
"""(name, kind) of each."""


@dataclass(frozen=True)
class Row:
    """The outcome of one figure."""

    figure: Figure
    cost: dict[str, Spread]
    """By lane; those without a value are left out."""
    ratio: Spread | None
    """The second lane over the first; None if there is only one."""
    floors: dict[str, float] = field(default_factory=dict)
    """By relay: the median of its ratio to the first lane."""
    judged: float | None = None
    """What target and guard are about; None where nothing is judged."""

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return self._at_most(self.figure.most)

    @property
    def guarded(self) -> bool | None:
        """Whether it is within the guard's bound; None where there is none."""
        return self._at_most(self.figure.guard)

    def _at_most(self, bound: float | None) -> bool | None:
        return None if bound is None or self.judged is None else self.judged <= bound


def row(figure: Figure, results: Results, lanes: Lanes) -> Row | None:
    """None if nobody has a value. A verdict needs our router, and for a ratio the C FastRouter before it."""
    cost = {name: spread(found) for name, _ in lanes if (found := results.of(figure.key, name))}
    if not cost:
        return None
    compared = [lane for lane in lanes if lane[1] not in FLOORS]
    ratio = ratio_of(figure, results, [name for name, _ in compared[:2]])
    floors = {
        name: relative.median
        for name, kind in lanes
        if kind in FLOORS and (relative := ratio_of(figure, results, [compared[0][0], name]))
    }
    return Row(figure, cost, ratio, floors, judged(figure, cost, ratio, compared))


def ratio_of(figure: Figure, results: Results, names: Sequence[str]) -> Spread | None:
    """The second over the first, round by round; None unless both have values, and other ones than 0."""
    found = [results.of(figure.key, name) for name in names]
    if len(found) < 2 or not all(found) or not all(found[0]):
        return None
    return spread(ratios(found[1], found[0]))


def judged(figure: Figure, cost: Mapping[str, Spread], ratio: Spread | None, compared: Lanes) -> float | None:
    """What the target is about."""
    kinds = [kind for _, kind in compared]
    if figure.absolute:
        return next((cost[name].median for name, kind in compared if kind == OURS and name in cost), None)
    return ratio.median if ratio and kinds == [FASTROUTER, OURS] else None


def rows(experiments: Sequence[Experiment], results: Mapping[str, Results], lanes: Lanes) -> list[Row]:
    """Of everything that was measured, in the order of the experiments."""
    found = (row(figure, results[one.key], lanes) for one in experiments for figure in one.figures)
    return [one for one in found if one is not None]


def shown(all_rows: Sequence[Row]) -> list[Row]:
    """Without those that are only points of a plot."""
    return [one for one in all_rows if one.figure.most is not None or not one.figure.series]


def table(all_rows: Sequence[Row], lanes: Lanes, guard: bool = False) -> str:
    """Lines of text, a line per figure; with ``guard`` the bound is that of the guard."""
    names = [name for name, kind in lanes if kind not in FLOORS]
    head = ["figure", *names, "unit", "ratio", "rounds' ratios", "bound" if guard else "target", "", "floors' ratios"]
    lines = [head, *(cells(one, names, guard) for one in all_rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def cells(one: Row, names: Sequence[str], guard: bool = False) -> list[str]:
    """A row as text, in the order of the table's head."""
    costs = [number(one.cost[name].median) if name in one.cost else "" for name in names]
    bound, kept = (one.figure.guard, one.guarded) if guard else (one.figure.most, one.passed)
    ratio = f"{one.ratio.median:.3f}" if one.ratio else ""
    span = f"{one.ratio.least:.3f} to {one.ratio.greatest:.3f} ({one.ratio.width:.1%})" if one.ratio else ""
    verdict = {True: "pass", False: "MISSED", None: ""}[kept]
    floors = ", ".join(f"{name} {value:.2f}" for name, value in one.floors.items())
    return [one.figure.title, *costs, one.figure.unit, ratio, span, limit(one.figure, bound), verdict, floors]


def limit(figure: Figure, bound: float | None) -> str:
    """A bound, for people."""
    if bound is None:
        return ""
    return f"<= {number(bound)} {figure.unit}" if figure.absolute else f"<= {bound:.2f}"


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def document(
    all_rows: Sequence[Row], results: Mapping[str, Results], settings: Mapping[str, Any], about: Mapping[str, str]
) -> dict[str, Any]:
    """Everything of a run as JSON types: machine, settings, summaries, and each round's figures."""
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": dict(about),
        "settings": dict(settings),
        "results": {one.figure.key: result(one) for one in all_rows},
        "rounds": {key: [asdict(sample) for sample in one.samples] for key, one in results.items()},
    }


def result(one: Row) -> dict[str, Any]:
    """A row as JSON types."""
    return {
        "title": one.figure.title,
        "unit": one.figure.unit,
        "series": one.figure.series,
        "at": one.figure.at,
        "cost": {name: asdict(cost) for name, cost in one.cost.items()},
        "ratio": asdict(one.ratio) if one.ratio else None,
        "floors": one.floors,
        "target": one.figure.most,
        "guard": one.figure.guard,
        "absolute": one.figure.absolute,
        "passed": one.passed,
        "guarded": one.guarded,
    }


def machine() -> dict[str, str]:
    """What a reader must know to compare two runs."""
    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "router": described(),
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


def described() -> str:
    """Version and form of this checkout's router."""
    return programs.first_line([sys.executable, "-m", "uwsgirouter", "--version"])

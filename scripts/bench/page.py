"""Draws the results into docs/benchmarks.md, between two marks, and the plots beside it. Pure but for ``draw``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.bench.figures import ALL
from scripts.bench.peers import FASTROUTER, FLOORS, HAPROXY, OURS, STREAM
from scripts.bench.plot import Axis, Line, Scale, plot
from scripts.bench.processes import BenchError
from scripts.bench.report import Lanes, Row, limit, number, shown

PAGE = Path("docs/benchmarks.md")
CPU_PLOT, MEMORY_PLOT = "benchmarks-cpu.svg", "benchmarks-memory.svg"

BEGIN, END = "<!-- results: drawn by make bench -->", "<!-- end of the results -->"

NAMES = {FASTROUTER: "C FastRouter", OURS: "uwsgirouter", HAPROXY: "HAProxy (TCP)", STREAM: "nginx stream"}


def replaced(page: str, drawn: str) -> str:
    """The page with ``drawn`` between its marks. BenchError if it has not both, once, in order."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise BenchError(f"{PAGE} must have {BEGIN} and after it {END}, once each")
    return f"{before}{BEGIN}\n{drawn.strip()}\n{END}{after}"


def section(rows: Sequence[Row], lanes: Lanes, about: Mapping[str, str], restless: Sequence[str], rounds: int) -> str:
    """What stands between the marks."""
    said = "; ".join(f"{name} {value}" for name, value in about.items())
    parts = [f"Median of up to {rounds} rounds. {said}.", "", *markdown(shown(rows), lanes)]
    if restless:
        parts += ["", f"The machine was not quiet during {', '.join(restless)}."]
    has = {one.figure.series for one in rows}
    if "responses" in has:
        parts += ["", f"![CPU per request over the size of the response]({CPU_PLOT})"]
    if "memory" in has:
        parts += ["", f"![Memory over waiting sessions]({MEMORY_PLOT})"]
    return "\n".join(parts)


def markdown(rows: Sequence[Row], lanes: Lanes) -> list[str]:
    """A table; relays are one column of ratios."""
    routers = [(name, NAMES.get(kind, name)) for name, kind in lanes if kind not in FLOORS]
    head = ["figure", *(title for _, title in routers), "ratio (rounds)", "target", "floors"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in rows:
        costs = [
            f"{number(one.cost[name].median)} {one.figure.unit}" if name in one.cost else "" for name, _ in routers
        ]
        ratio = f"{one.ratio.median:.3f} ({one.ratio.least:.3f} to {one.ratio.greatest:.3f})" if one.ratio else ""
        target = limit(one.figure, one.figure.most)
        if one.passed is not None:
            target += ", met" if one.passed else ", **missed**"
        floors = ", ".join(f"{NAMES[name]} {value:.2f}" for name, value in one.floors.items())
        lines.append(f"| {' | '.join([one.figure.title, *costs, ratio, target, floors])} |")
    return lines


def bounds() -> str:
    """The table of what ``make bench-quick`` holds a change to; the page has it."""
    lines = ["| figure | target | a change may not exceed |", "|---|---|---|"]
    for figure in (figure for one in ALL for figure in one.figures if figure.guard is not None):
        lines.append(f"| {figure.title} | {limit(figure, figure.most)} | {limit(figure, figure.guard)} |")
    return "\n".join(lines)


def lines_of(rows: Sequence[Row], lanes: Lanes, series: str, suffix: str = "") -> list[Line]:
    """A line of the plot for each lane that has points."""
    found = []
    for name, kind in lanes:
        points = [
            (one.figure.at, one.cost[name].median) for one in rows if one.figure.series == series and name in one.cost
        ]
        if points:
            found.append(Line(NAMES.get(kind, name) + suffix, points))
    return found


def plots(rows: Sequence[Row], lanes: Lanes) -> dict[str, str]:
    """The SVG documents by file name; only those that have points."""
    found = {}
    routers = [lane for lane in lanes if lane[1] not in FLOORS]
    cpu = [*lines_of(rows, lanes, "responses", ", response"), *lines_of(rows, routers, "requests", ", request body")]
    if cpu:
        x = Axis("size (bytes)", Scale.LOG, "bytes")
        found[CPU_PLOT] = plot("CPU per request over size", x, Axis("us of CPU of the router", Scale.LOG), cpu)
    memory = lines_of(rows, lanes, "memory")
    if memory:
        axis = Axis("sessions waiting on a silent node")
        found[MEMORY_PLOT] = plot("Memory over waiting sessions", axis, Axis("MB, PSS of all processes"), memory)
    return found


def draw(
    directory: Path, rows: Sequence[Row], lanes: Lanes, about: Mapping[str, str], restless: Sequence[str], rounds: int
) -> list[Path]:
    """Write the page and the plots of the checkout at ``directory``; the files."""
    page = directory / PAGE
    text = replaced(page.read_text(), section(rows, lanes, about, restless, rounds))
    written = []
    for name, drawn in plots(rows, lanes).items():
        (page.parent / name).write_text(drawn)
        written.append(page.parent / name)
    page.write_text(text)
    return [page, *written]

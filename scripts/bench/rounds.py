"""Rounds: everything started afresh, then each router under the same load in short turns, order turned round.

Two things move the figures. The machine's mood changes within seconds: turns of a second meet it alike. And two
processes of the very same program can differ by some percent for as long as they live: only new processes show that,
so a round is one draw and the median over rounds is the figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.bench.measures import download, small_requests, upload
from scripts.bench.processes import BenchError, machine_busy
from scripts.bench.site import Lane, Layout, Site

Load = Callable[[str], float]
"""Loads the given address of nginx for one turn; the units of work done."""

GIGABYTE = 1e9


@dataclass(frozen=True)
class Work:
    """One kind of load."""

    key: str
    """Its name in the results."""
    title: str
    unit: str
    scale: float
    """From seconds per unit of work to ``unit``."""
    turn: Load
    turns: int
    """Of each router in a round."""
    warm_up: Load


def small_work(seconds: int) -> Work:
    """CPU per small request, in turns of a second."""

    def turn(front: str) -> float:
        return small_requests(front, 1).requests

    return Work("small", "small request", "us/request", 1e6, turn, seconds, turn)


def body_work(key: str, size: int, transfers: int) -> Work:
    """CPU per 10^9 bytes of ``download`` or ``upload``, in bodies of ``size`` bytes."""
    transfer = {"download": download, "upload": upload}[key]
    title = {"download": "response body", "upload": "request body"}[key]

    def turn(front: str) -> float:
        transfer(front, size)
        return size / GIGABYTE

    def warm_up(front: str) -> float:
        transfer(front, size // 8)
        return size / 8 / GIGABYTE

    return Work(key, title, "ms/GB", 1e3, turn, transfers, warm_up)


@dataclass
class Figures:
    """Of one load, round by round."""

    cost: dict[str, list[float]] = field(default_factory=dict)
    """By lane: CPU per unit of work."""
    done: dict[str, list[float]] = field(default_factory=dict)
    """By lane: units of work."""
    neighbours: list[float] = field(default_factory=list)
    """Cores that processes with no part in this kept busy meanwhile, with what the host of a virtual one took."""


def run(layout: Layout, works: Sequence[Work], rounds: int, say: Callable[[str], None]) -> dict[str, Figures]:
    """All rounds of all loads; the figures by load. BenchError, with the logs, if a request failed."""
    figures = {work.key: Figures() for work in works}
    for number in range(1, rounds + 1):
        with Site(layout) as site:
            for work in works:
                measure(work, site, figures[work.key])
                costs = ", ".join(f"{name} {cost[-1]:.1f}" for name, cost in figures[work.key].cost.items())
                others = figures[work.key].neighbours[-1]
                say(f"round {number} of {rounds}, {work.title}: {costs} {work.unit} (neighbours {others:.2f} cores)")
    return figures


def measure(work: Work, site: Site, figures: Figures) -> None:
    """One load's turns of one round, added to ``figures``."""
    for lane in site.lanes:
        take(site, lane, work.warm_up)
    began, machine, own = time.monotonic(), machine_busy(), site.cpu()
    seconds = {lane.name: 0.0 for lane in site.lanes}
    units = dict(seconds)
    for lane in order(site.lanes, work.turns):
        used, done = take(site, lane, work.turn)
        seconds[lane.name] += used
        units[lane.name] += done
    others = (machine_busy() - machine) - (site.cpu() - own)
    figures.neighbours.append(max(0.0, others) / (time.monotonic() - began))
    for name in seconds:
        figures.cost.setdefault(name, []).append(seconds[name] / units[name] * work.scale)
        figures.done.setdefault(name, []).append(units[name])


def order(lanes: Sequence[Lane], turns: int) -> Iterator[Lane]:
    """A B B A A B B A: neither is always first, and a steady drift meets both alike."""
    for turn in range(turns):
        yield from lanes if turn % 2 == 0 else reversed(lanes)


def take(site: Site, lane: Lane, load: Load) -> tuple[float, float]:
    """One turn of one lane; seconds of CPU of its router's process tree, units of work done."""
    before = lane.router.cpu()
    try:
        units = load(lane.front)
    except (BenchError, OSError) as error:
        raise BenchError(f"{lane.name}: {error}\n{site.logs(lane)}") from error
    return lane.router.cpu().since(before), units


def disturbed(figures: Mapping[str, Figures], most: float) -> list[str]:
    """The loads that had a round in which neighbours kept more than ``most`` cores busy."""
    return [key for key, one in figures.items() if max(one.neighbours) > most]

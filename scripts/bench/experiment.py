"""Experiments: each makes its figures in rounds, everything started afresh, the lanes loaded in turns.

Two things move the figures. The machine's mood changes within seconds: turns of a second meet it alike. And two
processes of the very same program can differ by some percent for as long as they live: only new processes show that,
so a round is one draw and the median over rounds is the figure.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.bench.fleet import Fleet, Lane, Layout
from scripts.bench.processes import BenchError, machine_busy


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    key: str
    title: str
    unit: str
    most: float | None = None
    """The target: the most that our figure over the C FastRouter's may be; with ``absolute``, our figure itself."""
    guard: float | None = None
    """The same for ``--guard``: what a change may not worsen it to. Stated in docs/benchmarks.md."""
    absolute: bool = False
    series: str = ""
    """The plot that it is a point of; empty: none."""
    at: float = 0.0
    """Where in the plot."""


@dataclass
class Sample:
    """What one round of an experiment found."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    """By figure, then by lane."""
    done: dict[str, float] = field(default_factory=dict)
    """By lane: units of work."""
    neighbours: float = 0.0
    """Cores that processes with no part in this kept busy meanwhile, with what the host of a virtual one took."""

    def add(self, figure: Figure, lane: str, value: float) -> None:
        """A value."""
        self.values.setdefault(figure.key, {})[lane] = value


@dataclass(frozen=True)
class Length:
    """How much of everything, in a round and for each lane."""

    rounds: int
    seconds: int
    """Turns of a second of requests."""
    transfers: int
    """Large bodies each way."""
    body: int
    """Bytes of one."""
    quick: bool = False


@dataclass(frozen=True)
class Experiment:
    """``round`` makes one Sample with a value for each figure and lane."""

    key: str
    figures: tuple[Figure, ...]
    round: Callable[[Layout, Length], Sample]
    rounds_most: int = 100
    """For those that take long and vary little."""


@dataclass(frozen=True)
class Done:
    """One turn: units of work, and what whoever makes the load says of it, by figure."""

    units: float
    seen: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Results:
    """All rounds of an experiment, in order."""

    samples: list[Sample] = field(default_factory=list)

    def of(self, figure: str, lane: str) -> list[float]:
        """A lane's values of a figure, round by round; empty if it has none."""
        return [sample.values[figure][lane] for sample in self.samples if lane in sample.values.get(figure, {})]

    @property
    def neighbours(self) -> list[float]:
        """Round by round."""
        return [sample.neighbours for sample in self.samples]


Load = Callable[[Lane], Done]


def run(
    layout: Layout,
    experiments: Sequence[Experiment],
    length: Length,
    say: Callable[[str], None],
    until: float,
) -> dict[str, Results]:
    """All rounds of all experiments. A round that is not begun at ``until`` (time.monotonic()) is left out.

    The first round of everything is always made. BenchError, with the logs, if a request failed.
    """
    results = {one.key: Results() for one in experiments}
    for number in range(1, length.rounds + 1):
        for one in experiments:
            if number > one.rounds_most:
                continue
            if number > 1 and time.monotonic() > until:
                say(f"time is up: {number - 1} rounds were made of {one.key} and what follows it")
                return results
            began = time.monotonic()
            sample = one.round(layout, length)
            results[one.key].samples.append(sample)
            say(line(number, one, sample, time.monotonic() - began))
    return results


def line(number: int, one: Experiment, sample: Sample, seconds: float) -> str:
    """A round, for people who watch."""
    shown = next((figure for figure in one.figures if figure.key in sample.values), None)
    if shown is None:
        return f"round {number}, {one.key}: nothing, what it needs is not here"
    costs = ", ".join(f"{lane} {value:.4g}" for lane, value in sample.values[shown.key].items())
    return (
        f"round {number}, {one.key}: {shown.title}: {costs} {shown.unit} "
        f"(neighbours {sample.neighbours:.2f} cores, {seconds:.0f} s)"
    )


class Neighbours:
    """``with Neighbours(fleet, sample)`` around what is measured: counts what others did on the machine."""

    def __init__(self, fleet: Fleet, sample: Sample) -> None:
        self._fleet = fleet
        self._sample = sample
        self._began = self._machine = self._own = 0.0

    def __enter__(self) -> None:
        self._began, self._machine, self._own = time.monotonic(), machine_busy(), self._fleet.cpu()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            others = (machine_busy() - self._machine) - (self._fleet.cpu() - self._own)
            seen = max(0.0, others) / (time.monotonic() - self._began)
            self._sample.neighbours = max(seen, self._sample.neighbours)


def take_turns(
    fleet: Fleet, figure: Figure, scale: float, load: Load, turns: int, sample: Sample, warm_up: Load | None = None
) -> None:
    """CPU per unit of work of each lane, times ``scale``, as ``figure`` into ``sample``; of what is seen, the medians.

    ``turns`` of each lane, after a warm-up that is as one turn unless it is given.
    """
    for lane in fleet.lanes:
        take(fleet, lane, warm_up or load)
    seconds = {lane.name: 0.0 for lane in fleet.lanes}
    units = dict(seconds)
    seen: dict[str, dict[str, list[float]]] = {}
    with Neighbours(fleet, sample):
        for lane in order(fleet.lanes, turns):
            used, done = take(fleet, lane, load)
            seconds[lane.name] += used
            units[lane.name] += done.units
            for key, value in done.seen.items():
                seen.setdefault(key, {}).setdefault(lane.name, []).append(value)
    for name in seconds:
        sample.add(figure, name, seconds[name] / units[name] * scale)
        sample.done[name] = units[name]
    for key, lanes in seen.items():
        sample.values[key] = {name: statistics.median(values) for name, values in lanes.items()}


def order(lanes: Sequence[Lane], turns: int) -> Iterator[Lane]:
    """A B B A A B B A: neither is always first, and a steady drift meets both alike."""
    for turn in range(turns):
        yield from lanes if turn % 2 == 0 else reversed(lanes)


def take(fleet: Fleet, lane: Lane, load: Load) -> tuple[float, Done]:
    """One turn of one lane; seconds of CPU of its router's process tree, and what was done."""
    before = lane.router.cpu()
    try:
        done = load(lane)
    except (BenchError, OSError) as error:
        raise BenchError(f"{lane.name}: {error}\n{fleet.logs(lane)}") from error
    return lane.router.cpu().since(before), done


def disturbed(results: Mapping[str, Results], most: float) -> list[str]:
    """The experiments that had a round in which neighbours kept more than ``most`` cores busy."""
    return [key for key, one in results.items() if max(one.neighbours, default=0.0) > most]

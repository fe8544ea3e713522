"""CPU per request over the size of the response, and of the request's body: the plot, and its 64 KB points."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from scripts.bench import wrk
from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, take_turns
from scripts.bench.fleet import Lane, Layout
from scripts.bench.site import Site

KILOBYTE = 1024
SIZES = tuple(size * KILOBYTE for size in (1, 4, 16, 64, 256, 1024))
SHOWN = 64 * KILOBYTE
"""The size that has a target."""
MICROSECONDS = 1e6
ROUNDS = 3
SMALL = 256 * KILOBYTE
"""From this size on fewer connections do: each carries a lot."""


def figure(series: str, title: str, size: int) -> Figure:
    """A point."""
    most = 0.6 if size == SHOWN else None
    guard = 0.48 if size == SHOWN and series == "responses" else None
    name = f"{size // KILOBYTE} KB {title}"
    return Figure(f"{series}-{size // KILOBYTE}k", f"CPU per request, {name}", "us", most, guard, False, series, size)


RESPONSES = {size: figure("responses", "response", size) for size in SIZES}
BODIES = {size: figure("requests", "request body", size) for size in SIZES}


def measure(figures: dict[int, Figure], layout: Layout, length: Length) -> Sample:
    """A round: all sizes, or the one with a target when it has to be quick."""
    sample = Sample()
    with Site(layout) as site:
        for size, one in figures.items():
            if length.quick and size != SHOWN:
                continue
            path, script = f"/bytes/{size}", None
            if figures is BODIES:
                path, script = "/", site.prefix / f"post-{size}.lua"
                script.write_text(wrk.posts(size))

            def turn(lane: Lane, path: str = path, size: int = size, script: Path | None = script) -> Done:
                connections = 8 if size >= SMALL else wrk.CONNECTIONS
                return Done(wrk.requests(lane.front, 1, path, script, connections).requests)

            turns = length.seconds if size == SHOWN else max(1, length.seconds // 4)
            take_turns(site, one, MICROSECONDS, turn, turns, sample)
    return sample


EXPERIMENTS = (
    Experiment("responses", tuple(RESPONSES.values()), partial(measure, RESPONSES), ROUNDS),
    Experiment("request-bodies", tuple(BODIES.values()), partial(measure, BODIES), ROUNDS),
)

"""What observing adds to a small request: this router beside itself, with metrics, and with an access log too.

All processes of the router count, the one that writes the log as well. Each figure is the part that is added to the CPU
of a small request.
"""

from __future__ import annotations

from dataclasses import replace

from scripts.bench import peers, wrk
from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, take_turns
from scripts.bench.fleet import Lane, Layout
from scripts.bench.processes import free_address
from scripts.bench.site import Shape, Site

MICROSECONDS = 1e6

FIGURE = Figure("observed", "access log and metrics add to a small request", "%", most=12.0, absolute=True)
METRICS = Figure("metrics", "metrics alone add", "%", absolute=True)
_COST = Figure("cost", "", "us")
PLAIN, MEASURED, LOGGED = "unobserved", "with metrics", "with metrics and an access log"


def measure(layout: Layout, length: Length) -> Sample:
    """A round."""
    log = "--req-logger=file:/dev/null"
    shape = Shape(
        more=((MEASURED, (f"--metrics={free_address()}",)), (LOGGED, (f"--metrics={free_address()}", log))),
    )
    lanes = [(name, peers.OURS) for name in (PLAIN, MEASURED, LOGGED)]
    sample, costs = Sample(), Sample()
    with Site(replace(layout, lanes=lanes), shape) as site:

        def turn(lane: Lane) -> Done:
            return Done(wrk.requests(lane.front, 1).requests)

        take_turns(site, _COST, MICROSECONDS, turn, length.seconds, costs)
    sample.neighbours = costs.neighbours
    each = costs.values[_COST.key]
    ours = next((name for name, kind in layout.lanes if kind == peers.OURS), layout.lanes[0][0])
    for figure, name in ((FIGURE, LOGGED), (METRICS, MEASURED)):
        sample.add(figure, ours, 100 * (each[name] / each[PLAIN] - 1))
    return sample


EXPERIMENT = Experiment("observed", (FIGURE, METRICS), measure)

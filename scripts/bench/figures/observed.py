"""What observing adds to a small request: this router beside itself, one that shows metrics.

The access log belongs here too, as soon as there is one: together they may add so much.
"""

from __future__ import annotations

from dataclasses import replace

from scripts.bench import peers, wrk
from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, take_turns
from scripts.bench.fleet import Lane, Layout
from scripts.bench.processes import free_address
from scripts.bench.site import Shape, Site

MICROSECONDS = 1e6

FIGURE = Figure("observed", "metrics add to a small request", "%", most=12.0, absolute=True)
_COST = Figure("cost", "", "us")
PLAIN, OBSERVED = "unobserved", "observed"


def measure(layout: Layout, length: Length) -> Sample:
    """A round."""
    shape = Shape(more=((OBSERVED, (f"--metrics={free_address()}",)),))
    lanes = [(name, peers.OURS) for name in (PLAIN, OBSERVED)]
    sample, costs = Sample(), Sample()
    with Site(replace(layout, lanes=lanes), shape) as site:

        def turn(lane: Lane) -> Done:
            return Done(wrk.requests(lane.front, 1).requests)

        take_turns(site, _COST, MICROSECONDS, turn, length.seconds, costs)
    sample.neighbours = costs.neighbours
    each = costs.values[_COST.key]
    ours = next((name for name, kind in layout.lanes if kind == peers.OURS), layout.lanes[0][0])
    sample.add(FIGURE, ours, 100 * (each[OBSERVED] / each[PLAIN] - 1))
    return sample


EXPERIMENT = Experiment("observed", (FIGURE,), measure)

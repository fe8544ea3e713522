"""Descriptor passing: responses of 1 MB over unix sockets, from a node that answers the web server itself.

The C FastRouter relays the responses of the same node. The figure counts only if the node did adopt the clients.
"""

from __future__ import annotations

import re
import signal

from scripts.bench import wrk
from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, take_turns
from scripts.bench.fleet import Lane, Layout
from scripts.bench.peers import OURS
from scripts.bench.processes import BenchError
from scripts.bench.site import Shape, Site

SIZE = 1 << 20
CONNECTIONS = 8
MICROSECONDS = 1e6

FIGURE = Figure("passing", "CPU per 1 MB response, descriptor passed, unix sockets", "us", most=0.3)


def measure(layout: Layout, length: Length) -> Sample:
    """A round."""
    sample = Sample()
    with Site(layout, Shape(unix=True, adopting=True)) as site:

        def turn(lane: Lane) -> Done:
            return Done(wrk.requests(lane.front, 1, f"/bytes/{SIZE}", connections=CONNECTIONS).requests)

        take_turns(site, FIGURE, MICROSECONDS, turn, length.seconds, sample)
        for lane in site.lanes:
            if lane.kind == OURS and adopted(lane) < sample.done[lane.name]:
                raise BenchError(f"only {adopted(lane)} of {sample.done[lane.name]:.0f} responses were adopted")
    return sample


def adopted(lane: Lane) -> int:
    """How many clients nodes adopted so far, as the router counts them."""

    def lines() -> list[str]:
        return re.findall(r"\] stats: .*?(\d+) adopted", lane.router.log.read_text(errors="replace"))

    before = len(lines())
    lane.router.tree()[0].send_signal(signal.SIGUSR1)
    lane.router.wait_until(lambda: len(lines()) > before, "stats line")
    return int(lines()[-1])


EXPERIMENT = Experiment("passing", (FIGURE,), measure, rounds_most=3)

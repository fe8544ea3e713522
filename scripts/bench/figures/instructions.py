"""Instructions in user space per small request, where valgrind is installed: what a noisy machine cannot hide.

No target: what counts is CPU. But it is the same at each run, so a bound on it notices what the clocks do not.
"""

from __future__ import annotations

from scripts.bench import programs
from scripts.bench.experiment import Experiment, Figure, Length, Neighbours, Sample
from scripts.bench.fleet import Fleet, Layout
from scripts.bench.instructions import REQUESTS, count

FIGURE = Figure("instructions", "instructions in user space per small request", "", guard=2.5)


def measure(layout: Layout, length: Length) -> Sample:
    """One round; nothing without valgrind."""
    sample = Sample()
    if programs.look_for("valgrind") is None:
        return sample
    with Fleet(layout.without_floors()) as fleet, Neighbours(fleet, sample):
        for name, kind in fleet.layout.lanes:
            sample.add(FIGURE, name, count(kind, REQUESTS, fleet.directory(name)))
    return sample


EXPERIMENT = Experiment("instructions", (FIGURE,), measure, rounds_most=1)

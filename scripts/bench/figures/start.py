"""From the start of the program to its first answer, with one static node that is there."""

from __future__ import annotations

import statistics
import time

from scripts.bench import peers, programs
from scripts.bench.clients import answered
from scripts.bench.experiment import Experiment, Figure, Length, Neighbours, Sample, order
from scripts.bench.fleet import Fleet, Lane, Layout
from scripts.bench.peers import Wiring
from scripts.bench.processes import BenchError, Daemon
from scripts.scale.town import Node

STEP = 0.002
"""Seconds between two attempts to connect."""
DEADLINE = 10.0
STARTS = 3
"""Of each lane in a round."""

FIGURE = Figure("start", "start to first answer", "ms", most=1000.0, absolute=True)


def measure(layout: Layout, length: Length) -> Sample:
    """A round: each lane in turns; one runs at a time."""
    sample = Sample()
    node = Node()
    try:
        with Fleet(layout.without_floors()) as fleet, Neighbours(fleet, sample):
            lanes = [
                Lane(name, "", Daemon(name, [], fleet.prefix, fleet.prefix), kind) for name, kind in fleet.layout.lanes
            ]
            times: dict[str, list[float]] = {}
            for number, lane in enumerate(order(lanes, STARTS)):
                times.setdefault(lane.name, []).append(once(fleet, lane, f"{lane.name} {number}", node.address))
            for name, found in times.items():
                sample.add(FIGURE, name, statistics.median(found) * 1e3)
    finally:
        node.close()
    return sample


def once(fleet: Fleet, lane: Lane, name: str, node: str) -> float:
    """Seconds."""
    listen = fleet.address(name)
    directory = fleet.directory(name)
    argv = peers.command(lane.kind, Wiring(listen, node), directory)
    router = Daemon(name, argv, directory / "log", programs.PROJECT)
    began = time.monotonic()
    router.start()
    try:
        while not answered(listen):
            if time.monotonic() - began > DEADLINE:
                raise BenchError(f"{name}: no answer within {DEADLINE:.0f} s:\n{router.log_end()}")
            time.sleep(STEP)
        return time.monotonic() - began
    finally:
        router.stop()


EXPERIMENT = Experiment("start", (FIGURE,), measure, rounds_most=3)

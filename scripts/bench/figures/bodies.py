"""CPU per 10^9 bytes of one large body at a time, nginx unbuffered: the relay at its fastest."""

from __future__ import annotations

from collections.abc import Callable

from scripts.bench import clients
from scripts.bench.experiment import Done, Experiment, Figure, Length, Load, Sample, take_turns
from scripts.bench.fleet import Lane, Layout
from scripts.bench.site import Site

GIGABYTE = 1e9
MILLISECONDS = 1e3

DOWNLOAD = Figure("download", "CPU per GB of response body", "ms", most=0.20, guard=0.14)
UPLOAD = Figure("upload", "CPU per GB of request body", "ms", most=0.20, guard=0.20)


def transfer(way: Callable[[str, int], None], size: int) -> Load:
    """A turn: one body."""

    def turn(lane: Lane) -> Done:
        way(lane.front, size)
        return Done(size / GIGABYTE)

    return turn


def measure(layout: Layout, length: Length) -> Sample:
    """A round."""
    sample = Sample()
    with Site(layout) as site:
        for figure, way in ((DOWNLOAD, clients.download), (UPLOAD, clients.upload)):
            turn, warm_up = transfer(way, length.body), transfer(way, length.body // 8)
            take_turns(site, figure, MILLISECONDS, turn, length.transfers, sample, warm_up)
    return sample


EXPERIMENT = Experiment("bodies", (DOWNLOAD, UPLOAD), measure)

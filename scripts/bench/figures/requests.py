"""CPU per small request: nginx with kept connections before the routers, wrk with 32 connections before nginx.

Four ways: a static node over TCP, announced nodes, unix sockets, two router processes. The first also says how long
the slowest hundredth of the requests took.
"""

from __future__ import annotations

from functools import partial

from scripts.bench import wrk
from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, take_turns
from scripts.bench.fleet import Lane, Layout
from scripts.bench.site import Shape, Site

KEYS = 1000
NODES = 2
"""Under each key."""

MICROSECONDS = 1e6

SLOWEST = Figure("p99", "p99 latency, 32 connections", "ms", most=1.0)
STATIC = Figure("static", "CPU per small request, static node", "us", most=0.90, guard=1.00)


def made(key: str, title: str) -> Figure:
    """One of the ways."""
    return Figure(key, f"the same, {title}", "us", most=0.90)


def measure(figure: Figure, shape: Shape, layout: Layout, length: Length) -> Sample:
    """A round."""
    sample = Sample()
    with Site(layout.without_floors() if shape.hosts else layout, shape) as site:
        script = None
        if shape.hosts:
            script = site.prefix / "hosts.lua"
            script.write_text(wrk.many_hosts(shape.hosts))

        def turn(lane: Lane) -> Done:
            result = wrk.requests(lane.front, 1, script=script)
            seen = {SLOWEST.key: result.slowest * 1e3} if figure is STATIC and result.slowest else {}
            return Done(result.requests, seen)

        take_turns(site, figure, MICROSECONDS, turn, length.seconds, sample)
    return sample


def experiment(figure: Figure, shape: Shape, *more: Figure) -> Experiment:
    """One way."""
    return Experiment(figure.key, (figure, *more), partial(measure, figure, shape))


HOSTS = tuple(f"app{number:05}.example.com" for number in range(KEYS))

EXPERIMENTS = (
    experiment(STATIC, Shape(), SLOWEST),
    experiment(made("subscribed", f"{KEYS} keys x {NODES} announced nodes"), Shape(hosts=HOSTS, nodes=NODES)),
    experiment(made("unix", "unix sockets on both sides"), Shape(unix=True)),
    experiment(made("processes", "2 router processes"), Shape(processes=2)),
)

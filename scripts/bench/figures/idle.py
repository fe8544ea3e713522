"""What a router uses when nobody asks anything: no traffic, 10,000 nodes announcing themselves every 10 s."""

from __future__ import annotations

import sys
import time

from scripts.bench.experiment import Experiment, Figure, Length, Neighbours, Sample
from scripts.bench.fleet import Fleet, Lane, Layout
from scripts.bench.peers import Wiring
from scripts.bench.processes import BenchError, Daemon, free_udp_address
from scripts.bench.site import EVERY, LIFETIME, lost_datagrams

NODES, KEYS = 10_000, 5000
SECONDS = 10.0
"""Of measuring, after all nodes were heard of once."""

FIGURE = Figure("idle", f"idle, {NODES} nodes announcing every {EVERY:.0f} s", "% of a core", most=3.0, absolute=True)


def measure(layout: Layout, length: Length) -> Sample:
    """A round: all lanes at the same time, each with nodes of its own."""
    sample = Sample()
    with Fleet(layout.without_floors()) as fleet:
        servers = {name: start(fleet, name, kind) for name, kind in fleet.layout.lanes}
        time.sleep(EVERY + 1)
        with Neighbours(fleet, sample):
            before = {lane.name: lane.router.cpu() for lane in fleet.lanes}
            began = time.monotonic()
            time.sleep(SECONDS)
            passed = time.monotonic() - began
            for lane in fleet.lanes:
                used = lane.router.cpu().since(before[lane.name])
                sample.add(FIGURE, lane.name, 100 * used / passed)
        for name, server in servers.items():
            if lost := lost_datagrams(server):
                raise BenchError(f"{name}: the kernel dropped {lost} announcements")
    return sample


def start(fleet: Fleet, name: str, kind: str) -> str:
    """A router and whoever announces to it; the subscription server."""
    listen, server = fleet.address(name), free_udp_address()
    router = fleet.router(name, kind, Wiring(listen, subscriptions=server))
    fleet.lanes.append(Lane(name, listen, router, kind))
    argv = [sys.executable, "-m", "scripts.scale.sending", server, "--nodes", str(NODES), "--keys", str(KEYS)]
    argv += ["--rate", str(NODES / EVERY), "--seconds", str(LIFETIME)]
    sender: Daemon = fleet.run(f"announcer of {name}", argv, lambda: True, fleet.other_cores)
    assert sender.tree()
    return server


EXPERIMENT = Experiment("idle", (FIGURE,), measure, rounds_most=1)

"""CPU per announcement: 2,000 known nodes announce themselves again, to a router with 2 processes.

One by one, as nodes that know nothing of each other do. None may be lost: one that was not read costs nothing.
"""

from __future__ import annotations

from scripts.bench.experiment import Done, Experiment, Figure, Length, Sample, take_turns
from scripts.bench.fleet import Fleet, Lane, Layout
from scripts.bench.peers import Wiring
from scripts.bench.processes import BenchError, free_udp_address
from scripts.bench.site import lost_datagrams, send_all
from scripts.scale.sending import Barrage, announcements

NODES, KEYS = 2000, 1000
PER_SECOND = 2000.0
MICROSECONDS = 1e6

FIGURE = Figure("announcements", f"CPU per announcement, {NODES} nodes, 2 processes", "us", most=1.0, guard=1.2)


def measure(layout: Layout, length: Length) -> Sample:
    """A round."""
    sample = Sample()
    with Fleet(layout.without_floors()) as fleet:
        barrages: dict[str, Barrage] = {}
        servers: dict[str, str] = {}
        for name, kind in fleet.layout.lanes:
            listen, servers[name] = fleet.address(name), free_udp_address()
            router = fleet.router(name, kind, Wiring(listen, subscriptions=servers[name], processes=2))
            barrages[name] = Barrage(servers[name], announcements(NODES, KEYS))
            fleet.exit.callback(barrages[name].sock.close)
            fleet.lanes.append(Lane(name, listen, router, kind))

        def turn(lane: Lane) -> Done:
            before = lost_datagrams(servers[lane.name])
            send_all(barrages[lane.name], NODES, PER_SECOND)
            lost = lost_datagrams(servers[lane.name]) - before
            if lost:
                raise BenchError(f"the kernel dropped {lost} of {NODES} announcements")
            return Done(NODES)

        take_turns(fleet, FIGURE, MICROSECONDS, turn, length.seconds, sample)
    return sample


EXPERIMENT = Experiment("announcements", (FIGURE,), measure, rounds_most=3)

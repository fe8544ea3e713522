"""Memory of sessions that wait for an answer: PSS of a router's process tree, more and more sessions at a silent node.

The web server is left out: the sessions are opened at the router itself, with packets as nginx sends them.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable

from scripts.bench.clients import packet
from scripts.bench.experiment import Experiment, Figure, Length, Neighbours, Sample
from scripts.bench.fleet import Fleet, Lane, Layout
from scripts.bench.peers import Wiring
from scripts.bench.processes import BenchError, Daemon, accepts, connect, tree_pss
from scripts.bench.programs import open_files

COUNTS = (0, 1000, 3000, 10_000)
SHOWN = {3000: 0.30, 10_000: None}
"""The counts that have a target, and the guard's bounds."""
SPARE = 300
"""Descriptors that a process has beside those of the sessions, and more."""
SETTLE = 0.5
"""Seconds between the last session and the look at the memory."""
DEADLINE = 20.0
"""Seconds until all sessions are at the node, and until all are gone."""
AT_ONCE = 200
"""Sessions that may be on their way to the node: fewer than any backlog."""
KILOBYTE = 1000.0

POINTS = {
    count: Figure(f"memory-{count}", f"memory with {count} waiting sessions", "MB", series="memory", at=count)
    for count in COUNTS
}
EACH = {
    count: Figure(f"session-{count}", f"memory per waiting session, {count} sessions", "KB", most=0.6, guard=guard)
    for count, guard in SHOWN.items()
}


def fitting(counts: Iterable[int], files: int) -> dict[int, int]:
    """How many sessions are opened for each count: fewer where the limit of open files does not allow so many."""
    most = (files - SPARE) // 2
    return {count: min(count, most) for count in counts}


def measure(layout: Layout, length: Length) -> Sample:
    """A round: each lane by itself, one after the other."""
    counts = fitting((count for count in COUNTS if not length.quick or count <= 3000), open_files())
    sample = Sample()
    with Fleet(layout) as fleet:
        nodes = [fleet.address("node") for _ in layout.lanes]
        argv = [sys.executable, "-m", "scripts.bench.holding", *nodes]
        holder = fleet.run("holder", argv, lambda: all(map(accepts, nodes)), fleet.other_cores)
        for (name, kind), node in zip(layout.lanes, nodes, strict=True):
            listen = fleet.address(name)
            router = fleet.router(name, kind, Wiring(listen, node))
            fleet.lanes.append(Lane(name, listen, router, kind))
        with Neighbours(fleet, sample):
            for lane in fleet.lanes:
                fill(lane, holder, counts, sample)
    return sample


def fill(lane: Lane, holder: Daemon, counts: dict[int, int], sample: Sample) -> None:
    """Open sessions up to each count and note the memory."""
    request, sessions = packet(), list[socket.socket]()
    idle = held(holder)
    # What a router needs for its first session ever is no session's memory.
    open_up_to(lane, holder, idle, sessions, 1, request)
    close_all(holder, idle, sessions)
    empty = 0
    try:
        for count, number in counts.items():
            open_up_to(lane, holder, idle, sessions, number, request)
            time.sleep(SETTLE)
            memory = tree_pss(lane.router.tree())
            empty = empty or memory
            sample.add(POINTS[count], lane.name, memory / 1e6)
            if count in EACH:
                sample.add(EACH[count], lane.name, (memory - empty) / number / KILOBYTE)
    finally:
        close_all(holder, idle, sessions)


def open_up_to(
    lane: Lane, holder: Daemon, idle: int, sessions: list[socket.socket], number: int, request: bytes
) -> None:
    """Until so many sessions of this lane wait at the node."""
    while len(sessions) < number:
        for _ in range(min(AT_ONCE, number - len(sessions))):
            peer = connect(lane.front, DEADLINE)
            sessions.append(peer)
            peer.sendall(request)
        wait(lambda: held(holder) >= idle + len(sessions), f"{len(sessions)} sessions of {lane.name} at the node")


def close_all(holder: Daemon, idle: int, sessions: list[socket.socket]) -> None:
    """Until the node has none left."""
    for peer in sessions:
        peer.close()
    sessions.clear()
    wait(lambda: held(holder) <= idle, "end of the sessions")


def held(holder: Daemon) -> int:
    """Descriptors of the silent node."""
    return len(os.listdir(f"/proc/{holder.tree()[0].pid}/fd"))


def wait(ready: Callable[[], bool], what: str) -> None:
    """BenchError if it does not become so."""
    deadline = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > deadline:
            raise BenchError(f"no {what} within {DEADLINE:.0f} s")
        time.sleep(0.01)


EXPERIMENT = Experiment("waiting", (*EACH.values(), *POINTS.values()), measure, rounds_most=3)

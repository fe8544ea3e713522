"""A registry of 50,000 nodes, of this router alone: memory, how soon a worker is ready, how soon all see a change.

The nodes are those of scripts/scale. A worker is ready when it answers: one is killed when no other is left, and what
is asked meanwhile waits in the kernel's queue.
"""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from pathlib import Path

from scripts.bench.experiment import Experiment, Figure, Length, Sample
from scripts.bench.fleet import Layout
from scripts.bench.peers import OURS
from scripts.bench.processes import BenchError, split_address, tree_pss
from scripts.bench.site import send_all
from scripts.scale.sending import Barrage, announcement, announcements
from scripts.scale.town import ALIVE, Town
from uwsgirouter.control.base import Failure
from uwsgirouter.control.channel import Channel

NODES, KEYS = 50_000, 20_000
PER_SECOND = 5000.0
CHANGES = 40
DEADLINE = 20.0
TITLE = f"{NODES} nodes: "

MEMORY = Figure("registry-memory", f"{TITLE}memory of the master", "MB", most=60.0, absolute=True)
GROWTH = Figure("registry-growth", f"{TITLE}memory that they add to the master", "MB", absolute=True)
WORKER = Figure("registry-worker", f"{TITLE}memory that they add to a worker", "MB", absolute=True)
READY = Figure("registry-ready", f"{TITLE}worker ready after", "ms", most=2000.0, absolute=True)
SEEN = Figure("registry-seen", f"{TITLE}a change is seen by 2 workers after", "ms", most=50.0, absolute=True)
LONGEST = Figure("registry-longest", f"{TITLE}the slowest of {CHANGES} changes", "ms", absolute=True)


def measure(layout: Layout, length: Length) -> Sample:
    """One round; nothing for runs in which this router has no part."""
    sample = Sample()
    names = [name for name, kind in layout.lanes if kind == OURS]
    if not names:
        return sample
    with Registry() as town:
        found = town.figures()
    for figure, value in found.items():
        for name in names:
            sample.add(figure, name, value)
    return sample


class Registry(Town):
    """The town with its control socket."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="uwsgirouter-bench-")
        self._control = f"{self._place.name}/control.sock"
        super().__init__(Path(self._place.name), 2, "--control-socket", self._control)

    def __enter__(self) -> Registry:
        super().__enter__()
        return self

    def __exit__(self, *rest: object) -> None:
        try:
            super().__exit__(None, None, None)
        finally:
            self._place.cleanup()

    def figures(self) -> dict[Figure, float]:
        """All of them."""
        before = [tree_pss([process]) / 1e6 for process in self.processes()]
        barrage = Barrage(self.server, announcements(NODES, KEYS))
        try:
            send_all(barrage, NODES, PER_SECOND)
            self.announce(ALIVE, self.node.address)
            self.router.wait_until(lambda: not self.ask(1).failed, "answer of a node")
            self._known()
            after = [tree_pss([process]) / 1e6 for process in self.processes()]
            changes = self._changes(barrage)
            ready = self._ready()
        finally:
            barrage.sock.close()
        return {
            MEMORY: after[0],
            GROWTH: after[0] - before[0],
            WORKER: max(after[1:]) - max(before[1:]),
            READY: ready * 1e3,
            SEEN: statistics.median(changes) * 1e3,
            LONGEST: max(changes) * 1e3,
        }

    def _known(self) -> None:
        known = int(self.stats().partition(" nodes")[0])
        if known != NODES + 1:
            raise BenchError(f"the router knows {known} nodes and not {NODES + 1}")

    def _changes(self, barrage: Barrage) -> list[float]:
        """Seconds from each of some new nodes to the moment in which all workers know it; the others go on."""
        found = []
        address = split_address(self.server)
        with Channel(self._control) as channel:
            for number in range(CHANGES):
                send_all(barrage, 250, PER_SECOND)
                key = f"new{number}.example.com"
                began = time.monotonic()
                barrage.sock.send(announcement(key, f"10.77.0.{number + 1}:3031"))
                while not self._settled(channel, key):
                    if time.monotonic() - began > DEADLINE:
                        raise BenchError(f"{key} at {address} is not known after {DEADLINE:.0f} s")
                found.append(time.monotonic() - began)
        return found

    @staticmethod
    def _settled(channel: Channel, key: str) -> bool:
        try:
            answer = channel.ask("nodes", key=key)
        except Failure:
            return False  # no such key yet
        return bool(answer.rows) and answer.settled

    def _ready(self) -> float:
        """Seconds from the death of the only worker to the first answer of the next one."""
        master, *workers = self.processes()
        master.send_signal(signal.SIGTTOU)
        self.router.wait_until(lambda: len(self.processes()) == 2, "single worker")
        last = self.processes()[1]
        self.announce(ALIVE, self.node.address)
        began = time.monotonic()
        last.kill()
        asked = self.ask(1)
        seconds = time.monotonic() - began
        while asked.failed:  # the connection that the dying worker had taken
            asked = self.ask(1)
            seconds = time.monotonic() - began
            if seconds > DEADLINE:
                raise BenchError("no worker came back")
        assert last.pid in {worker.pid for worker in workers}
        return seconds


EXPERIMENT = Experiment("registry", (MEMORY, GROWTH, WORKER, READY, SEEN, LONGEST), measure, rounds_most=1)

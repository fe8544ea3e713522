"""The command: announces, measures, prints a table.

Exit status 0: measured, and every target met. 1: a target was missed. 2: not measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.processes import BenchError
from scripts.scale.sending import JUNK_KINDS
from scripts.scale.town import ALIVE, Asked, Pulse, Town, Usage, cores
from uwsgirouter import compiled

EVERY = 10.0
"""Seconds between two announcements of a node, uWSGI's own."""
MASTER_MOST, WORKER_MOST = 0.60, 0.02
"""Shares of a core."""
PAUSE_MOST = 0.1
"""Seconds for which the master may let somebody wait."""
TOLERANCE = 17.0
"""The router's: seconds of silence."""
REQUESTS = 2000


@dataclass(frozen=True)
class Line:
    """One line of the table; ``met`` is False when a target is missed."""

    what: str
    figure: str
    met: bool = True

    @property
    def text(self) -> str:
        """For people."""
        return f"{'' if self.met else 'MISSED  '}{self.what:42} {self.figure}"


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m scripts.scale", description=__doc__)
    add = options.add_argument
    add("--nodes", type=int, default=50_000)
    add("--keys", type=int, default=20_000)
    add("--workers", type=int, default=2)
    add("--seconds", type=float, default=10.0, help="of steady announcements (10)")
    add("--junk", type=float, default=100_000.0, help="junk datagrams a second (100000)")
    add("--junk-seconds", type=float, default=5.0)
    return options


def milliseconds(times: Sequence[float]) -> str:
    """Median and greatest of some times."""
    return f"median {statistics.median(times) * 1000:.2f} ms, longest {max(times) * 1000:.1f} ms"


def share(seconds: float, of: float) -> str:
    """Of one core."""
    return f"{100 * seconds / of:.1f} % of a core"


def busiest(usage: Usage) -> float:
    """Of the workers."""
    return max(usage.workers)


class Run:
    """The measurements, in order; each yields lines of the table."""

    def __init__(self, town: Town, options: argparse.Namespace) -> None:
        self.town = town
        self.options = options
        self.rate = options.nodes / EVERY

    def lines(self) -> Iterator[Line]:
        """The whole table."""
        yield from self.memory("memory without nodes")
        yield from self.requests("with 1 node")
        before = self.town.usage()
        crowd = self.town.send(
            "--nodes", self.options.nodes, "--keys", self.options.keys, "--alive", ALIVE, self.town.node.address,
            "--rate", self.rate, "--seconds", 3600,
        )  # fmt: skip
        yield from self.arrival(before)
        yield from self.steady()
        yield from self.requests(f"with {self.options.nodes} nodes")
        yield from self.reload()
        yield from self.memory("memory after the reload")
        for kind in JUNK_KINDS:
            yield from self.flood(kind)
        sent = self.town.wait_for(crowd, end=True)
        yield Line("announcements a second", f"{sent['sent'] / sent['seconds']:.0f}")
        yield Line("what the master says", self.town.stats())

    def memory(self, title: str) -> Iterator[Line]:
        """RSS, USS and PSS of each process."""
        for index, found in enumerate(self.town.memory()):
            name = f"worker {index}" if index else "master"
            yield Line(f"{title}: {name}", f"RSS {found.rss:.0f} MB, USS {found.uss:.0f} MB, PSS {found.pss:.0f} MB")

    def requests(self, title: str) -> Iterator[Line]:
        """What a request costs the workers, and how long it takes."""
        self.town.announce(ALIVE, self.town.node.address)
        self.town.router.wait_until(lambda: not self.town.ask(1).failed, "answer of a node")
        self.town.ask(100)
        before = self.town.usage()
        asked = self.town.ask(REQUESTS)
        used = self.town.usage().since(before)
        cost = sum(used.workers) / REQUESTS * 1e6
        yield Line(f"requests {title}", f"{cost:.0f} us of CPU each, {milliseconds(asked.times)}", not asked.failed)

    def arrival(self, before: Usage) -> Iterator[Line]:
        """All nodes come for the first time."""
        time.sleep(EVERY + 2)
        used = self.town.usage().since(before)
        nodes = self.options.nodes
        known = self.town.stats().partition(" nodes")[0]
        yield Line("nodes known", known, int(known) == nodes + 1)
        yield Line("each new node: master", f"{used.master / nodes * 1e6:.0f} us")
        yield Line("each new node: a worker", f"{busiest(used) / nodes * 1e6:.0f} us")
        yield from self.memory("memory with all nodes")

    def steady(self) -> Iterator[Line]:
        """They announce themselves again and again."""
        before, start = self.town.usage(), time.monotonic()
        time.sleep(self.options.seconds)
        used, passed = self.town.usage().since(before), time.monotonic() - start
        yield Line("steady: master", share(used.master, passed), used.master < MASTER_MOST * passed)
        yield Line("steady: busiest worker", share(busiest(used), passed), busiest(used) < WORKER_MOST * passed)

    def reload(self) -> Iterator[Line]:
        """A HUP: every new worker is told of all nodes."""
        with Pulse(self.town) as before:
            time.sleep(1)
        with Pulse(self.town) as pulse:
            seconds = self.town.reload()
        yield Line("reload", f"{seconds:.2f} s")
        yield Line("master's answers before it", milliseconds(before.times))
        yield Line("master's answers during it", milliseconds(pulse.times), max(pulse.times) < PAUSE_MOST)

    def flood(self, kind: str) -> Iterator[Line]:
        """Junk at full speed, good announcements, requests; then the time in which silence would end."""
        seconds, town = self.options.junk_seconds, self.town
        junk = town.send("--junk", kind, "--rate", self.options.junk, "--seconds", seconds)
        time.sleep(1)  # it is being made
        asked, stop = Asked(), threading.Event()
        asking = threading.Thread(target=town.ask_until, args=(stop, asked))
        asking.start()
        before, start = town.usage(), time.monotonic()
        time.sleep(seconds / 2)
        used, passed = town.usage().since(before), time.monotonic() - start
        sent = town.wait_for(junk)
        time.sleep(TOLERANCE + 2)
        stop.set()
        asking.join()
        expired = town.log().count("no announce received in")
        rate = sent["sent"] / sent["seconds"]
        count = len(asked.times) + asked.failed
        yield Line(f"flood of {kind}", f"{rate:.0f} datagrams a second; master {share(used.master, passed)}")
        requests = f"{asked.failed} of {count} failed, {milliseconds(asked.times)}"
        yield Line(f"flood of {kind}: requests", requests, not asked.failed)
        yield Line(f"flood of {kind}: good nodes lost", str(expired), not expired)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit status."""
    compiled.choose()  # before any of these modules is imported
    from scripts.scale import inside

    options = parser().parse_args(arguments)
    met = True
    print(f"{options.nodes} nodes under {options.keys} keys, {options.workers} workers, {cores()} cores")
    print(f"uwsgirouter is {compiled.describe()}")
    for what, figure in inside.lines(options.nodes, options.keys):
        print(Line(what, figure).text, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="scale-") as directory, Town(Path(directory), options.workers) as town:
            for line in Run(town, options).lines():
                print(line.text, flush=True)
                met = met and line.met
    except BenchError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 2
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

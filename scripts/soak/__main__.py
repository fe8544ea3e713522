"""The command: traffic and trouble for some minutes, with rests in between; a report.

Exit status 0: nothing was found. 1: something was, and the report says what. 2: the soak could not be made.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence

from scripts.bench.processes import BenchError, heed_signals
from scripts.soak import report
from scripts.soak.diary import Diary
from scripts.soak.site import Site
from scripts.soak.traffic import Traffic
from scripts.soak.troubles import Troubles
from scripts.soak.watch import Watch
from uwsgirouter import compiled

WARM_UP = 5.0
"""Seconds of traffic before the first rest, with which the others are compared."""
INTERRUPTED = 130
"""Exit status after SIGINT or SIGTERM."""
END_WITHIN = 20.0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m scripts.soak", description=__doc__)
    add = options.add_argument
    add("--minutes", type=float, default=30.0, help="how long (30)")
    add("--rate", type=float, default=20.0, help="visits a second (20)")
    add("--slow", type=float, default=8.0, help="seconds that a slow visit takes at most (8)")
    add("--pause", type=float, default=1.5, help="seconds between two troubles (1.5)")
    add("--between-rests", type=float, default=40.0, help="seconds of traffic between two rests (40)")
    add("--seed", type=int, default=random.randrange(1 << 30), help="of what is done when (any)")
    return options


class Soak:
    """The phases, over what is there."""

    def __init__(self, site: Site, diary: Diary, options: argparse.Namespace) -> None:
        self.options = options
        self.diary = diary
        self.watch = Watch(site, diary)
        self.traffic = Traffic(diary, site.listen, options.rate, options.slow, options.seed)
        self.troubles = Troubles(site, diary, options.pause, options.seed + 1)

    def run(self) -> None:
        """Until the time is over, which ends with a rest."""
        end = time.monotonic() + 60 * self.options.minutes
        with self.traffic, self.troubles:
            self.phase(WARM_UP, trouble=False)
            while (left := end - time.monotonic()) > 0:
                self.phase(min(left, self.options.between_rests), trouble=True)

    def phase(self, seconds: float, trouble: bool) -> None:
        """Traffic, then a rest."""
        known = len(self.diary.findings)
        self.traffic.begin()
        if trouble:
            self.troubles.begin()
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.watch.second()
            time.sleep(max(0.0, min(end, now + 1) - time.monotonic()))
        self.troubles.pause()
        self.traffic.pause()
        self.watch.rest()
        for finding in self.diary.findings[known:]:
            print(f"FOUND  {finding}")
        print(
            f"{self.diary.clock()}  {self.diary.visits.total()} visits, {self.diary.faults.total()} troubles, "
            f"{self.diary.explained.total()} failures with a cause, {len(self.diary.findings)} findings; "
            f"{self.watch.levels[-1].text}",
            flush=True,
        )


def main(arguments: Sequence[str]) -> int:
    """Soak and print; the exit status."""
    options = parser().parse_args(arguments)
    heed_signals()
    print(f"{options.minutes:g} minutes, seed {options.seed}; uwsgirouter is {compiled.describe()}", flush=True)
    diary = Diary()
    try:
        with Site() as site:
            soak = Soak(site, diary, options)
            soak.run()
            site.stop(diary.found, END_WITHIN)
            print(*report.lines(diary, soak.watch, site.log_end()), sep="\n", flush=True)
    except BenchError as error:
        print(*diary.findings, f"no soak: {error}", sep="\n", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(*diary.findings, "interrupted", sep="\n", file=sys.stderr)
        return INTERRUPTED
    return 1 if diary.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

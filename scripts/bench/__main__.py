"""The command: reads its arguments, runs the loads, prints, writes the JSON file, and sets the exit status.

0: measured (and, with --assert, every target met). 1: --assert and a target missed. 2: not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from scripts.bench import report
from scripts.bench.processes import BenchError
from scripts.bench.rounds import Work, body_work, disturbed, run, small_work
from scripts.bench.site import FASTROUTER, OURS, Layout, Placement

LOADS = ("small", "download", "upload")

DEFAULT_JSON = Path("bench-results/latest.json")

NORMAL = {"rounds": 5, "seconds": 4, "transfers": 3}
QUICK = {"rounds": 3, "seconds": 1, "transfers": 1}

MEBIBYTE = 1 << 20

NEIGHBOURS = 0.05
"""Cores that other processes may keep busy before the result says so."""


def positive(text: str) -> int:
    """An argparse type: a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a whole number from 1")
    return value


def parser() -> argparse.ArgumentParser:
    """The options; those left out come from QUICK or NORMAL."""
    options = argparse.ArgumentParser(
        prog="python -m scripts.bench",
        description="CPU of uwsgirouter and of the C FastRouter for the same work.",
    )
    who = options.add_mutually_exclusive_group()
    who.add_argument("--only", choices=[OURS, FASTROUTER], help="load one router alone; no ratios")
    who.add_argument("--noise-floor", action="store_true", help="compare the C FastRouter with itself")
    add = options.add_argument
    add("--loads", nargs="+", choices=LOADS, default=list(LOADS), help="default: all")
    add("--quick", action="store_true", help="short rounds: a first look, not a verdict")
    add("--rounds", type=positive, metavar="N", help="new processes each (5; quick: 3)")
    add("--seconds", type=positive, metavar="S", help="of small requests per round and router (4; quick: 1)")
    add("--transfers", type=positive, metavar="N", help="bodies each way per round and router (3; quick: 1)")
    add("--body-megabytes", type=positive, default=256, metavar="M", help="size of a body in MiB (256)")
    add("--nginx-buffer", default="64k", metavar="SIZE", help="nginx' uwsgi_buffer_size (64k)")
    add("--app-processes", type=positive, default=2, metavar="N", help="of uWSGI (2)")
    add(
        "--placement",
        choices=[one.value for one in Placement],
        default="together",
        help="on cores (together)",
    )
    add("--json", type=Path, default=DEFAULT_JSON, metavar="FILE", help=f"results ({DEFAULT_JSON})")
    add("--assert", action="store_true", dest="enforce", help="exit with 1 when a target is missed")
    return options


def arguments_from(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments with every length filled in."""
    arguments = parser().parse_args(argv)
    for name, value in (QUICK if arguments.quick else NORMAL).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


def lanes(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """The lanes asked for: (name, kind)."""
    if arguments.only:
        return [(arguments.only, arguments.only)]
    if arguments.noise_floor:
        return [(FASTROUTER, FASTROUTER), ("fastrouter again", FASTROUTER)]
    return [(FASTROUTER, FASTROUTER), (OURS, OURS)]


def works(arguments: argparse.Namespace) -> list[Work]:
    """The loads asked for."""
    size = arguments.body_megabytes * MEBIBYTE
    bodies = [body_work(key, size, arguments.transfers) for key in LOADS[1:]]
    return [work for work in [small_work(arguments.seconds), *bodies] if work.key in arguments.loads]


def measure(arguments: argparse.Namespace) -> list[report.Row]:
    """Run everything, print the table and write the file."""
    layout = Layout(
        lanes=lanes(arguments),
        buffer_size=arguments.nginx_buffer,
        app_processes=arguments.app_processes,
        placement=Placement(arguments.placement),
        cores=tuple(sorted(os.sched_getaffinity(0))),
    )
    about = report.machine()
    print("; ".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    loads = works(arguments)
    figures = run(layout, loads, arguments.rounds, lambda line: print(line, flush=True))
    rows = [report.row(work, figures[work.key], layout.lanes) for work in loads]
    print(f"\n{report.table(rows)}\n")
    restless = disturbed(figures, NEIGHBOURS)
    if restless:
        print(f"The machine was not quiet: see 'neighbours' of {', '.join(restless)}. Trust little; run again.")
    settings = {name: value for name, value in vars(arguments).items() if name not in ("json", "enforce")}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report.document(rows, figures, settings, about), indent=2) + "\n")
    print(f"All rounds: {arguments.json}")
    return rows


def stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the run as Ctrl-C does: everything that was started is stopped on the way out."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    arguments = arguments_from(argv)
    signal.signal(signal.SIGTERM, stop)
    try:
        rows = measure(arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; everything is stopped", file=sys.stderr)
        return 130
    missed = [row.title for row in rows if row.passed is False]
    if missed and arguments.enforce:
        print(f"bench: target missed: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command: reads its arguments, runs the experiments, prints, writes the JSON file, and sets the exit status.

0: measured (and, with --assert, every target met; with --quick, every bound kept). 1: one missed. 2: not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.bench import page, peers, report
from scripts.bench.experiment import Experiment, Length, disturbed, run
from scripts.bench.figures import ALL, QUICK
from scripts.bench.fleet import Layout, Placement
from scripts.bench.peers import FASTROUTER, OURS
from scripts.bench.processes import BenchError, allow_open_files, heed_signals
from scripts.bench.programs import PROJECT

DEFAULT_JSON = Path("bench-results/latest.json")

LENGTHS = {
    False: {"rounds": 5, "seconds": 4, "transfers": 3, "body_megabytes": 256, "minutes": 18.0},
    True: {"rounds": 3, "seconds": 2, "transfers": 2, "body_megabytes": 64, "minutes": 0.7},
}
"""By ``--quick``. ``minutes`` is when the last round begins, so that all of it ends before 20, or 1."""

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
    """The options; those left out come from LENGTHS."""
    options = argparse.ArgumentParser(
        prog="python -m scripts.bench",
        description="What uwsgirouter and the C FastRouter cost for the same work.",
    )
    who = options.add_mutually_exclusive_group()
    who.add_argument("--only", choices=[OURS, FASTROUTER], help="load one router alone; no ratios")
    who.add_argument("--noise-floor", action="store_true", help="compare the C FastRouter with itself")
    add = options.add_argument
    keys = [one.key for one in ALL]
    add("--figures", nargs="+", choices=keys, metavar="NAME", help=f"default: all of {', '.join(keys)}")
    add("--quick", action="store_true", help="the regression guard: a few figures, short, with bounds")
    add("--rounds", type=positive, metavar="N", help="new processes each (5; quick: 3)")
    add("--seconds", type=positive, metavar="S", help="of each load per round and router (4; quick: 2)")
    add("--transfers", type=positive, metavar="N", help="bodies each way per round and router (3; quick: 2)")
    add("--body-megabytes", type=positive, metavar="M", help="size of a large body in MiB (256; quick: 64)")
    add("--minutes", type=float, metavar="M", help="no round begins later (18; quick: 0.7)")
    add("--no-floors", action="store_true", help="leave out HAProxy and nginx stream")
    add("--nginx-buffer", default="64k", metavar="SIZE", help="nginx' uwsgi_buffer_size (64k)")
    add("--app-processes", type=positive, default=2, metavar="N", help="of the application (2)")
    add("--placement", choices=[one.value for one in Placement], default="together", help="on cores (together)")
    add("--json", type=Path, default=DEFAULT_JSON, metavar="FILE", help=f"results ({DEFAULT_JSON})")
    add("--draw", action="store_true", help=f"write the results into {page.PAGE}, with plots")
    add("--assert", action="store_true", dest="enforce", help="exit with 1 when a target is missed")
    return options


def arguments_from(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments with every length filled in."""
    arguments = parser().parse_args(argv)
    for name, value in LENGTHS[arguments.quick].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if arguments.figures is None:
        arguments.figures = list(QUICK) if arguments.quick else [one.key for one in ALL]
    return arguments


def lanes(arguments: argparse.Namespace, floors: Sequence[str]) -> list[tuple[str, str]]:
    """The lanes asked for: (name, kind). Floors only where two routers are compared at length."""
    if arguments.only:
        return [(arguments.only, arguments.only)]
    if arguments.noise_floor:
        return [(FASTROUTER, FASTROUTER), ("fastrouter again", FASTROUTER)]
    below = [] if arguments.quick or arguments.no_floors else [(name, name) for name in floors]
    return [(FASTROUTER, FASTROUTER), (OURS, OURS), *below]


def experiments(arguments: argparse.Namespace) -> list[Experiment]:
    """Those asked for, in the order of the table."""
    return [one for one in ALL if one.key in arguments.figures]


def length(arguments: argparse.Namespace) -> Length:
    """Of everything."""
    size = arguments.body_megabytes * MEBIBYTE
    return Length(arguments.rounds, arguments.seconds, arguments.transfers, size, arguments.quick)


def measure(arguments: argparse.Namespace) -> list[report.Row]:
    """Run everything, print the table and write the files."""
    until = time.monotonic() + arguments.minutes * 60
    allow_open_files()
    layout = Layout(
        lanes=lanes(arguments, peers.floors()),
        buffer_size=arguments.nginx_buffer,
        app_processes=arguments.app_processes,
        placement=Placement(arguments.placement),
        cores=tuple(sorted(os.sched_getaffinity(0))),
    )
    about = report.machine()
    print("; ".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    chosen = experiments(arguments)
    results = run(layout, chosen, length(arguments), lambda line: print(line, flush=True), until)
    rows = report.rows(chosen, results, layout.lanes)
    print(f"\n{report.table(report.shown(rows), layout.lanes, arguments.quick)}\n")
    restless = disturbed(results, NEIGHBOURS)
    if restless:
        print(f"The machine was not quiet: see 'neighbours' of {', '.join(restless)}. Trust little; run again.")
    settings = {name: value for name, value in vars(arguments).items() if name not in ("json", "enforce", "draw")}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report.document(rows, results, settings, about), indent=2) + "\n")
    print(f"All rounds: {arguments.json}")
    if arguments.draw:
        drawn = page.draw(PROJECT, rows, layout.lanes, about, restless, arguments.rounds)
        print(f"Drawn: {', '.join(str(file.relative_to(PROJECT)) for file in drawn)}")
    return rows


def missed(rows: Sequence[report.Row], quick: bool, enforce: bool) -> list[str]:
    """The titles of figures whose bound (``quick``) or target (``enforce``) is missed."""
    return [one.figure.title for one in rows if (quick and one.guarded is False) or (enforce and one.passed is False)]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    arguments = arguments_from(argv)
    heed_signals()
    try:
        rows = measure(arguments)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; everything is stopped", file=sys.stderr)
        return 130
    titles = missed(rows, arguments.quick, arguments.enforce)
    if titles:
        print(f"bench: missed: {', '.join(titles)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m scripts.bench.instructions``: instructions in user space per small request, counted by valgrind.

One idea: callgrind counts what a worker executes, exactly and alike on every machine, so a change of one percent in
the router's own code shows, which no clock can tell. It is told to begin after a warm-up and to write what it counted
after so many requests, one after the other. What the kernel does is not in it, and that is most of a request's time.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.bench import peers, programs
from scripts.bench.clients import answered, exchange
from scripts.bench.peers import FASTROUTER, OURS, Wiring
from scripts.bench.processes import BenchError, Daemon, accepts, free_address, free_udp_address
from scripts.bench.site import send_all
from scripts.scale.sending import Barrage, announcement, announcements
from scripts.scale.town import Node

WARM_UP = 300
OTHERS = 1000
"""Announced nodes that nobody asks for."""
REQUESTS = 1000
START = 120.0
"""Seconds for a start under valgrind, which is some fifty times as slow."""
STOP = 30.0
ORDER = 60.0
"""Seconds until valgrind has written."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m scripts.bench.instructions", description=__doc__)
    add = options.add_argument
    add("--router", choices=[OURS, FASTROUTER], default=OURS, help=f"which one ({OURS})")
    add("--announced", action="store_true", help="a node that announced itself, among a thousand, and no static one")
    add("--requests", type=int, default=REQUESTS, metavar="N", help=f"after {WARM_UP} of warm-up ({REQUESTS})")
    add(
        "--more",
        action="append",
        default=[],
        metavar="ARGUMENT",
        help="a further argument of the router, as --more=--x",
    )
    add("--keep", type=Path, metavar="DIRECTORY", help="leave callgrind's files there, for callgrind_annotate")
    return options


def counted(text: str) -> int:
    """The total of a callgrind file. BenchError if it has none."""
    found = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
    if found is None:
        raise BenchError("callgrind's file has no total")
    return int(found[1])


def tell(pid: int, *words: str) -> None:
    """Give an order to the valgrind of a process."""
    argv = [programs.find("vgdb"), f"--pid={pid}", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=ORDER, check=False)
    if done.returncode != 0:
        raise BenchError(f"valgrind of process {pid} does not {' '.join(words)}: {done.stderr.strip()}")


def ask(listen: str, count: int) -> None:
    """So many requests, one after the other."""
    for _ in range(count):
        exchange(listen)


def announce(server: str, node: str) -> None:
    """The key that the packets ask for, and a thousand others."""
    barrage = Barrage(server, [announcement("bench.example", node), *announcements(OTHERS, OTHERS)])
    try:
        send_all(barrage, OTHERS + 1)
    finally:
        barrage.sock.close()


def count(kind: str, requests: int, directory: Path, announced: bool = False, more: Sequence[str] = ()) -> float:
    """Instructions of the worker per request; ``announced``: its node announced itself, else it is a static one.

    ``more``: further arguments of the router.
    """
    node, listen = Node(), free_address()
    server = free_udp_address() if announced else ""
    argv = [
        programs.find("valgrind"), "--tool=callgrind", "--vgdb=yes", "--trace-children=yes", "--instr-atstart=no",
        f"--callgrind-out-file={directory}/callgrind.%p",
        *peers.command(kind, Wiring(listen, "" if announced else node.address, server, more=tuple(more)), directory),
    ]  # fmt: skip
    router = Daemon(kind, argv, directory / "log", programs.PROJECT, {"PYTHONHASHSEED": "0"})
    try:
        router.start()
        router.wait_until(lambda: accepts(listen) and len(router.tree()) >= 2, "worker", START)
        if announced:
            announce(server, node.address)
            router.wait_until(lambda: answered(listen), "announced node")
        ask(listen, WARM_UP)
        worker = max(process.pid for process in router.tree())  # whoever else there is was started before it
        tell(worker, "instrumentation", "on")
        ask(listen, requests)
        tell(worker, "dump")
        return counted((directory / f"callgrind.{worker}.1").read_text()) / requests
    finally:
        router.stop(STOP)
        node.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 counted, 2 not."""
    options = parser().parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="uwsgirouter-bench-") as name:
            directory = options.keep or Path(name)
            directory.mkdir(parents=True, exist_ok=True)
            found = count(options.router, options.requests, directory.resolve(), options.announced, options.more)
    except (BenchError, subprocess.TimeoutExpired) as error:
        print(f"not counted: {error}", file=sys.stderr)
        return 2
    print(f"{options.router}: {found:.0f} instructions in user space per request, {options.requests} requests")
    if options.keep:
        print(f"callgrind_annotate --auto=no {options.keep}/callgrind.PID.1   (the worker's)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``uwsgirouterctl top``: the busiest, or the most troubled, keys of a running router, live."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from uwsgirouter.control.base import Command, Exit, Failure, seconds, shown
from uwsgirouter.control.channel import Channel, Row
from uwsgirouter.control.complaints import Status
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.listing import age
from uwsgirouter.control.rates import Rate, ranked, rates
from uwsgirouter.control.status import ask, sound

if TYPE_CHECKING:
    from rich.console import RenderableType

_DESCRIPTION = """\
Show the keys of a running router with what happens to them now: requests a second, sessions under way, bytes, failed
connects, nodes that are out of service; above them the workers, and what requests fail of. Ctrl-C ends it.

Where the output is no terminal, each look is printed below the one before; --once looks once."""

_FLEETING = {Exit.NO_CONNECTION, Exit.CUT, Exit.RESET, Exit.TIMEOUT, Exit.NO_ROOM}
"""What it waits to pass once it has begun: a router that is restarted."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument(
        "--sort", choices=("rate", "failures", "sessions"), default="rate", help="what goes first (rate)"
    )
    parser.add_argument("--every", metavar="S", type=seconds, default=1.0, help="seconds between two looks (1)")
    parser.add_argument("--once", action="store_true", help="look twice, one interval apart, print once and leave")
    parser.add_argument("--json", action="store_true", help="a JSON object for each look, one a line")


class Look:
    """What was seen at one moment."""

    def __init__(self, path: str) -> None:
        """Raises :class:`Failure`."""
        with Channel(path) as channel:
            self.status: Status = ask(channel)
            self.rows: list[Row] = channel.ask("nodes").rows
        self.at = time.monotonic()


class Change:
    """What happened between two looks."""

    def __init__(self, before: Look, now: Look, by: str) -> None:
        self.seconds = max(0.001, now.at - before.at)
        self.status = now.status
        self.keys = ranked(rates(before.rows, now.rows, self.seconds), by)
        self._before = before.status

    def rate(self, name: str) -> float:
        """A total's growth per second."""
        now, before = self.status["totals"][name], self._before["totals"][name]
        return float(now - before if now >= before else now) / self.seconds

    def failures(self) -> dict[str, float]:
        """By cause, per second; none that did not occur."""
        before = {row["cause"]: row["total"] for row in self._before["failures"]}
        grown = {row["cause"]: row["total"] - before.get(row["cause"], 0) for row in self.status["failures"]}
        return {cause: count / self.seconds for cause, count in grown.items() if count > 0}

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "seconds": round(self.seconds, 3),
            "requests": round(self.rate("requests"), 3),
            "failures": {cause: round(rate, 3) for cause, rate in self.failures().items()},
            "keys": [{**asdict(key), "states": sorted(key.states)} for key in self.keys],
        }


def _run(options: argparse.Namespace) -> Exit:
    path = control_path(options)
    try:
        before = Look(path)
        if options.once or options.json or not sys.stdout.isatty():
            _print(path, before, options)
        else:
            _live(path, before, options)
    except KeyboardInterrupt:
        pass
    return Exit.OK


def _print(path: str, before: Look, options: argparse.Namespace) -> None:
    from rich.console import Console

    console = Console()
    while True:
        time.sleep(options.every)
        now = _look(path, options.once)
        if isinstance(now, Failure):
            print(f"uwsgirouterctl top: {shown(now)}", file=sys.stderr, flush=True)
            continue
        change = sound(Change, before, now, options.sort)
        if options.json:
            print(json.dumps(change.as_json()))
        else:
            console.print(sound(screen, change, len(change.keys)))
        sys.stdout.flush()
        if options.once:
            return
        before = now


def _live(path: str, before: Look, options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(Text("looking ..."), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(options.every)
            now = _look(path, False)
            if isinstance(now, Failure):
                live.update(Text(shown(now)), refresh=True)
                continue
            change = sound(Change, before, now, options.sort)
            live.update(sound(screen, change, max(1, console.size.height - 8)), refresh=True)
            before = now


def _look(path: str, only_now: bool) -> Look | Failure:
    """Another look, or (unless it is wanted ``only_now``) what will pass. Raises other failures."""
    try:
        return Look(path)
    except Failure as failure:
        if only_now or failure.code not in _FLEETING:
            raise
        return failure


def screen(change: Change, lines: int) -> RenderableType:
    """One look for people, ``lines`` keys at most."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    status = change.status
    workers = ", ".join(
        f"{row['number']}: {shown(row['state'])} {row['sessions']}"
        for row in sorted(status["workers"], key=lambda row: (row["generation"], row["number"]))
    )
    failures = ", ".join(f"{shown(cause)} {rate:.1f}/s" for cause, rate in change.failures().items())
    head = [
        Text(
            f"{time.strftime('%H:%M:%S')}  uwsgirouter {shown(status['version'])}, up {age(status['uptime'])}, "
            f"{status['keys']} keys, {change.rate('requests'):.1f} requests/s, "
            f"{_bytes(change.rate('bytes_to_nodes'))}/s to nodes, {_bytes(change.rate('bytes_from_nodes'))}/s from them"
        ),
        Text(f"workers (sessions): {workers}"),
        Text(f"failures: {failures or 'none now'}", style="bold red" if failures else ""),
    ]
    table = Table(box=None, pad_edge=False)
    for title in ("KEY", "REQ/S", "NOW", "SENT", "RECEIVED", "FAILED/S", "NODES", "OUT", "TOTAL"):
        table.add_column(title, justify="left" if title == "KEY" else "right", no_wrap=True)
    for rate in change.keys[:lines]:
        table.add_row(*_cells(rate), style="red" if rate.failed_connects or rate.out == rate.nodes else "")
    more = [Text(f"... and {len(change.keys) - lines} more keys")] if len(change.keys) > lines else []
    return Group(*head, table, *more)


def _cells(rate: Rate) -> tuple[Any, ...]:
    from rich.text import Text

    return (
        Text(shown(rate.key)),
        f"{rate.requests:.1f}",
        str(rate.in_flight),
        f"{_bytes(rate.rx)}/s",
        f"{_bytes(rate.tx)}/s",
        f"{rate.failed_connects:.1f}",
        str(rate.nodes),
        str(rate.out),
        str(rate.total),
    )


def _bytes(count: float) -> str:
    """1.2 MB, as people read it."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


COMMAND = Command("top", "show the busiest or most troubled keys, live", _DESCRIPTION, _arguments, _run)

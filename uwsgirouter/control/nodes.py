"""``uwsgirouterctl nodes``: which nodes a running router has, in what state, since when and why."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time

from uwsgirouter.control.base import Command, Exit, Failure
from uwsgirouter.control.channel import Channel, Row
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.listing import sort, table

EVERY = 1.0
"""Seconds between two looks."""
_CLEAR = "\x1b[H\x1b[2J"
_BESIDE = 4
"""Lines of a screen that no node may have: the time, the head, how many are not shown, and the cursor's."""

_DESCRIPTION = """\
List the nodes of a running router: state, since when and why, requests under way, time since the last announcement. Two
weights, as in 7 (3), are an operator's and the announced one. A node that an operator spoke of and that is not there
is listed as absent.

The key of the nodes of fastrouter-to is written -, and that of fastrouter-fallback +.

--watch looks again every second, until Ctrl-C."""

_FLEETING = {Exit.NO_CONNECTION, Exit.CUT, Exit.RESET, Exit.TIMEOUT, Exit.NOT_FOUND, Exit.NO_ROOM}
"""What --watch waits to pass once it has begun: a router that is restarted, a key that has no nodes just now."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument("key", metavar="KEY", nargs="?", help="only the nodes of this key")
    parser.add_argument("--watch", action="store_true", help="refresh every second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="a JSON list; with --watch one a line")


def _run(options: argparse.Namespace) -> Exit:
    path = control_path(options)
    if not options.watch:
        rows = look(path, options.key)
        print(json.dumps(rows, indent=1) if options.json else "\n".join(table(rows, time.time())))
        return Exit.OK
    try:
        _watch(path, options)
    except KeyboardInterrupt:
        print()
    return Exit.OK


def look(path: str, key: str | None) -> list[Row]:
    """The rows, those of one key or all, sorted. Raises :class:`Failure`."""
    with Channel(path) as channel:
        return sort((channel.ask("nodes") if key is None else channel.ask("nodes", key=key)).rows)


def _watch(path: str, options: argparse.Namespace) -> None:
    begun = False
    due = time.monotonic()
    while True:
        try:
            rows, trouble = look(path, options.key), ""
        except Failure as failure:
            if not begun or failure.code not in _FLEETING:
                raise
            rows, trouble = [], str(failure)
        begun = True
        if options.json:
            if trouble:
                print(f"uwsgirouterctl nodes: {trouble}", file=sys.stderr)
            else:
                print(json.dumps(rows, separators=(",", ":")))
        else:
            print(_screen(rows, trouble))
        sys.stdout.flush()
        due = max(due + EVERY, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def _screen(rows: list[Row], trouble: str) -> str:
    """What is to be seen of one look: a whole screen of a terminal, a paragraph elsewhere."""
    first = f"{time.strftime('%H:%M:%S')}  {trouble or f'{len(rows)} nodes'}"
    if not sys.stdout.isatty():
        return "\n".join([first, *table(rows, time.time()), ""])
    size = shutil.get_terminal_size()
    fit = max(1, size.lines - _BESIDE)
    more = [f"... and {len(rows) - fit} more"] if len(rows) > fit else []
    return _CLEAR + "\n".join([first, *table(rows[:fit], time.time(), size.columns), *more])


COMMAND = Command("nodes", "list the nodes of a running router", _DESCRIPTION, _arguments, _run)

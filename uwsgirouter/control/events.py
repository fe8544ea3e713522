"""``uwsgirouterctl events``: what happens to a router's nodes and processes, as it happens."""

from __future__ import annotations

import argparse
import json
import sys
import time

from uwsgirouter.control.base import Command, Exit, Failure, number, shown
from uwsgirouter.control.channel import Channel, Row
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.telling import told

KEPT = 1000
"""Events that a router keeps."""
AGAIN = 1.0
"""Seconds after which a router that is gone is looked for again."""

_DESCRIPTION = """\
Tell what happens to the nodes (new ones, changes of state and why, those that are gone) and the processes (starts,
ends, reloads, orders of operators) of a running router, one line each, until Ctrl-C. When the router is restarted it
says so, waits for the next one and goes on.

The router keeps the last 1000 events; --last shows some of them first."""

_FLEETING = {Exit.NO_CONNECTION, Exit.CUT, Exit.RESET, Exit.TIMEOUT, Exit.NO_ROOM}
"""What it waits to pass once it has begun."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument("--last", metavar="N", type=number(0, KEPT), default=10, help="past events to begin with (10)")
    parser.add_argument("--no-follow", action="store_true", help="only those, then leave")
    parser.add_argument("--json", action="store_true", help="a JSON object a line")


class _Reader:
    """Prints events; ``since`` is the wall clock's time of the last one."""

    def __init__(self, as_json: bool) -> None:
        self.since = 0.0
        self._as_json = as_json

    def read(self, channel: Channel, last: int, follow: bool) -> None:
        """Print the ``last`` ones that were not printed before, and what follows."""
        before = self.since
        for event in channel.rows("events", last=last, follow=follow):
            moment = event.get("at")
            if "event" not in event or (isinstance(moment, (int, float)) and moment <= before):
                continue
            self._print(event)
            if isinstance(moment, (int, float)):
                self.since = max(self.since, moment)

    def _print(self, event: Row) -> None:
        print(json.dumps(event) if self._as_json else told(event))
        sys.stdout.flush()


def _run(options: argparse.Namespace) -> Exit:
    path = control_path(options)
    reader = _Reader(options.json)
    try:
        with Channel(path) as channel:
            try:
                reader.read(channel, options.last, not options.no_follow)
                return Exit.OK
            except Failure as failure:
                if options.no_follow or failure.code not in _FLEETING:
                    raise
                _say(failure)
        _go_on(path, reader)
    except KeyboardInterrupt:
        pass
    return Exit.OK


def _go_on(path: str, reader: _Reader) -> None:
    """The router was gone: wait for it, tell what was not told, and follow, for ever."""
    reader.since = reader.since or time.time()
    while True:
        time.sleep(AGAIN)
        try:
            with Channel(path) as channel:
                reader.read(channel, KEPT, True)
        except Failure as failure:
            if failure.code not in _FLEETING:
                raise
            if failure.code is not Exit.NO_CONNECTION:
                _say(failure)


def _say(failure: Failure) -> None:
    print(f"uwsgirouterctl events: {shown(failure)}; waiting for the router", file=sys.stderr, flush=True)


COMMAND = Command("events", "follow what happens to nodes and processes", _DESCRIPTION, _arguments, _run)

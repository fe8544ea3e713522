"""``uwsgirouterctl events``: what happens to a router's nodes and processes, as it happens."""

from __future__ import annotations

import argparse
import json
import sys

from uwsgirouter.control.base import Command, Exit, number
from uwsgirouter.control.channel import Channel
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.telling import told

_DESCRIPTION = """\
Tell what happens to the nodes (new ones, changes of state and why, those that are gone) and the processes (starts,
ends, reloads, orders of operators) of a running router, one line each, until Ctrl-C.

The router keeps the last 1000 events; --last shows some of them first."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument("--last", metavar="N", type=number(0, 1000), default=10, help="past events to begin with (10)")
    parser.add_argument("--no-follow", action="store_true", help="only those, then leave")
    parser.add_argument("--json", action="store_true", help="a JSON object a line")


def _run(options: argparse.Namespace) -> Exit:
    with Channel(control_path(options)) as channel:
        try:
            for event in channel.rows("events", last=options.last, follow=not options.no_follow):
                if "event" not in event:
                    continue
                print(json.dumps(event) if options.json else told(event))
                sys.stdout.flush()
        except KeyboardInterrupt:
            pass
    return Exit.OK


COMMAND = Command("events", "follow what happens to nodes and processes", _DESCRIPTION, _arguments, _run)

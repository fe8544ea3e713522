"""``uwsgirouterctl wait``: until a key has so many nodes that are up."""

from __future__ import annotations

import argparse

from uwsgirouter.control.base import Command, Exit, number, seconds, shown
from uwsgirouter.control.channel import Channel
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.ordering import UNKNOWN, Patience, nodes_of

_DESCRIPTION = """\
Wait until at least so many nodes of a key are up, and all workers of the router know them. Nodes that drain, failed, or
have not confirmed that they are still there after a restart of the router do not count."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument("key", metavar="KEY", help="the key; - for fastrouter-to, + for fastrouter-fallback")
    parser.add_argument("--min-nodes", metavar="N", type=number(1, 65535), required=True, help="how many must be up")
    parser.add_argument("--timeout", metavar="S", type=seconds, help="seconds to wait at most (default: no limit)")


def _run(options: argparse.Namespace) -> Exit:
    patience = Patience(options)
    with Channel(control_path(options)) as channel:
        while True:
            rows, settled = nodes_of(channel, options.key)
            up = sum(row["state"] == "up" for row in rows)
            if up >= options.min_nodes and settled:
                print(f"{shown(options.key)}: {up} of {len(rows)} nodes are up")
                return Exit.OK
            what = f"{shown(options.key)}: {up} of {len(rows)} nodes are up, not {options.min_nodes}"
            patience.pause(what if up < options.min_nodes else f"{shown(options.key)}: {up} nodes are up{UNKNOWN}")


COMMAND = Command("wait", "wait until so many nodes of a key are up", _DESCRIPTION, _arguments, _run)

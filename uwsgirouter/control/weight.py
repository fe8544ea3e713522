"""``uwsgirouterctl weight``: give a node another weight than it announces."""

from __future__ import annotations

import argparse

from uwsgirouter.control.base import Command, Exit, number, shown
from uwsgirouter.control.channel import Channel
from uwsgirouter.control.finding import control_path
from uwsgirouter.control.listing import name
from uwsgirouter.control.ordering import add_node_arguments
from uwsgirouter.protocol.subscription import WEIGHT_MAX

_DESCRIPTION = """\
Give a node another weight than it announces (or than the configuration gives it). That lasts until it is given the
weight - (or 0), whatever the node announces, and over reloads of the router."""

_ENDS = 0


def _weight(text: str) -> int:
    return _ENDS if text == "-" else number(0, WEIGHT_MAX)(text)


_weight.__name__ = "weight"


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_node_arguments(parser)
    parser.add_argument("weight", metavar="N", type=_weight, help=f"1 to {WEIGHT_MAX}; - for the announced one")


def _run(options: argparse.Namespace) -> Exit:
    with Channel(control_path(options)) as channel:
        rows = channel.ask("weight", key=options.key, node=options.node, weight=options.weight).rows
    for row in rows:
        print(f"{shown(options.key)} {name(row)}: weight {row['weight']} (its own: {row['own_weight']})")
    if not rows:
        print(f"{shown(options.key)} {shown(options.node)}: not there")
    return Exit.OK


COMMAND = Command("weight", "give a node another weight than it announces", _DESCRIPTION, _arguments, _run)

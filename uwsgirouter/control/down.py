"""``uwsgirouterctl down``: give a node no requests at all."""

from __future__ import annotations

import argparse
from functools import partial

from uwsgirouter.control.base import Command
from uwsgirouter.control.ordering import add_node_arguments, add_wait_arguments, give

_DESCRIPTION = """\
Take a node down: requests that are under way end, no new ones come, not even those of clients who hold a sticky cookie
of the node, nor when nobody else is left. That lasts until `uwsgirouterctl ready`, whatever the node announces, and
over reloads of the router."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_node_arguments(parser)
    add_wait_arguments(parser, "no request is under way there")


COMMAND = Command(
    "down",
    "give a node no requests at all",
    _DESCRIPTION,
    _arguments,
    partial(give, order="down", reached=lambda row: row is None or not row["in_flight"]),
)

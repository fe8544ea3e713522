"""``uwsgirouterctl drain``: give a node no new clients, and let it finish what it has."""

from __future__ import annotations

import argparse
from functools import partial

from uwsgirouter.control.base import Command
from uwsgirouter.control.ordering import add_node_arguments, add_wait_arguments, give

_DESCRIPTION = """\
Drain a node: requests that are under way end, new ones go elsewhere, but for those of clients who hold a sticky cookie
of the node. That lasts until `uwsgirouterctl ready`, whatever the node announces, and over reloads of the router."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_node_arguments(parser)
    add_wait_arguments(parser, "no request is under way there")


COMMAND = Command(
    "drain",
    "give a node no new clients",
    _DESCRIPTION,
    _arguments,
    partial(give, order="drain", reached=lambda row: row is None or not row["in_flight"]),
)

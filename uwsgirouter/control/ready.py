"""``uwsgirouterctl ready``: end an order, and let a node back."""

from __future__ import annotations

import argparse
from functools import partial

from uwsgirouter.control.base import Command
from uwsgirouter.control.ordering import add_node_arguments, add_wait_arguments, give

_DESCRIPTION = """\
Let a node back: ends `drain` and `down`, and counts for a node that failed as well. It is given requests at once if it
is announced (or configured). One that is not there loses its order, so that it is up when it comes."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_node_arguments(parser)
    add_wait_arguments(parser, "it is up")


COMMAND = Command(
    "ready",
    "let a node back that was drained, taken down or failed",
    _DESCRIPTION,
    _arguments,
    partial(give, order="ready", reached=lambda row: row is not None and row["state"] == "up"),
)

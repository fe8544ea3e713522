"""What the commands that give an order about one node share: arguments, the order, the wait, the last word.

One idea: an order is in force at once, and ``--wait`` only looks on: until every worker knows it, and then until what
is waited for is so. A wait that takes too long leaves the order in force.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from uwsgirouter.control.base import Exit, Failure, seconds, shown
from uwsgirouter.control.channel import Channel, Refusal, Row
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.listing import name
from uwsgirouter.protocol.control import Trouble
from uwsgirouter.settings.address import parse_peer

LOOK_EVERY = 0.1
"""Seconds between two looks of a wait."""
TELL_AFTER = 5.0
"""Seconds after which a wait says what it waits for, once."""
UNKNOWN = "; a worker does not know it yet"


def add_node_arguments(parser: argparse.ArgumentParser) -> None:
    """Which router, which key, which node."""
    add_arguments(parser)
    parser.add_argument("key", metavar="KEY", help="the node's key; - for fastrouter-to, + for fastrouter-fallback")
    parser.add_argument("node", metavar="NODE", help="its address, as `uwsgirouterctl nodes` lists it")


def add_wait_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """``--wait`` until ``what``, and for how long."""
    parser.add_argument("--wait", action="store_true", help=f"wait until {what}")
    parser.add_argument("--timeout", metavar="S", type=seconds, help="seconds to wait at most (default: no limit)")


def give(options: argparse.Namespace, order: str, reached: Callable[[Row | None], bool]) -> Exit:
    """Give ``order``; with ``--wait`` until ``reached(row)``, of a node that is gone with None."""
    if options.timeout is not None and not options.wait:
        raise Failure(Exit.USAGE, "--timeout is for --wait")
    with Channel(control_path(options)) as channel:
        row = next(iter(channel.ask(order, key=options.key, node=options.node).rows), None)
        if options.wait:
            row = _wait(channel, options, row, reached)
    print(f"{shown(options.key)} {told(row, options.node)}")
    return Exit.OK


def told(row: Row | None, node: str) -> str:
    """A node and how it is, in a line."""
    if row is None:
        return f"{shown(node)}: not there"
    return f"{name(row)}: {row['state']}, {_requests(row)} under way ({shown(row['why'])})"


class Patience:
    """The pauses of a wait. It ends at ``--timeout``, and does not go on for long without a word."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._command: str = options.command
        self._timeout: float = float("inf") if options.timeout is None else options.timeout
        self._began = time.monotonic()
        self._has_told = False

    def pause(self, what: str) -> None:
        """Until the next look; ``what`` is so, and not what is waited for. Raises :class:`Failure` at the end."""
        waited = time.monotonic() - self._began
        if waited >= self._timeout:
            raise Failure(Exit.TIMEOUT, f"not within {self._timeout:g} s: {what}")
        if waited >= TELL_AFTER and not self._has_told:
            self._has_told = True
            print(f"uwsgirouterctl {self._command}: waiting: {what}", file=sys.stderr, flush=True)
        time.sleep(LOOK_EVERY)


def nodes_of(channel: Channel, key: str) -> tuple[list[Row], bool]:
    """The nodes of a key, none if it has none, and whether all workers know them so."""
    try:
        answer = channel.ask("nodes", key=key)
    except Refusal as refusal:
        if refusal.trouble is not Trouble.NO_KEY:
            raise
        return [], refusal.settled
    return [row for row in answer.rows if row.get("state") != "absent"], answer.settled


def _wait(
    channel: Channel, options: argparse.Namespace, row: Row | None, reached: Callable[[Row | None], bool]
) -> Row | None:
    patience = Patience(options)
    node = parse_peer(options.node if row is None else str(row["node"])).identity
    known = False
    while True:
        rows, settled = nodes_of(channel, options.key)
        row = next((row for row in rows if row["node"] and parse_peer(str(row["node"])).identity == node), None)
        known = known or settled
        if known and reached(row):
            return row
        patience.pause(told(row, options.node) + ("" if known else UNKNOWN))


def _requests(row: Row) -> str:
    count = row.get("in_flight")
    return f"{count} request" if count == 1 else f"{count} requests"

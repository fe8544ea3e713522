"""``uwsgirouterctl trace KEY``: what is decided for the next requests of a key, step by step."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from uwsgirouter.control.base import Command, Exit, number, shown
from uwsgirouter.control.channel import Channel, Row
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.status import sound

_DESCRIPTION = """\
Print each decision for the next requests of KEY: the rules that acted, the nodes to choose from, each attempt and what
came of it, with the time since the request was here; and at the end its status and times.

KEY is the request's own host, the key that rules or mountpoints made of it, or the key under which `uwsgirouterctl
nodes` lists its nodes: - for those of fastrouter-to, + for requests that went to a fallback. Requests that fail before
they have a key have no trace; their log lines and `uwsgirouterctl status` tell."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument("key", metavar="KEY", help="the key, as `uwsgirouterctl nodes` lists it")
    parser.add_argument("--count", "-n", metavar="N", type=number(1, 1000), default=1, help="requests to trace (1)")
    parser.add_argument("--json", action="store_true", help="a JSON object a line")


def _run(options: argparse.Namespace) -> Exit:
    with Channel(control_path(options)) as channel:
        try:
            for row in channel.rows("trace", key=options.key, count=options.count):
                _tell(row, options)
        except KeyboardInterrupt:
            pass
    return Exit.OK


def _tell(row: Row, options: argparse.Namespace) -> None:
    trace = row.get("trace")
    if isinstance(trace, dict):
        print(json.dumps(trace) if options.json else "\n".join(sound(lines, trace)))
        sys.stdout.flush()
    elif "missed" in row:
        _say(f"{shown(row['missed'])} requests are not shown: they came faster than they were read")
    elif "tracing" in row and not options.json:
        _say(f"waiting for a request of {shown(options.key)} ...")


def _say(text: str) -> None:
    print(f"uwsgirouterctl trace: {text}", file=sys.stderr, flush=True)


def lines(trace: dict[str, Any]) -> list[str]:
    """One request for people."""
    who = f"request {shown(trace['id'])} key {shown(trace['key'])} worker {trace['worker']}"
    found = [f"{who}: {shown(trace['request'])}"]
    found += [f"  {moment:9.3f} ms  {shown(text)}" for moment, text in trace["steps"]]
    if trace["omitted"]:
        found.append(f"  ... and {trace['omitted']} steps more")
    times = [
        f"{name} {trace[field]:.3f} ms"
        for name, field in (
            ("queue", "queue_ms"),
            ("connect", "connect_ms"),
            ("first byte", "ttfb_ms"),
            ("total", "total_ms"),
        )
        if trace[field] is not None
    ]
    node = f" by {shown(trace['node'])}" if trace["node"] else ""
    failed = f", failed: {shown(trace['cause'])}" if trace["cause"] else ""
    size = f"{trace['to_node']} bytes to nodes, {trace['from_node']} from them"
    status = f"status {trace['status'] or '-'}{node}, {trace['tries']} tries{failed}"
    found.append(f"  {'; '.join([status, size, *times])}")
    return found


COMMAND = Command("trace", "print each decision for the next requests of a key", _DESCRIPTION, _arguments, _run)

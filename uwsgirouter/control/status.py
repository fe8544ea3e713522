"""``uwsgirouterctl status``: how a running router is, and what went wrong lately."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from uwsgirouter.control.base import Command, Exit, Failure, shown
from uwsgirouter.control.channel import Channel
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.listing import age
from uwsgirouter.control.telling import told

_DESCRIPTION = """\
Tell how a running router is: its processes, its nodes, what requests failed of and why, and what happened last.

Each failure names its cause, how often it occurred in the last minute and since the start, and the last request that
it happened to; docs/failures.md says what to do about each. With --json, the same as an object."""

Status = dict[str, Any]


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="a JSON object")


def ask(channel: Channel) -> Status:
    """The router's answer. Raises :class:`Failure`."""
    found: Status | None = None
    for row in channel.rows("status"):
        status = row.get("status")
        if isinstance(status, dict):
            found = status
    if found is None:
        raise Failure(Exit.BAD_HEAD, "the router gave no status; is it older than this command?")
    return found


def _run(options: argparse.Namespace) -> Exit:
    with Channel(control_path(options)) as channel:
        status = ask(channel)
    if options.json:
        print(json.dumps(status, indent=1))
    else:
        sys.stdout.write("\n".join(lines(status, time.time())) + "\n")
    return Exit.OK


def lines(status: Status, now: float) -> Iterator[str]:
    """The status for people; ``now`` is the wall clock's."""
    yield (
        f"uwsgirouter {shown(status['version'])} ({shown(status['form'])}), master pid {status['pid']}, "
        f"up {age(status['uptime'])}, {shown(status['source'])}: {shown(status['stage'])}"
    )
    yield from _workers(status)
    yield from _nodes(status, now)
    totals = status["totals"]
    yield (
        f"requests: {totals['requests']}, answered {totals['answered']}, retries {totals['retries']}, failed connects "
        f"{totals['failed_connects']}, clients gone {totals['clients_gone']}, cut off {totals['cut_off']}"
    )
    yield from _failures(status, now)
    if status["datagrams_rejected"]:
        yield f"datagrams refused: {shown(status['datagrams_rejected'])}"
    if status["events"]:
        yield "last events:"
        for event in status["events"]:
            yield "  " + told(event, now)


def _workers(status: Status) -> Iterator[str]:
    workers = sorted(status["workers"], key=lambda row: (row["generation"], row["number"]))
    yield f"workers: {len(workers)}, {status['workers_wanted']} wanted"
    for row in workers:
        memory = f", {row['rss'] / 2**20:.0f} MB" if "rss" in row else ""
        used = f", {row['cpu']:.1f} s of CPU" if "cpu" in row else ""
        yield (
            f"  worker {row['number']} (pid {row['pid']}, generation {row['generation']}): {shown(row['state'])}, "
            f"{row['sessions']} sessions, {row['requests']} requests{used}{memory}, since {age(row['age'])}"
        )


def _nodes(status: Status, now: float) -> Iterator[str]:
    states = ", ".join(f"{number} {shown(state)}" for state, number in sorted(status["nodes"].items()))
    yield f"nodes: {states or 'none'}; {status['keys']} keys"
    for row in status["out_of_service"]:
        yield (
            f"  {shown(row['node'])} of {shown(row['key'])} is {shown(row['state'])} for {age(now - row['since'])}: "
            f"{shown(row['why']) or '-'}"
        )
    if status["out_of_service_more"]:
        yield f"  ... and {status['out_of_service_more']} more (uwsgirouterctl nodes lists all)"


def _failures(status: Status, now: float) -> Iterator[str]:
    if not status["failures"]:
        yield "failures: none"
        return
    yield "failures:"
    for row in status["failures"]:
        yield (
            f"  {row['status']} {shown(row['cause'])}: {row['last_minute']} in the last minute, {row['total']} in all. "
            f"{shown(row['sentence'])}"
        )
        last = row.get("last")
        if last is not None:
            node = f", node {shown(last['node'])}" if last["node"] else ""
            detail = f" ({shown(last['detail'])})" if last["detail"] else ""
            yield (
                f"      last {age(now - last['at'])} ago: key {shown(last['key']) or '-'}{node}{detail}, "
                f"worker {last['worker']}, id {shown(last['id'])}"
            )


COMMAND = Command("status", "tell how a router is, and what went wrong lately", _DESCRIPTION, _arguments, _run)

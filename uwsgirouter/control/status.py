"""``uwsgirouterctl status``: how a running router is, and what went wrong lately."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from uwsgirouter.control.base import Command, Exit, Failure, number, shown
from uwsgirouter.control.channel import Channel
from uwsgirouter.control.complaints import Status, complaints
from uwsgirouter.control.finding import add_arguments, control_path
from uwsgirouter.control.listing import age
from uwsgirouter.control.telling import told

_DESCRIPTION = """\
Tell how a running router is. The first lines say what needs an operator, if anything does; then come its processes, its
nodes, what requests failed of, and what happened last.

Each failure names its cause, how often it occurred in the last minute and since the start, and the last request that
it happened to; docs/failures.md says what to do about each. With --json, the same as an object.

--check is for monitoring: only the first lines, and exit code 1 if there are any."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--json", action="store_true", help="a JSON object")
    ways.add_argument("--check", action="store_true", help="only what needs an operator; exit code 1 if something does")
    parser.add_argument(
        "--allow",
        metavar="N",
        type=number(0, 1_000_000_000),
        default=0,
        help="failed requests in the last minute that need nobody (0)",
    )


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


def sound(work: Any, *arguments: Any) -> Any:
    """``work(*arguments)`` over what a router said. Raises :class:`Failure` when it is not what is expected."""
    try:
        return work(*arguments)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"the router's answer is not understood ({error!r}); is it of another version than this command?"
        raise Failure(Exit.BAD_HEAD, reason) from None


def _run(options: argparse.Namespace) -> Exit:
    with Channel(control_path(options)) as channel:
        status = ask(channel)
    if options.json:
        print(json.dumps(status, indent=1))
        return Exit.OK
    found: list[str] = sound(complaints, status, time.time(), options.allow)
    if options.check:
        print("\n".join(found or ["ok"]))
        return Exit.TROUBLE if found else Exit.OK
    text: list[str] = sound(lambda: list(lines(status, time.time(), found)))
    sys.stdout.write("\n".join(text) + "\n")
    return Exit.OK


def lines(status: Status, now: float, found: list[str]) -> Iterator[str]:
    """The status for people, :func:`complaints` that were ``found`` first; ``now`` is the wall clock's."""
    yield from (f"TROUBLE: {line}" for line in found)
    if not found:
        yield "nothing needs an operator"
    yield (
        f"uwsgirouter {shown(status['version'])} ({shown(status['form'])}), master pid {status['pid']}, "
        f"up {age(status['uptime'])}, {shown(status['source'])}: {shown(status['stage'])}"
    )
    yield from _workers(status)
    yield from _listeners(status)
    yield from _nodes(status, now)
    totals, lately = status["totals"], status["lately"]
    yield (
        f"requests: {totals['requests']} ({lately['requests']} in the last minute), answered {totals['answered']}, "
        f"retries {totals['retries']}, failed connects {totals['failed_connects']}, "
        f"clients gone {totals['clients_gone']}, cut off {totals['cut_off']}"
    )
    yield from _failures(status, now)
    if status["datagrams_rejected"]:
        yield f"announcements refused: {shown(status['datagrams_rejected'])}"
    if status["log_lines_dropped"]:
        yield f"lines of the log dropped: {status['log_lines_dropped']}"
    if status["events"]:
        yield "last events:"
        for event in status["events"]:
            yield "  " + told(event, now)


def _workers(status: Status) -> Iterator[str]:
    workers = sorted(status["workers"], key=lambda row: (row["generation"], row["number"]))
    more = f" and {status['workers_more']} more" if status["workers_more"] else ""
    yield f"workers: {len(workers)}{more}, {status['workers_wanted']} wanted"
    for row in workers:
        state = f"stuck for {row['silent']:.0f} s" if row["stuck"] else shown(row["state"])
        left = f", {age(row['leaves_in'])} left" if row["leaves_in"] is not None else ""
        yield (
            f"  worker {row['number']} (pid {row['pid']}, generation {row['generation']}): {state}{left}, "
            f"{row['sessions']} sessions, {row['requests']} requests, {row['cpu']:.1f} s of CPU, "
            f"{row['rss'] / 2**20:.0f} MB, since {age(row['age'])}"
        )
    for row in status["attendants"]:
        yield f"  {shown(row['name'])} (pid {row['pid']}): {shown(row['state'])}, since {age(row['age'])}"


def _listeners(status: Status) -> Iterator[str]:
    rows = [
        f"{shown(row['name'])} ({row['waiting']} of {row['room']})" if row["room"] else shown(row["name"])
        for row in status["listeners"]
    ]
    yield f"listeners (connections that wait): {', '.join(rows) or 'none'}"
    overflows = status["lately"]["backlog_overflows"]
    if overflows:
        yield f"  this machine's listeners, not only ours, had no room for {overflows} connections in the last minute"


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

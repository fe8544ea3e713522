"""The channels to all workers: what changed goes down, what workers tell goes to whom it concerns.

One idea: the supervisor decides about processes, and here is only the traffic: each pass of its loop writes what waits,
and what a worker says of nodes goes to the registrar without a stop. A channel whose end is closed is let go of; that
the process ended is seen by whoever reaps it. It starts, stops and judges no worker. Nothing here blocks.
Invariant: a channel is in the selector exactly while its socket is open.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable

from uwsgirouter.master.fleet import Fleet, Member
from uwsgirouter.master.registrar import Registrar

Message = list[object]


class Channels:
    """The channels of ``fleet``; ``hear`` gets what a worker says of itself."""

    def __init__(self, selector: selectors.BaseSelector, fleet: Fleet, hear: Callable[[Member, Message], None]) -> None:
        self._selector = selector
        self._fleet = fleet
        self._hear = hear

    def open(self, member: Member, registrar: Registrar) -> None:
        """Listen to a new worker; ``registrar`` is told what it says of nodes."""
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        self._selector.register(member.downlink.sock, events, lambda: self._serve(member, registrar))

    def close(self, member: Member) -> None:
        """The worker's end is closed: its exit follows, and is reaped."""
        if member.downlink.sock.fileno() >= 0:
            self._selector.unregister(member.downlink.sock)
            member.downlink.close()

    def node_changed(self, id: int) -> None:
        """All workers are to hear of node ``id``."""
        for member in self._fleet.members.values():
            member.downlink.node_changed(id)

    def settled(self) -> bool:
        """Whether every worker knows of all that changed."""
        return all(member.downlink.heard for member in self._fleet.members.values())

    def write(self) -> None:
        """Send what waits, as far as there is room."""
        for member in list(self._fleet.members.values()):
            if member.downlink.sock.fileno() < 0:
                continue
            if member.downlink.waiting:
                try:
                    member.downlink.write()
                except OSError:
                    self.close(member)
                    continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.downlink.waiting else 0)
            key = self._selector.get_key(member.downlink.sock)
            if key.events != events:
                self._selector.modify(member.downlink.sock, events, key.data)

    def _serve(self, member: Member, registrar: Registrar) -> None:
        """A worker's channel is ready for something."""
        messages = member.downlink.read()
        if messages is None:
            self.close(member)
            return
        for message in messages:
            if not hear_of_nodes(registrar, message, time.monotonic()):
                self._hear(member, message)


def hear_of_nodes(registrar: Registrar, message: Message, now: float) -> bool:
    """Whether ``message`` spoke of a node. What is malformed is dropped: a worker may have fewer rights than we."""
    match message:
        case ["failed", int(id), reason]:
            registrar.node_failed(id, str(reason)[:100], now)
        case ["faults", int(id), int(count)]:
            registrar.node_faulty(id, count, now)
        case ["answered", int(id)]:
            registrar.node_answered(id, now)
        case ["wake", int(id)]:
            registrar.node_wanted(id, now)
        case _:
            return False
    return True

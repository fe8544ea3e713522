"""Who wants to know of requests: asked at a request's beginning, told at its end.

One idea: the sinks (access log, measures, trace) are functions of a session and its record, called once, when the
session is over, in the worker's loop; so none of them may wait. A configuration without any has no observer, and its
sessions no record. It must not know what a sink does with it.
Invariants: each record goes to each sink once; a request that brings an id keeps it, whatever else it brings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from uwsgirouter.model.tallies import NodeTallies
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.packet import value_of, with_appended
from uwsgirouter.worker.record import Record

if TYPE_CHECKING:
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.session import Session

Sink = Callable[["Session", Record], None]

MILLISECONDS = 1000.0
ID_VARIABLE = b"HTTP_X_REQUEST_ID"
_ID = re.compile(rb"[!#-;=?-~]{1,128}")
"""What an id from outside may be: printable, nothing that ends a field of a log or begins a tag."""
_MADE = 32
"""Bytes of an id that is made here."""
_NAMED = len(ID_VARIABLE).to_bytes(2, "little") + ID_VARIABLE + _MADE.to_bytes(2, "little")
"""What stands before one in a packet."""
_DIGITS = tuple(b"%02x" % number for number in range(256))


def acceptable(given: bytes) -> bytes:
    """``given`` if it may be an id, else nothing."""
    return given if given and _ID.fullmatch(given) is not None else b""


class Ids:
    """Request ids of one worker: those that requests bring, and new ones."""

    __slots__ = ("_count", "_high", "_prefix", "_stem")

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex().encode()
        self._count = 0
        self._high = int.from_bytes(os.urandom(4), "big")
        self._stem = b""
        """All of an id but its last two digits."""

    def of(self, packet: bytes, end: int) -> bytes:
        """The id that a packet which was scanned brings; empty when it has none, or one that no log can hold."""
        return acceptable(value_of(packet, end, ID_VARIABLE))

    def new(self) -> bytes:
        """32 hexadecimal digits that no other request has."""
        low = self._count & 255
        if not low:
            self._high += 1
            self._stem = self._prefix + b"%014x" % self._high
        self._count += 1
        return self._stem + _DIGITS[low]


class Observer:
    """What one worker observes. ``passes_ids``: a request without an id gets one, and its node is told."""

    __slots__ = ("_ids", "_passes_ids", "ends", "keeps_head", "sinks", "tallies", "traces")

    def __init__(self, ids: Ids, passes_ids: bool) -> None:
        self._ids = ids
        self._passes_ids = passes_ids
        self.sinks: list[Sink] = []
        self.ends: list[Callable[[], None]] = []
        """What is to be called when the worker leaves."""
        self.keeps_head = False
        """Whether a sink wants the heads of responses."""
        self.tallies: NodeTallies | None = None
        self.traces: frozenset[bytes] | None = None
        """The keys for whose requests somebody wants to know what is decided, step by step."""

    def begin(self, session: Session, key: bytes) -> None:
        """The packet of ``session`` is here and well-formed; its own key is ``key``."""
        record = session.record = Record(self.keeps_head)
        record.key = key
        if self.traces is not None:
            record.steps = []
        if not self._passes_ids:
            return
        session.request_id = self._ids.of(session.packet, session.end)
        if not session.request_id:
            session.request_id = self._ids.new()
            packet = with_appended(session.packet, session.end, _NAMED + session.request_id)
            session.end += len(packet) - len(session.packet)  # 0 when it has no room: the node is not told
            session.packet = packet

    def left(self, session: Session) -> None:
        """``session`` leaves its node, or a second has passed: its bytes so far go to the node's tallies."""
        record, node = session.record, session.node
        if record is None or node is None or self.tallies is None:
            return
        id = node.id
        if record.connected and not record.counted:
            record.counted = True
            self.tallies.began(id, int(record.connected * MILLISECONDS))
        self.tallies.moved(id, record.rx - record.rx_told, record.tx - record.tx_told)
        record.rx_told = record.rx
        record.tx_told = record.tx

    def refused(self, node: Node) -> None:
        """``node`` did not accept a connection."""
        if self.tallies is not None:
            self.tallies.failed(node.id)

    def failed(self, session: Session, cause: Cause) -> None:
        """``session`` is given the failure answer for ``cause``, perhaps before its packet was whole."""
        record = session.record
        if record is None:
            record = session.record = Record(False)
        record.cause = cause.value.word
        record.status = cause.value.status
        if not record.packet and cause is not Cause.BAD_PACKET:  # no variable of it could be looked for
            record.keep(session.packet, session.end)

    def close(self) -> None:
        """The worker leaves."""
        for end in self.ends:
            end()

    def over(self, session: Session) -> None:
        """``session`` is about to close."""
        record = session.record
        assert record is not None
        if not record.ended:
            record.ended = monotonic()
        if not record.packet:
            record.keep(session.packet, session.end)
        if session.routed is not None:
            session.routed.note(record)
        for sink in self.sinks:
            sink(session, record)

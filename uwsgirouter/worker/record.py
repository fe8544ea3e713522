"""What is noted of one request while somebody wants to know: when what happened, how much was moved, how it ended.

One idea: a session has a record only in configurations that observe (an access log, statistics, a trace); the others
pay for a comparison with None. The session's steps write down what they know as they pass, and whoever observes reads
it when the session is over (worker/observer.py). It must not know who reads it. Invariant: a time is 0.0 until its
moment has come; ``dialled`` and ``connected`` are those of the last attempt.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uwsgirouter.model.node import Node
    from uwsgirouter.worker.relay import Pump

HEAD_MOST = 65536
"""Bytes of a response in which its head is looked for."""
_HEADER = 4
"""Bytes in front of a packet's variables."""
_STATUS_END = 12
"""``HTTP/1.1 200`` has so many bytes."""
_INTERIM = ord("1")
_H, _SLASH, _ZERO, _NINE = b"H/09"
_SWITCHING = 101


class Record:
    """Monotonic seconds, bytes, and words for the log. ``steps``: what a trace collects (seconds since the
    beginning, and what was decided), None without one."""

    __slots__ = (
        "_looks",
        "_partial",
        "began",
        "cause",
        "connected",
        "counted",
        "dialled",
        "ended",
        "first",
        "head",
        "keeps_head",
        "key",
        "logvars",
        "own",
        "packet",
        "rx",
        "rx_told",
        "slot",
        "sought",
        "status",
        "steps",
        "tx",
        "tx_told",
        "unlogged",
    )

    def __init__(self, keeps_head: bool) -> None:
        """``keeps_head``: somebody wants more of the response's head than its status."""
        self.keeps_head = keeps_head
        self.began = monotonic()
        """The packet was here."""
        self.sought = 0.0
        """A node was looked for the first time: rules have run, the body is buffered."""
        self.dialled = 0.0
        self.connected = 0.0
        """The packet went out."""
        self.first = 0.0
        """The first byte of the response came."""
        self.ended = 0.0
        self.rx = 0
        """Bytes that nodes were sent, packet included, over all attempts."""
        self.tx = 0
        """Bytes that came from nodes."""
        self.rx_told = 0
        self.tx_told = 0
        """How many of them are in the node's tallies."""
        self.counted = False
        """Whether the last attempt is in them."""
        self.own = 0
        """Bytes of an answer that the router or its rules made; 0: the node's went out as it came."""
        self.status = 0
        """Of the response; 0: none was seen."""
        self.cause = ""
        """How it failed: the word of a Cause, or ``client-gone``; empty: it did not."""
        self.key = b""
        """What it was looked for by, before anything was put in its place."""
        self.slot: bytes | None = None
        """The key under which its nodes stand, as far as a trace has noted it."""
        self.packet = b""
        """The packet (without the body), when the session has let go of it."""
        self.head = b""
        """The first bytes of the response up to its body, if somebody wants them."""
        self.logvars: dict[bytes, bytes] | None = None
        """What rules noted for the log."""
        self.unlogged = False
        """A rule wants no line for it."""
        self.steps: list[tuple[float, str]] | None = None
        self._partial = b""
        self._looks = True

    def keep(self, packet: bytes, end: int) -> None:
        """The session lets go of ``packet``, which ends before ``end``: a body may have been put behind it."""
        if end >= _HEADER:
            view = packet  # a pointer in the compiled form
            size = _HEADER + view[1] + (view[2] << 8)
            self.packet = packet[: size if size < end else end]

    def step(self, text: str) -> None:
        """Something was decided: a line of the trace, if there is one."""
        if self.steps is not None:
            self.steps.append((monotonic() - self.began, text))

    def dial(self, node: Node) -> None:
        """An attempt begins."""
        if self.steps is not None:
            self.step(f"dial {node.address.text}")
        self.dialled = monotonic()
        self.connected = 0.0
        self.counted = False
        if not self.sought:
            self.sought = self.dialled

    def sent(self, count: int) -> None:
        """The connection is made and the packet, of ``count`` bytes, is out."""
        self.connected = monotonic()
        self.rx += count
        if self.steps is not None:
            self.step(f"connected; the request is sent, {count} bytes")

    def came(self, count: int, pump: Pump) -> None:
        """``pump`` read ``count`` bytes of the response."""
        self.tx += count
        if not self.first and count:
            self.first = monotonic()
            self.step("first byte of the response")
        if self._looks and not self._glances(pump, count):
            data = pump.seen(count)
            if data is None:
                self._looks = False  # rules see it, and know its status
            else:
                self.show(data)

    def _glances(self, pump: Pump, count: int) -> bool:
        """Whether the status is known by the first bytes, as it mostly is, and wanted alone."""
        if self.keeps_head or self._partial or count < _STATUS_END:
            return False
        line = pump.seen(_STATUS_END)
        if line is None or len(line) < _STATUS_END or line[9] == _INTERIM:
            return False
        self.status = status_of(line)
        self._looks = False
        return True

    def show(self, data: bytes) -> None:
        """The next bytes of a response whose status, or head, is not known yet."""
        if not self._looks:
            return
        self._partial += data[: HEAD_MOST - len(self._partial)]
        while len(self._partial) >= _STATUS_END and self._skips_interim(self._partial):
            pass

    def _skips_interim(self, data: bytes) -> bool:
        """Take what ``data`` says of the head; true when another head begins in what is left of it."""
        self.status = status_of(data)
        end = data.find(b"\r\n\r\n") + 4
        if self.status // 100 == 1 and self.status != _SWITCHING:
            if end < 4:
                if len(data) >= HEAD_MOST:
                    self._look_no_more()
                return False
            self._partial = data[end:]
            return True
        if not self.keeps_head or end >= 4 or len(data) >= HEAD_MOST:
            self.head = data[:end] if self.keeps_head and end >= 4 else b""
            self._look_no_more()
        return False

    def _look_no_more(self) -> None:
        self._looks = False
        self._partial = b""


def status_of(line: bytes) -> int:
    """The status in the first bytes of a response; 0 when they are no HTTP."""
    view = line  # a pointer in the compiled form
    if len(line) < _STATUS_END or view[0] != _H or view[4] != _SLASH:
        return 0
    number = 0
    for at in range(9, 12):
        if not _ZERO <= view[at] <= _NINE:
            return 0
        number = 10 * number + view[at] - _ZERO
    return number

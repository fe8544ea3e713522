"""One header line more in the head of a response, the only thing that this router ever changes in one.

One idea: the bytes of the node are read up to the end of the status line, the line of ours goes behind it, and all that
is there is handed to the session's pump as if it had just been read; from then on the response is relayed as any other.
Interim responses (100, 103) are passed on as they come, the line goes into the one that follows them. What does not
begin like an HTTP response is passed on at once, as it is. Used only for responses that get a cookie.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.streams import Stream

if TYPE_CHECKING:
    from uwsgirouter.worker.session import Session

HEAD_MAX = 4096
"""Bytes in which a status line, and an interim response, must end; one that is longer is passed on as it is."""
_BEGIN = b"HTTP/"
_INTERIM = re.compile(rb"HTTP/[0-9.]+ +1(?!01)\d\d\b")
"""The beginning of a response that another one follows (101 is the last in HTTP)."""
_END = re.compile(rb"\n\r?\n")
_READ = 65536
_FLAGS = 0x4040
_DONTWAIT = 0x40


class Heading:
    """Waits for the status line of ``upstream``'s response, and puts ``line`` behind it."""

    def __init__(self, session: Session, pump: Pump, upstream: Stream, line: bytes) -> None:
        self.session = session
        self._pump = pump
        self._upstream = upstream
        self._line = line
        self._head = b""
        pump.at = -1

    def on_readable(self) -> None:
        """The node has something to say."""
        session = self.session
        scratch = session.router.scratch
        try:
            count = self._upstream.recv_into(scratch, _READ, _DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._go_on()
            session.source_failed(self._pump, error)
            return
        session.silence = 0
        self._head += scratch[:count].tobytes()
        while (end := self._interim()) > 0:
            if not self._pass_interim(end):
                return
        if not count and not self._head:
            self._go_on()
            self._pump.flow = Flow.ENDED
            session.ended(self._pump)
        elif not count or len(self._head) >= HEAD_MAX or (not end and self._is_begun()):
            self._pass_on()

    def _interim(self) -> int:
        """Where a whole interim response ends; 0: there is none, -1: it is not whole."""
        if not _INTERIM.match(self._head):
            return 0
        end = _END.search(self._head)
        return end.end() if end else -1

    def _pass_interim(self, end: int) -> bool:
        """Whether all of it went to the client, who may be waiting for that before it goes on."""
        session, pump, data = self.session, self._pump, self._head[:end]
        try:
            sent = session.client.send(data, _FLAGS)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._go_on()
            session.sink_failed(pump, error)
            return False
        if session.record is not None:
            session.record.show(data)
        if sent == end:
            self._head = self._head[end:]
            session.moved(pump, end)
            return True
        # A client that does not even take this: it has to do without the line.
        rest, count = self._head[sent:], len(self._head)
        if session.record is not None:
            session.record.show(self._head[end:])
        self._go_on()
        session.moved(pump, count)
        pump.at = 0
        pump.start(rest)
        return False

    def _is_begun(self) -> bool:
        """Whether what is here is no HTTP, or its status line is whole."""
        return not _BEGIN.startswith(self._head[: len(_BEGIN)]) or b"\n" in self._head

    def _pass_on(self) -> None:
        session, data = self.session, self._head
        status, newline, rest = data.partition(b"\n")
        if newline and status.startswith(_BEGIN) and not _INTERIM.match(data):
            data = status + newline + self._line + rest
        self._go_on()
        if session.record is not None:
            session.record.show(self._head)
        session.moved(self._pump, len(data))
        self._pump.at = 0
        self._pump.start(data)

    def _go_on(self) -> None:
        self.session.unwatch()

"""One header line more in the head of a response, the only thing that this router ever changes in one.

One idea: the bytes of the node are read up to the end of the status line, the line of ours goes behind it, and all that
is there is handed to the session's pump as if it had just been read; from then on the response is relayed as any other.
What does not begin like an HTTP response is passed on as it is. Used only for responses that get a cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.streams import Stream

if TYPE_CHECKING:
    from uwsgirouter.worker.session import Session

STATUS_LINE_MAX = 4096
"""Bytes in which the status line must end; one that is longer is passed on as it is."""
_READ = 65536
_DONTWAIT = 0x40


class Heading:
    """Waits for the status line of ``upstream``'s response, and puts ``line`` behind it."""

    def __init__(self, session: Session, pump: Pump, upstream: Stream, line: bytes) -> None:
        self.session = session
        self._pump = pump
        self._upstream = upstream
        self._line = line
        self._head = b""

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
        if not count and not self._head:
            self._go_on()
            session.ended(self._pump)
        elif not count or b"\n" in self._head or len(self._head) >= STATUS_LINE_MAX:
            self._pass_on()

    def _pass_on(self) -> None:
        session, data = self.session, self._head
        status, newline, rest = data.partition(b"\n")
        if newline and status.startswith(b"HTTP/"):
            data = status + newline + self._line + rest
        self._go_on()
        session.moved(self._pump, len(data))
        self._pump.start(data)

    def _go_on(self) -> None:
        self.session.unwatch()

"""A pump: one direction of a session, from one socket to another, with a bounded number of bytes in hand.

One idea: read only when nothing is waiting to be written, so that the slower side sets the pace and memory stays at one
read's worth. It tries each system call first and waits only when told to. It knows sockets and watchers, nothing of
packets, nodes or phases: what an end or an error means is the session's to say.
Invariant: at any time a pump waits for exactly one thing (its source readable, or its sink writable) or has stopped.
"""

from __future__ import annotations

from socket import (
    MSG_DONTWAIT,
    MSG_MORE,
    MSG_NOSIGNAL,
    SHUT_WR,
)
from typing import Any

from uwsgirouter.worker.bulk import Bulk, begin
from uwsgirouter.worker.flow import Flow, Relaying
from uwsgirouter.worker.streams import Stream

FIRST_READ = 65536
"""Bytes of the first read; later ones grow while the sink keeps up."""
COPY_MOST = 262144
"""What they grow to, unless the buffer is smaller. Beyond it a copy leaves the processor's cache before it is sent."""
SLOW_READ = 16384
"""The least that is read at once for a sink that does not keep up."""
BULK_AFTER = 4
"""Such reads in a row, each taken at once, after which bytes are no longer copied through here."""

_READ = 1
_WRITE = 2
_RECEIVE_FLAGS = int(MSG_DONTWAIT)
_SEND_FLAGS = int(MSG_DONTWAIT | MSG_NOSIGNAL)
_LAST_FLAGS = int(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE)


# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_OPEN, _ENDING, _ENDED, _DISCARDING = Flow.OPEN, Flow.ENDING, Flow.ENDED, Flow.DISCARDING


class Pump:
    """Moves bytes from ``source`` to ``sink``. Start it with :meth:`start`; :meth:`stop` is safe at any time."""

    __slots__ = (
        "_bulk",
        "_full",
        "_late",
        "_loop",
        "_pending",
        "_readable",
        "_scratch",
        "_size",
        "_writable",
        "at",
        "flow",
        "hasty",
        "session",
        "sink",
        "source",
    )

    def __init__(self, loop: Any, scratch: memoryview, session: Relaying, source: Stream, sink: Stream) -> None:
        self._loop = loop
        self._scratch = scratch
        self.session = session
        self.source = source
        self.sink = sink
        self.flow = _OPEN
        self._pending: memoryview | None = None
        self._bulk: Bulk | None = None
        """What the events go to once it goes fast."""
        self._full = 0
        self._late: OSError | None = None
        """A failure of the source that was met before all that came first is written."""
        self.at = 0
        """Where in the scratch the last read was put; below 0: somebody else read it, and tells what it was."""
        self.hasty = False
        """Whether the end is looked for right behind the first bytes: short responses come whole, and then both are
        passed on in one segment, which spares the kernels of both sides a packet."""
        self._size = FIRST_READ if len(scratch) > FIRST_READ else len(scratch)
        self._readable: Any = None
        self._writable: Any = None

    @property
    def held(self) -> int:
        """Bytes read and not yet written."""
        piped = self._bulk.held if self._bulk is not None else 0
        return piped + (len(self._pending) if self._pending is not None else 0)

    def start(self, pending: bytes = b"") -> None:
        """Begin, with ``pending`` as if it had just been read."""
        if pending:
            self._pending = memoryview(pending)
            self._wait_writable()
        else:
            readable = self._readable = self._loop.io(self.source.fileno(), _READ)
            readable.start(self.on_readable)

    def seen(self, count: int) -> bytes | None:
        """The ``count`` bytes that were just read; None when they are not to be seen."""
        if self._bulk is not None:
            return None
        return self._scratch[self.at : self.at + count].tobytes() if self.at >= 0 else b""

    def stop(self) -> None:
        """Let go of the watchers; no call to the session follows."""
        if self._readable is not None:
            self._readable.stop()
            self._readable = None
        if self._writable is not None:
            self._writable.stop()
            self._writable = None
        self._pending = None
        self.leave_bulk()

    def discard(self) -> None:
        """The sink is gone: go on reading, and throw away what comes."""
        self._pending = None
        self.leave_bulk()
        if self._writable is not None:
            self._writable.stop()
            self._writable = None
        if self.flow is _OPEN:
            self.flow = _DISCARDING
            self._wait_readable()
        elif self.flow is _ENDING:
            self.flow = _ENDED

    def on_readable(self) -> None:
        """The source has something to say."""
        if self._bulk is not None:
            self._bulk.on_readable()
            return
        session = self.session
        try:
            count = self.source.recv_into(self._scratch, self._size, _RECEIVE_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            session.source_failed(self, error)
            return
        session.silence = 0
        if not count:
            self.source_ended()
            return
        if self.flow is _OPEN:
            session.moved(self, count)
            if self.hasty:
                self._look_for_end(count)
            else:
                self.write(self._scratch[:count], count)

    def _look_for_end(self, count: int) -> None:
        """The first ``count`` bytes are here: perhaps they are all."""
        self.hasty = False
        room = self._size - count
        more = -1
        if room > 0:
            try:
                more = self.source.recv_into(self._scratch[count:], room, _RECEIVE_FLAGS)
            except BlockingIOError:
                pass
            except OSError as error:
                self._late = error  # it is told once: what came before it is passed on first
        if more > 0:
            self.at = count
            self.session.moved(self, more)
            self.at = 0
            count += more
        if more:
            self.write(self._scratch[:count], count)
            if self._late is not None and self._pending is None and self._readable is not None:
                self._fail_late()
        else:
            self._write_last(self._scratch[:count], count)

    def _fail_late(self) -> None:
        error, self._late = self._late, None
        assert error is not None
        self.session.source_failed(self, error)

    def _write_last(self, data: memoryview, count: int) -> None:
        """The last bytes, and the end with them. (Ending the direction sends what MSG_MORE held back.)"""
        self._readable.stop()
        self.flow = _ENDING
        try:
            sent = self.sink.send(data, _LAST_FLAGS)
            if sent == count:
                self.sink.shutdown(SHUT_WR)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.session.sink_failed(self, error)
            return
        if sent == count:
            self._finish()
        else:
            self._pending = memoryview(bytes(data[sent:]))
            self._wait_writable()

    def write(self, data: memoryview, count: int) -> None:
        """Pass ``data``, of ``count`` bytes, on; what the sink does not take now is kept."""
        try:
            sent = self.sink.send(data, _SEND_FLAGS)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.session.sink_failed(self, error)
            return
        if sent == count:
            if count == self._size:
                self._grow(count)
            return
        self._full = 0
        self._size = min(len(self._scratch), max(SLOW_READ, min(self._size, sent)))
        self._pending = memoryview(bytes(data[sent:]))
        self.await_sink()

    def _grow(self, count: int) -> None:
        """The sink keeps up: read more at once, and after a while let the kernel move pages."""
        most = min(len(self._scratch), COPY_MOST)
        if count < most:
            self._size = min(2 * count, most)
            return
        self._full += 1
        if self._full == BULK_AFTER:
            self._bulk = begin(self, self._loop, self._size, len(self._scratch))

    def look(self) -> None:
        """Read what there is, if that is what the pump waits for."""
        if self._readable is not None and self._readable.active:
            self.on_readable()

    def leave_bulk(self) -> None:
        """Copy bytes again: these descriptors cannot be spliced, or it ends."""
        if self._bulk is not None:
            bulk, self._bulk = self._bulk, None
            bulk.close()
            self._full = BULK_AFTER + 1
            self._size = min(bulk.size, COPY_MOST)

    def on_writable(self) -> None:
        """The sink takes more."""
        if self._bulk is not None:
            self._bulk.on_writable()
            return
        pending = self._pending
        assert pending is not None
        try:
            sent = self.sink.send(pending, _SEND_FLAGS)
        except BlockingIOError:
            return
        except OSError as error:
            self.session.sink_failed(self, error)
            return
        self.session.silence = 0
        if sent < len(pending):
            self._pending = pending[sent:]
            return
        self._pending = None
        self._writable.stop()
        if self._late is not None:
            self._fail_late()
        elif self.flow is _ENDING:
            self._finish()
        else:
            self._wait_readable()

    def await_sink(self) -> None:
        """The sink takes no more: read on when it does."""
        self._readable.stop()
        self._wait_writable()

    def await_source(self) -> None:
        """All is written: read on."""
        self._writable.stop()
        self._wait_readable()

    def source_ended(self) -> None:
        """Its end was read."""
        self._readable.stop()
        self.flow = _ENDING
        if self._pending is None:
            self._finish()

    def _finish(self) -> None:
        self.flow = _ENDED
        self.session.ended(self)

    def _wait_readable(self) -> None:
        if self._readable is None:
            self._readable = self._loop.io(self.source.fileno(), _READ)
        self._readable.start(self.on_readable)

    def _wait_writable(self) -> None:
        if self._writable is None:
            self._writable = self._loop.io(self.sink.fileno(), _WRITE)
        self._writable.start(self.on_writable)

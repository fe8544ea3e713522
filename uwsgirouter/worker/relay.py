"""A pump: one direction of a session, from one socket to another, with a bounded number of bytes in hand.

One idea: read only when nothing is waiting to be written, so that the slower side sets the pace and memory stays at one
read's worth. It tries each system call first and waits only when told to. It knows sockets and watchers, nothing of
packets, nodes or phases: what an end or an error means is the session's to say.
Invariant: at any time a pump waits for exactly one thing (its source readable, or its sink writable) or has stopped.
"""

from __future__ import annotations

import fcntl
import termios
from enum import Enum
from socket import (
    AF_UNIX,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_MORE,
    MSG_NOSIGNAL,
    SHUT_WR,
    SO_RCVLOWAT,
    SOL_SOCKET,
    TCP_NODELAY,
)
from typing import Any, Protocol

from uwsgirouter.worker import pipes
from uwsgirouter.worker.gathering import MARK, Gathering, gathering
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


class Flow(Enum):
    """What a pump is doing."""

    OPEN = "relaying"
    ENDING = "its source ended; the rest is being written"
    ENDED = "its end was passed on"
    DISCARDING = "its sink is gone; what comes is thrown away"


# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_OPEN, _ENDING, _ENDED, _DISCARDING = Flow.OPEN, Flow.ENDING, Flow.ENDED, Flow.DISCARDING


class Relaying(Protocol):
    """What a pump tells its session. Each call may close the session; the pump touches nothing after it."""

    silence: int

    def moved(self, pump: Pump, count: int) -> None:
        """``count`` bytes were read."""

    def awaited(self, pump: Pump) -> int:
        """Bytes that the source still sends for sure, WHOLE if its end comes behind them, 0 if nobody knows."""

    def ended(self, pump: Pump) -> None:
        """The source ended and everything was written."""

    def source_failed(self, pump: Pump, error: OSError) -> None:
        """Reading failed: a reset."""

    def sink_failed(self, pump: Pump, error: OSError) -> None:
        """Writing failed: the peer is gone."""


class Pump:
    """Moves bytes from ``source`` to ``sink``. Start it with :meth:`start`; :meth:`stop` is safe at any time."""

    __slots__ = (
        "_full",
        "_gathering",
        "_late",
        "_loop",
        "_mark",
        "_pending",
        "_pipe",
        "_readable",
        "_scratch",
        "_size",
        "_writable",
        "fed",
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
        self._pipe: pipes.Pipe | None = None
        self._full = 0
        self._gathering: Gathering | None = None
        self._mark = 0
        """Bytes below which the kernel does not call the source readable; 0: any are told."""
        self.fed = False
        """Whether a marked source was read from since somebody last looked."""
        self._late: OSError | None = None
        """A failure of the source that was met before all that came first is written."""
        self.hasty = False
        """Whether the end is looked for right behind the first bytes: short responses come whole, and then both are
        passed on in one segment, which spares the kernels of both sides a packet."""
        self._size = FIRST_READ if len(scratch) > FIRST_READ else len(scratch)
        self._readable: Any = None
        self._writable: Any = None

    @property
    def held(self) -> int:
        """Bytes read and not yet written."""
        piped = self._pipe.held if self._pipe is not None else 0
        return piped + (len(self._pending) if self._pending is not None else 0)

    def start(self, pending: bytes = b"") -> None:
        """Begin, with ``pending`` as if it had just been read."""
        if pending:
            self._pending = memoryview(pending)
            self._wait_writable()
        else:
            readable = self._readable = self._loop.io(self.source.fileno(), _READ)
            readable.start(self.on_readable)

    def stop(self) -> None:
        """Let go of the watchers; no call to the session follows."""
        if self._readable is not None:
            self._readable.stop()
            self._readable = None
        if self._writable is not None:
            self._writable.stop()
            self._writable = None
        self._pending = None
        self._leave_bulk()

    def discard(self) -> None:
        """The sink is gone: go on reading, and throw away what comes."""
        self._pending = None
        self._leave_bulk()
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
        if self._pipe is not None:
            self._splice(self._pipe)
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
            self._source_ended()
            return
        if self.flow is _OPEN:
            session.moved(self, count)
            if self.hasty:
                self._look_for_end(count)
            else:
                self._write(self._scratch[:count], count)

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
            self.session.moved(self, more)
            count += more
        if more:
            self._write(self._scratch[:count], count)
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

    def _write(self, data: memoryview, count: int) -> None:
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
        self._readable.stop()
        self._wait_writable()

    def _grow(self, count: int) -> None:
        """The sink keeps up: read more at once, and after a while let the kernel move pages."""
        most = min(len(self._scratch), COPY_MOST)
        if count < most:
            self._size = min(2 * count, most)
            return
        self._full += 1
        if self._full == BULK_AFTER:
            self._pipe = pipes.borrow()
            # splice(2) asks the descriptors themselves whether it may wait.
            self.source.setblocking(False)
            self.sink.setblocking(False)
            self._mark_source()

    def _mark_source(self) -> None:
        """Be told of big pieces only, from now on: it goes fast, and what comes is known to be more than one."""
        if self._pipe is None or self.source.family == AF_UNIX or self.session.awaited(self) < MARK:
            return
        if self._set_mark(MARK):
            self._mark = MARK
            self.fed = True
            self._gathering = gathering(self._loop)
            self._gathering.add(self)

    def _set_mark(self, size: int) -> bool:
        try:
            self.source.setsockopt(SOL_SOCKET, SO_RCVLOWAT, size)
        except OSError:
            return False
        return True

    def _move_mark(self) -> None:
        """Something was read: never wait for more than there is to come."""
        self.fed = True
        awaited = self.session.awaited(self)
        if awaited >= self._mark:
            return
        if awaited > 0 and self._set_mark(awaited):
            self._mark = awaited
        else:
            self.unmark()

    def unmark(self) -> None:
        """Be told of any bytes again."""
        if self._mark and self._gathering is not None:
            self._mark = 0
            self._set_mark(1)
            self._gathering.remove(self)

    def look(self) -> None:
        """Read what there is, if that is what the pump waits for."""
        if self._readable is not None and self._readable.active:
            self.on_readable()

    def _splice(self, pipe: pipes.Pipe) -> None:
        session = self.session
        try:
            count = pipe.fill(self.source.fileno(), self._size)
        except BlockingIOError:
            return
        except OSError as error:
            if pipes.unsupported(error):
                self._leave_bulk()
                self.on_readable()
            else:
                session.source_failed(self, error)
            return
        session.silence = 0
        if not count:
            self._source_ended()
            return
        session.moved(self, count)
        if self._mark:
            self._move_mark()
        if self._empty(pipe):
            if count == self._size:
                self._size = min(2 * count, len(self._scratch))
        elif self._pipe is not None:
            self._size = min(len(self._scratch), max(FIRST_READ, count - pipe.held))
            self._readable.stop()
            self._wait_writable()

    def _empty(self, pipe: pipes.Pipe) -> bool:
        """Whether all that the pipe held went to the sink."""
        try:
            pipe.empty(self.sink.fileno())
        except BlockingIOError:
            return False
        except OSError as error:
            if not pipes.unsupported(error):
                self.session.sink_failed(self, error)
                return False
            data = memoryview(pipe.take())
            self._leave_bulk()
            self._write(data, len(data))
            return False
        return True

    def _leave_bulk(self) -> None:
        if self._pipe is not None:
            self.unmark()
            pipes.give_back(self._pipe)
            self._pipe = None
            self._full = BULK_AFTER + 1
            self._size = min(self._size, COPY_MOST)

    def on_writable(self) -> None:
        """The sink takes more."""
        if self._pipe is not None:
            self._pipe_writable(self._pipe)
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

    def _pipe_writable(self, pipe: pipes.Pipe) -> None:
        held = pipe.held
        done = self._empty(pipe)
        if self._writable is None:
            return
        if pipe.held < held:
            self.session.silence = 0
        if done:
            self._writable.stop()
            self._wait_readable()

    def _source_ended(self) -> None:
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


def no_delay(sock: Stream) -> None:
    """Send small pieces at once (a unix socket always does)."""
    try:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    except OSError:
        pass


def unsent(sock: Stream) -> bool:
    """Whether the kernel still holds bytes that the peer has not acknowledged."""
    try:
        count = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return False
    return any(count)

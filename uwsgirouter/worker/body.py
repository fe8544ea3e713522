"""A request's body, kept until it is complete: ``fastrouter-post-buffering``.

One idea: :class:`Gathering` collects the bytes that the client announced, in memory or (when they are more than the
limit) in an unlinked temporary file, :class:`Upload` sends such a file to a node with sendfile(2), as often as it
takes, and :class:`Buffering` is what a session sees of both. They know nothing of nodes or keys. Invariants: nothing
beyond the announced length is read; the file is closed exactly once; the loop never waits for the disk.
"""

from __future__ import annotations

import errno
import os
import tempfile
from socket import AF_UNIX
from typing import TYPE_CHECKING, Any, Protocol

from uwsgirouter.model.counters import Counter
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.worker.disk import Disk
from uwsgirouter.worker.streams import Stream, no_delay

if TYPE_CHECKING:
    from uwsgirouter.worker.arrival import Arrival
    from uwsgirouter.worker.router import Router

FLUSH = 1 << 18
"""Bytes that are collected before they are written to the file."""
SEND_MOST = 1 << 20
"""Bytes that one sendfile(2) is asked for, so that one upload does not keep the loop from the others."""

_NO_DESCRIPTOR = frozenset((errno.EMFILE, errno.ENFILE))
_DONTWAIT = 0x40
_NOSIGNAL = 0x4000
_READ = 1
_WRITE = 2


class Spool:
    """A complete body in a file without a name."""

    __slots__ = ("_file", "length")

    def __init__(self, file: Any, length: int) -> None:
        self._file = file
        self.length = length

    def send(self, sink: int, offset: int) -> int:
        """Send from ``offset`` on to the socket ``sink``; the bytes taken. Raises BlockingIOError, OSError."""
        return os.sendfile(sink, self._file.fileno(), offset, min(SEND_MOST, self.length - offset))

    def close(self) -> None:
        """Give the space back; a second time does nothing."""
        self._file.close()


class Awaiting(Protocol):
    """What a gathering tells."""

    def progressed(self) -> None:
        """Something came, or was written."""

    def gathered(self, body: bytes | Spool) -> None:
        """All of it is here."""

    def cut(self, missing: int) -> None:
        """The client ended before its body did."""

    def failed(self, error: OSError) -> None:
        """The body cannot be kept."""

    def client_lost(self) -> None:
        """The client is gone."""


class Gathering:
    """Collects ``length`` bytes, of which ``came`` are here already."""

    def __init__(self, router: Router, owner: Awaiting, client: Stream, came: bytes, length: int) -> None:
        self.left = length - len(came)
        self._router = router
        self._disk: Disk = router.disk
        self._owner = owner
        self._client = client
        self._length = length
        self._parts = [came] if came else []
        self._waiting = len(came)
        self._in_memory = length <= router.post_buffering
        self._file: Any = None
        self._over = False
        self._readable: Any = router.loop.io(client.fileno(), _READ)

    def start(self) -> None:
        """Begin to read."""
        self._readable.start(self._on_readable)

    def stop(self) -> None:
        """Let go of everything; no call to the session follows."""
        self._over = True
        self._readable.stop()
        self._parts = []
        if self._file is not None:
            self._let_go_of(self._file)
            self._file = None

    def _on_readable(self) -> None:
        scratch = self._router.scratch
        try:
            count = self._client.recv_into(scratch, min(self.left, len(scratch)), _DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self._owner.client_lost()
            return
        self._owner.progressed()
        if not count:
            self._owner.cut(self.left)
            return
        self.left -= count
        self._parts.append(scratch[:count].tobytes())
        self._waiting += count
        if self._in_memory:
            if not self.left:
                self._finish(b"".join(self._parts))
        elif not self.left or self._waiting >= FLUSH:
            self._readable.stop()
            self._write()

    def _write(self) -> None:
        """Hand what is here to the disk; the client is not read meanwhile."""
        data, self._parts, self._waiting = b"".join(self._parts), [], 0
        # The file is the disk's meanwhile: closed under a write, its number could be another connection's by then.
        file, self._file = self._file, None
        directory = self._router.post_buffering_dir
        self._disk.call(lambda: _write_all(file or _open(directory), data), self._written)

    def _written(self, file: Any, error: OSError | None) -> None:
        if self._over:
            if file is not None:
                self._let_go_of(file)
            return
        if error is not None:
            self._owner.failed(error)
            return
        self._file = file
        self._owner.progressed()
        if self.left:
            self._readable.start(self._on_readable)
        else:
            self._file = None
            self._finish(Spool(file, self._length))

    def _let_go_of(self, file: Any) -> None:
        """Closing gives the space back, which takes a while when there is much of it: not in the loop."""
        self._disk.call(file.close, _nothing)

    def _finish(self, body: bytes | Spool) -> None:
        self._over = True
        self._readable.stop()
        self._parts = []
        self._owner.gathered(body)


def _open(directory: str) -> Any:
    """An unlinked file. Raises OSError."""
    return tempfile.TemporaryFile(buffering=0, dir=directory or None, prefix="uwsgirouter-")


def _write_all(file: Any, data: bytes) -> Any:
    """The file. When a write fails it is closed: whoever asked has nothing to close then."""
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError:
        file.close()
        raise
    return file


class Sending(Protocol):
    """What an upload tells."""

    def progressed(self) -> None:
        """The node took something."""

    def upload_ended(self) -> None:
        """The node took everything."""

    def upload_failed(self, error: OSError) -> None:
        """The node takes no more."""


class Upload:
    """Sends ``pending`` and then ``spool`` to ``sink``."""

    def __init__(self, loop: Any, owner: Sending, sink: Stream, pending: bytes, spool: Spool) -> None:
        self._owner = owner
        self._sink = sink
        self._pending = memoryview(pending)
        self._spool = spool
        self._offset = 0
        self._writable: Any = loop.io(sink.fileno(), _WRITE)

    def start(self) -> None:
        """Begin at the loop's next pass."""
        self._writable.start(self._on_writable)

    def stop(self) -> None:
        """Send no more; no call to the session follows."""
        self._writable.stop()

    def _on_writable(self) -> None:
        try:
            if self._pending:
                self._pending = self._pending[self._sink.send(self._pending, _DONTWAIT | _NOSIGNAL) :]
            if not self._pending:
                self._offset += self._spool.send(self._sink.fileno(), self._offset)
        except BlockingIOError:
            return
        except OSError as error:
            self._writable.stop()
            self._owner.upload_failed(error)
            return
        self._owner.progressed()
        if self._offset == self._spool.length:
            self._writable.stop()
            self._owner.upload_ended()


class Buffering:
    """The body of one session. ``spool`` is there once it is complete, if it was too long for memory."""

    def __init__(self, router: Router, session: Arrival, client: Stream) -> None:
        self._router = router
        self._session = session
        self._client = client
        self._gathering: Gathering | None = None
        self._answered = False
        self.spool: Spool | None = None
        self.upload: Upload | None = None

    @property
    def left(self) -> int:
        """Bytes that did not come yet."""
        return self._gathering.left if self._gathering is not None else 0

    def begin(self, came: bytes, length: int) -> None:
        """Gather ``length`` bytes, of which ``came`` are here."""
        self._gathering = Gathering(self._router, self, self._client, came, length)
        self._gathering.start()

    def start_upload(self, sink: Stream, pending: bytes) -> None:
        """Send ``pending`` and the file to a node."""
        assert self.spool is not None
        if sink.family != AF_UNIX:
            no_delay(sink)
        self._router.cells[Counter.RX] += self.spool.length
        self.upload = Upload(self._router.loop, self, sink, pending, self.spool)
        self.upload.start()

    def stop_upload(self) -> None:
        """That node is left; another one may follow."""
        if self.upload is not None:
            self.upload.stop()
            self.upload = None

    def answered(self) -> None:
        """No other node will need the body: it goes as soon as this one has it."""
        self._answered = True
        if self.upload is None:
            self._drop()

    def close(self) -> None:
        """Let go of everything; a second time does nothing."""
        self.stop_upload()
        if self._gathering is not None:
            self._gathering.stop()
            self._gathering = None
        self._drop()

    def _drop(self) -> None:
        if self.spool is not None:
            self._router.disk.call(self.spool.close, _nothing)
            self.spool = None

    # -- what the parts tell ----------------------------------------------------------------------------------------

    def progressed(self) -> None:
        """Something moved: the session is not silent."""
        self._session.silence = 0

    def gathered(self, body: bytes | Spool) -> None:
        """All of it is here."""
        self._gathering = None
        if isinstance(body, bytes):
            self._session.body_here(body)
        else:
            self.spool = body
            self._session.body_here(b"")

    def cut(self, missing: int) -> None:
        """The client ended before its body did."""
        self._session.left = 0
        self._session.fail(Cause.BODY_CUT, f"{missing} bytes of the body did not come")

    def failed(self, error: OSError) -> None:
        """The body cannot be kept."""
        cause = Cause.OVERLOAD if error.errno in _NO_DESCRIPTOR else Cause.STORAGE
        self._session.fail(cause, error.strerror or str(error))

    def client_lost(self) -> None:
        """The client went away."""
        self._session.client_gone()

    def upload_ended(self) -> None:
        """The node has all of it."""
        self.upload = None
        if self._answered:
            self._drop()
        self._router.watch_later(self._session)

    def upload_failed(self, error: OSError) -> None:
        """The node takes no more; it may have answered, its own direction tells."""
        self.upload = None
        self._session.cut = error


def _nothing(result: object, error: OSError | None) -> None:
    """After a file was closed there is nothing to do, whatever the disk says."""

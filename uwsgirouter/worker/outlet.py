"""What rules want sent, on its way to a client: bytes and parts of files, as fast as the client takes them.

One idea: whoever makes output puts it here and goes on when it is told that all of it is out. It knows sockets and
watchers, nothing of sessions or rules. Invariants: pieces go out whole and in order; each descriptor is closed once,
when its piece is out or given up.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable
from socket import MSG_MORE, SHUT_WR
from typing import Any

from uwsgirouter.rules.response import Piece
from uwsgirouter.worker.streams import Stream

SEND_MOST = 1 << 20
"""Bytes that one sendfile(2) is asked for, so that one file does not keep the loop from the others."""
JOIN_MOST = 65536
"""Bytes that are put together for one system call."""

_OF_A_FILE = frozenset((errno.EIO, errno.EINVAL, errno.EOVERFLOW, errno.ENOMEM, errno.ESTALE))
"""What sendfile(2) says of the file, and not of the client."""
_FLAGS = 0x4040
_LAST_FLAGS = _FLAGS | int(MSG_MORE)
_WRITE = 2


class Unreadable(OSError):
    """A file cannot be read, or has become shorter while it was sent: what was promised cannot be kept."""


class Outlet:
    """Sends to ``sink``. ``drained`` is called when a wait is over and all is out, ``failed`` when it cannot be."""

    __slots__ = ("_drained", "_failed", "_loop", "_moved", "_queue", "_sink", "_writable")

    def __init__(
        self,
        loop: Any,
        sink: Stream,
        drained: Callable[[], None],
        failed: Callable[[OSError], None],
        moved: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sink = sink
        self._drained = drained
        self._failed = failed
        self._moved = moved
        """Called when the client took something."""
        self._queue: deque[memoryview | Piece] = deque()
        self._writable: Any = None

    @property
    def waits(self) -> bool:
        """Whether something is not out yet."""
        return bool(self._queue)

    def put(self, output: Iterable[bytes | Piece]) -> None:
        """Behind all that is here already."""
        small: list[bytes] = []
        size = 0
        for piece in output:
            if isinstance(piece, Piece):
                self._put_small(small)
                small, size = [], 0
                self._sink.setblocking(False)  # sendfile(2) asks the descriptor itself whether it may wait
                self._queue.append(piece)
            elif piece:
                if size + len(piece) > JOIN_MOST:  # what is large is not copied
                    self._put_small(small)
                    small, size = [], 0
                small.append(piece)
                size += len(piece)
        self._put_small(small)

    def _put_small(self, small: list[bytes]) -> None:
        if small:
            self._queue.append(memoryview(small[0] if len(small) == 1 else b"".join(small)))

    def flush(self, last: bool = False) -> bool:
        """Send what the client takes; False when it has to be waited for (``drained`` follows). Raises OSError.

        ``last``: nothing follows, and the end of the direction goes out with the last bytes.
        """
        queue = self._queue
        if last and len(queue) == 1 and not isinstance(queue[0], Piece) and self._send_last(queue[0]):
            self._moved()
            queue.clear()
        while queue:
            try:
                sent = self._send(queue[0])
            except BlockingIOError:
                self._wait()
                return False
            if sent:
                self._moved()
            if self._advance(sent):
                continue
            if isinstance(queue[0], Piece):
                # The rest in the loop's next pass: a long file must not keep it from others.
                self._wait()
                return False
        return True

    def _send_last(self, piece: memoryview) -> bool:
        """Whether all of it went out at once. (Ending the direction sends what MSG_MORE held back.)"""
        try:
            sent = self._sink.send(piece, _LAST_FLAGS)
        except BlockingIOError:
            return False
        if sent < len(piece):
            self._queue[0] = piece[sent:]
            return False
        self._sink.shutdown(SHUT_WR)
        return True

    def _send(self, piece: memoryview | Piece) -> int:
        if not isinstance(piece, Piece):
            return self._sink.send(piece, _FLAGS)
        if not piece.length:
            return 0
        try:
            sent = os.sendfile(self._sink.fileno(), piece.descriptor, piece.offset, min(SEND_MOST, piece.length))
        except OSError as error:
            if error.errno in _OF_A_FILE:
                raise Unreadable(f"a file cannot be sent: {error.strerror}") from None
            raise
        if not sent:
            raise Unreadable(f"a file ended {piece.length} bytes early")
        return sent

    def _advance(self, sent: int) -> bool:
        """Whether the first piece is out."""
        queue = self._queue
        piece = queue[0]
        if isinstance(piece, Piece):
            if sent == piece.length:
                queue.popleft()
                os.close(piece.descriptor)
                return True
            queue[0] = Piece(piece.descriptor, piece.offset + sent, piece.length - sent)
            return False
        if sent == len(piece):
            queue.popleft()
            return True
        queue[0] = piece[sent:]
        return False

    def _wait(self) -> None:
        if self._writable is None:
            self._writable = self._loop.io(self._sink.fileno(), _WRITE)
        self._writable.start(self.on_writable)

    def on_writable(self) -> None:
        """The client takes more."""
        try:
            if not self.flush():
                return
        except OSError as error:
            self.stop()
            self._failed(error)
            return
        self._writable.stop()
        self._drained()

    def stop(self) -> None:
        """Let go of everything; no call follows."""
        if self._writable is not None:
            self._writable.stop()
            self._writable = None
        for piece in self._queue:
            if isinstance(piece, Piece):
                os.close(piece.descriptor)
        self._queue.clear()

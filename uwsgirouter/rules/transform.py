"""A transformation: what happens to the bytes of a body on their way to the client.

One idea: bytes in, bytes out; transformations are chained in the order in which rules added them. One that holds the
whole body holds the head back with it, so it may still change the head; one that looks only gives out what it gets.
Invariants: a transformation that never gets a byte is never begun (an empty body stays empty); what is held is
bounded; a body that broke off is abandoned, never ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgirouter.errors import RouterError
from uwsgirouter.protocol.answers import Cause

if TYPE_CHECKING:
    from uwsgirouter.rules.writer import Writer


class Refused(RouterError):
    """A transformation cannot go on; ``cause`` is what the client is told, if nothing is out yet."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class Transform:
    """One transformation of one response: to be subclassed. As it stands, it changes nothing."""

    streams = True
    """Whether it gives out bytes as they come. Nothing behind one that does is told of an empty body."""
    flushes = False
    """What it gets goes to the client; what stands behind it only looks on."""

    def begin(self, response: Writer) -> bool:
        """The first bytes come. The head is not out yet (unless raw bytes are): add headers, or look at them.

        False: leave this answer alone.
        """
        return True

    def feed(self, data: bytes) -> bytes:
        """More of the body; what can be passed on already. Raises :class:`Refused`."""
        return data

    def end(self) -> bytes:
        """The body is over: the rest. Raises :class:`Refused`."""
        return b""

    def empty(self, response: Writer) -> None:
        """There was no byte of body; the head is not out yet."""

    def abandon(self) -> None:
        """The body broke off, or nobody wants it any more: keep nothing of it. May be called after :meth:`end`, too."""


class Buffering(Transform):
    """A transformation that needs the whole body. One larger than ``most`` bytes goes to :meth:`overflow`."""

    streams = False

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: list[bytes] = []
        self._size = 0
        self._gave_up = False

    def feed(self, data: bytes) -> bytes:
        if self._gave_up:
            return data
        self._held.append(data)
        self._size += len(data)
        if self._size <= self._most:
            return b""
        self.overflow(self._most)
        self._gave_up = True
        return self._take()

    def end(self) -> bytes:
        return b"" if self._gave_up else self.whole(self._take())

    def abandon(self) -> None:
        self._held.clear()

    def whole(self, body: bytes) -> bytes:
        """What becomes of the whole body."""
        raise NotImplementedError

    def overflow(self, most: int) -> None:
        """The body is larger than ``most``: return to let it pass as it is, or raise :class:`Refused`."""

    def _take(self) -> bytes:
        held, self._held = self._held, []
        return b"".join(held)


class _Step:
    """A transformation in its place."""

    __slots__ = ("begun", "late", "transform", "willing")

    def __init__(self, transform: Transform, late: bool) -> None:
        self.transform = transform
        self.late = late
        self.begun = False
        self.willing = True


class Pipeline:
    """The transformations of one response."""

    def __init__(self, response: Writer) -> None:
        self._response = response
        self._steps: list[_Step] = []
        self._is_empty = True

    def add(self, transform: Transform, late: bool = False) -> None:
        """Append one. ``late``: by the response chain; then it is not told of an empty body (as in uWSGI)."""
        self._steps.append(_Step(transform, late))

    def feed(self, data: bytes) -> bytes:
        """More of the body; what goes to the client now. Raises :class:`Refused`."""
        self._is_empty = False
        flushed: bytes | None = None
        for step in self._steps:
            if flushed is None and step.transform.flushes:
                flushed = self._out(data)
            if data:
                data = self._feed(step, data)
        return data if flushed is None else flushed

    def end(self) -> bytes:
        """The body is over; the rest of it. Raises :class:`Refused`."""
        if self._is_empty:
            self._tell_empty()
            return b""
        data, flushed = b"", None
        for step in self._steps:
            if flushed is None and step.transform.flushes:
                flushed = self._out(data)
            if data:
                data = self._feed(step, data)
            if step.begun and step.willing:
                data += step.transform.end()
        return data if flushed is None else flushed

    def abandon(self) -> None:
        """Keep nothing."""
        for step in self._steps:
            step.transform.abandon()

    def _tell_empty(self) -> None:
        for step in self._steps:
            if step.transform.streams or step.late:
                break
            step.transform.empty(self._response)

    def _feed(self, step: _Step, data: bytes) -> bytes:
        if not step.begun:
            step.begun = True
            step.willing = step.transform.begin(self._response)
        return step.transform.feed(data) if step.willing else data

    def _out(self, data: bytes) -> bytes:
        """Bytes that are flushed: the head goes out before what stands behind can change it."""
        if data:
            self._response.flush_head()
        return data

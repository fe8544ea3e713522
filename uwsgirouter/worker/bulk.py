"""Bulk: what a pump does once its transfer is seen to go fast: pages are moved through a pipe, in big pieces.

One idea: bytes are no longer copied through here, and the loop is told of 128 KB at once (worker/gathering.py). A pump
that is in bulk hands its two events over; when these descriptors cannot be spliced after all, or the transfer ends, the
pump takes them back. It knows a pump, its pipe and the mark on its source, nothing of sessions' phases or nodes.
Invariants: it holds at most what one read brought; a mark never asks for more than is still to come; after
:meth:`Bulk.close` the source has none.
"""

from __future__ import annotations

from socket import AF_UNIX, SO_RCVLOWAT, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from uwsgirouter.worker import pipes
from uwsgirouter.worker.gathering import MARK, Gathering, gathering

if TYPE_CHECKING:
    from uwsgirouter.worker.relay import Pump

LEAST = 65536
"""The least that is moved at once, for a sink that does not keep up."""


def begin(pump: Pump, loop: Any, size: int, most: int) -> Bulk | None:
    """Bulk for ``pump``, ``size`` bytes at once and later up to ``most``; None when there is no pipe to be had."""
    pipe = pipes.borrow()
    if pipe is None:
        return None
    # splice(2) asks the descriptors themselves whether it may wait.
    pump.source.setblocking(False)
    pump.sink.setblocking(False)
    bulk = Bulk(pump, pipe, size, most)
    bulk.mark(loop)
    return bulk


class Bulk:
    """The transfer of ``pump`` by way of ``pipe``."""

    __slots__ = ("_gathering", "_is_over", "_mark", "_most", "_pipe", "_pump", "fed", "size")

    def __init__(self, pump: Pump, pipe: pipes.Pipe, size: int, most: int) -> None:
        self._pump = pump
        self._pipe = pipe
        self._most = most
        self.size = size
        """Bytes that the next read may bring."""
        self._is_over = False
        self._gathering: Gathering | None = None
        self._mark = 0
        """Bytes below which the kernel does not call the source readable; 0: any are told."""
        self.fed = False
        """Whether a marked source was read from since somebody last looked."""

    @property
    def held(self) -> int:
        """Bytes read and not yet written."""
        return self._pipe.held

    def close(self) -> None:
        """Give the pipe back, with what is in it. Once."""
        self._is_over = True
        self.unmark()
        pipes.give_back(self._pipe)

    # -- the pump's events ------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        """The source has something to say."""
        pump, pipe = self._pump, self._pipe
        try:
            count = pipe.fill(pump.source.fileno(), self.size)
        except BlockingIOError:
            return
        except OSError as error:
            if pipes.unsupported(error):
                pump.leave_bulk()
                pump.on_readable()
            else:
                pump.session.source_failed(pump, error)
            return
        pump.session.silence = 0
        if not count:
            pump.source_ended()
            return
        pump.session.moved(pump, count)
        if self._mark:
            self._move_mark()
        if self._empty():
            if count == self.size:
                self.size = min(2 * count, self._most)
        elif not self._is_over:
            self.size = min(self._most, max(LEAST, count - pipe.held))
            pump.await_sink()

    def on_writable(self) -> None:
        """The sink takes more."""
        held = self._pipe.held
        done = self._empty()
        if self._is_over:
            return
        if self._pipe.held < held:
            self._pump.session.silence = 0
        if done:
            self._pump.await_source()

    def _empty(self) -> bool:
        """Whether all that the pipe held went to the sink."""
        pump, pipe = self._pump, self._pipe
        try:
            pipe.empty(pump.sink.fileno())
        except BlockingIOError:
            return False
        except OSError as error:
            if not pipes.unsupported(error):
                pump.session.sink_failed(pump, error)
                return False
            data = pipe.take()
            pump.leave_bulk()
            pump.write(memoryview(data), len(data))
            return False
        return True

    # -- the mark ---------------------------------------------------------------------------------------------------

    def mark(self, loop: Any) -> None:
        """Be told of big pieces only, from now on: it goes fast, and what comes is known to be more than one."""
        pump = self._pump
        if pump.source.family == AF_UNIX or pump.session.awaited(pump) < MARK:
            return
        if self._set_mark(MARK):
            self._mark = MARK
            self.fed = True
            self._gathering = gathering(loop)
            self._gathering.add(self)

    def _set_mark(self, size: int) -> bool:
        try:
            self._pump.source.setsockopt(SOL_SOCKET, SO_RCVLOWAT, size)
        except OSError:
            return False
        return True

    def _move_mark(self) -> None:
        """Something was read: never wait for more than there is to come."""
        self.fed = True
        awaited = self._pump.session.awaited(self._pump)
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
        self._pump.look()

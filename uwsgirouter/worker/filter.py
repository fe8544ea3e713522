"""A node's response on its way through the rules: what a pump is for responses that nobody looks at.

One idea: it reads only when all that the rules made of the last read is out, and as soon as they have nothing more to
say it hands the rest to a plain pump. To the session it is a pump. Invariants: nothing of a response reaches the client
before its head is whole, so a node that ends before that has answered nothing; what was read is passed to the rules
once, in order.
"""

from __future__ import annotations

from socket import MSG_MORE, SHUT_WR
from typing import TYPE_CHECKING, Any, cast

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.stage import Piece, Stage
from uwsgirouter.worker.ending import tell_failure
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.outlet import JOIN_MOST, Outlet, Unreadable
from uwsgirouter.worker.relay import Pump

if TYPE_CHECKING:
    from uwsgirouter.worker.routed import Routed
    from uwsgirouter.worker.session import Session
    from uwsgirouter.worker.streams import Stream

READ = 65536
_DONTWAIT = 0x40
_SEND_FLAGS = 0x4040
_LAST_FLAGS = _SEND_FLAGS | int(MSG_MORE)
_READABLE = 1

# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_OPEN, _ENDING, _ENDED, _DISCARDING = Flow.OPEN, Flow.ENDING, Flow.ENDED, Flow.DISCARDING
_NOTHING, _OVER = Stage.NOTHING, Stage.ENDED


class Filter(Pump):
    """From the node ``source`` to the client ``sink`` of ``session``, by way of ``routed``."""

    __slots__ = ("_is_over", "_lost", "_out", "_passes", "_routed", "_router", "_session", "_unreported", "_watcher")

    def __init__(self, session: Session, routed: Routed, source: Stream, sink: Stream) -> None:
        router = session.router
        super().__init__(router.loop, router.relay, session, source, sink)
        self._session = session
        self._router = router
        self._routed = routed
        self._watcher: Any = None
        self._out: Outlet | None = None
        """What waits for the client; None until something has to."""
        self._unreported = 0
        self._lost: OSError | None = None
        """A failure of the node that was met before all that came first is out."""
        self._is_over = False
        """The node ended, or the rules need no more of it."""
        self._passes = False
        """The rules have said that they need not see more; the next read (most often the end) tells if there is."""

    # -- as a pump -------------------------------------------------------------------------------------------------

    def start(self, pending: bytes = b"") -> None:
        """Begin with what rules had to say before the node does."""
        self._watcher = self._router.loop.io(self.source.fileno(), _READABLE)
        if pending:
            self._outlet().put([pending])
        self._push()

    def seen(self, count: int) -> bytes | None:
        """None: what goes to the client is what the rules made of it."""
        return None

    def stop(self) -> None:
        """Let go of everything; no call to the session follows."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        if self._out is not None:
            self._out.stop()

    def discard(self) -> None:
        """The client is gone: what the node says is of no interest any more."""
        if self._out is not None:
            self._out.stop()
        if self.flow is _OPEN:
            self.flow = _DISCARDING
            self._read_on()
        elif self.flow is _ENDING:
            self.flow = _ENDED

    def on_readable(self) -> None:
        """The node has something to say."""
        try:
            data = self.source.recv(READ, _DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._source_lost(error)
            return
        self.session.silence = 0
        if not data:
            self._source_over()
        elif self.flow is _OPEN:
            self._unreported += len(data)
            if self._routed.may_wait:
                self._pause()
            self._routed.feed(data, self._fed)

    # -- what the rules made of it ---------------------------------------------------------------------------------

    def _fed(self) -> None:
        response = self._routed.response
        if self.hasty and response.head_out and self._seek_end():
            return
        if response.stage is not _NOTHING:
            count, self._unreported = self._unreported, 0
            self.session.moved(self, count)
            self._is_over = response.stage is _OVER
        self._push()

    def _seek_end(self) -> bool:
        """Short responses come whole: then the end goes out with them. Whether it goes on elsewhere."""
        self.hasty = False
        try:
            data = self.source.recv(READ, _DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lost = error  # it is told once: what came before it is passed on first
            return False
        self._unreported += len(data)
        if data:
            self._routed.feed(data, self._fed)
        else:
            self.flow = _ENDING
            self._routed.step(self._routed.response.feed_end, self._ended)
        return True

    def _push(self) -> None:
        """Send what is there, and go on when all of it is out."""
        try:
            out = self._send(self._routed.take(), self._is_over and not self._routed.response.cut)
        except OSError as error:
            self._sink_failed(error)
            return
        if out:
            self._drained()
        else:
            self._pause()

    def _send(self, output: list[bytes | Piece], last: bool) -> bool:
        """Whether all went out at once; else the outlet goes on. ``last``: nothing follows. Raises OSError."""
        outlet = self._out
        if outlet is None:
            if not output:
                return True
            data = together(output)
            if data is not None:
                sent = self._send_at_once(data, last)
                if sent == len(data):
                    return True
                output = [data[sent:]]
            outlet = self._outlet()
        outlet.put(output)
        return outlet.flush(last)

    def _send_at_once(self, data: bytes, last: bool) -> int:
        """The bytes that went out. (Ending the direction sends what MSG_MORE held back.)"""
        try:
            sent = self.sink.send(data, _LAST_FLAGS if last else _SEND_FLAGS)
        except BlockingIOError:
            return 0
        if last and sent == len(data):
            self.sink.shutdown(SHUT_WR)
        return sent

    def _outlet(self) -> Outlet:
        self._out = Outlet(self._router.loop, self.sink, self._drained, self._sink_failed, self._moved)
        return self._out

    def _drained(self) -> None:
        if self._is_over:
            self._finish_flow()
        elif self._lost is not None:
            self._source_lost(self._lost)
        elif self.flow is _OPEN and self._routed.response.transparent:
            if self._passes:
                self._become_pump()
            else:
                self._passes = True
                self._read_on()
        else:
            self._read_on()

    def _become_pump(self) -> None:
        """The rest is nobody's business."""
        session = self._session
        self.stop()
        pump = Pump(self._router.loop, self._router.relay, session, self.source, self.sink)
        session.down = pump
        pump.start()

    def _source_over(self) -> None:
        self._pause()
        if self.flow is not _OPEN:
            self.flow = _ENDED
            self.session.ended(self)
        elif self._routed.response.stage is _NOTHING:
            self.flow = _ENDED
            self.session.ended(self)  # no answer, or the beginning of one
        else:
            self.flow = _ENDING
            self._routed.step(self._routed.response.feed_end, self._ended)

    def _ended(self) -> None:
        self._is_over = True
        if self._unreported:
            count, self._unreported = self._unreported, 0
            self.session.moved(self, count)
        self._push()

    def _finish_flow(self) -> None:
        self._pause()
        self.flow = _ENDED
        response = self._routed.response
        if response.cut:
            self._session.abort(response.failure or Cause.NODE_CLOSED, response.detail)
            return
        if response.failure is not None:
            tell_failure(self._session, response.failure, response.detail)
        self.session.ended(self)

    # -- faults ----------------------------------------------------------------------------------------------------

    def _source_lost(self, error: OSError) -> None:
        """A reset. Behind a whole answer it is an end; while nothing is out, the client can still be told."""
        self._pause()
        response = self._routed.response
        if self.flow is _OPEN and response.over:
            self._lost = None
            self.flow = _ENDING
            self._routed.step(response.feed_end, self._ended)
        elif response.stage is Stage.PREPARED:
            self._session.fail(Cause.NODE_RESET, error.strerror or str(error))
        else:
            self.session.source_failed(self, error)

    def _sink_failed(self, error: OSError) -> None:
        if isinstance(error, Unreadable):
            self._session.abort(Cause.RULE_FAILED, str(error))
        else:
            self.session.sink_failed(self, error)

    def _moved(self) -> None:
        self.session.silence = 0

    def _read_on(self) -> None:
        if self._watcher is not None and not self._watcher.active:
            self._watcher.start(self.on_readable)

    def _pause(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()


def together(output: list[bytes | Piece]) -> bytes | None:
    """All of it in one; None when there is a file in it, or much."""
    size = 0
    for piece in output:
        if isinstance(piece, Piece):
            return None
        size += len(piece)
    if size > JOIN_MOST:
        return None
    return b"".join(cast("list[bytes]", output))

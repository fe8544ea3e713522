"""A node's response on its way through the rules: what a pump is for responses that nobody looks at.

One idea: it reads only when all that the rules made of the last read is out, and as soon as they have nothing more to
say it hands the rest to a plain pump. To the session it is a pump. Invariants: nothing of a response reaches the client
before its head is whole, so a node that ends before that has answered nothing; what was read is passed to the rules
once, in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.response import Stage
from uwsgirouter.worker.ending import tell_failure
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.outlet import Outlet, Unreadable
from uwsgirouter.worker.relay import Pump

if TYPE_CHECKING:
    from uwsgirouter.worker.routed import Routed
    from uwsgirouter.worker.session import Session
    from uwsgirouter.worker.streams import Stream

READ = 65536
_DONTWAIT = 0x40
_READABLE = 1


class Filter(Pump):
    """From the node ``source`` to the client ``sink`` of ``session``, by way of ``routed``."""

    def __init__(self, session: Session, routed: Routed, source: Stream, sink: Stream) -> None:
        router = session.router
        super().__init__(router.loop, router.relay, session, source, sink)
        self._session = session
        self._router = router
        self._routed = routed
        self._watcher: Any = None
        self._out = Outlet(router.loop, sink, self._drained, self._sink_failed, self._moved)
        self._unreported = 0
        self._lost: OSError | None = None
        """A failure of the node that was met before all that came first is out."""
        self._is_over = False
        """The node ended, or the rules need no more of it."""

    # -- as a pump -------------------------------------------------------------------------------------------------

    def start(self, pending: bytes = b"") -> None:
        """Begin with what rules had to say before the node does."""
        self._watcher = self._router.loop.io(self.source.fileno(), _READABLE)
        self._out.put([pending, *self._routed.take()])
        self._push()

    def stop(self) -> None:
        """Let go of everything; no call to the session follows."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None
        self._out.stop()

    def discard(self) -> None:
        """The client is gone: what the node says is of no interest any more."""
        self._out.stop()
        if self.flow is Flow.OPEN:
            self.flow = Flow.DISCARDING
            self._read_on()
        elif self.flow is Flow.ENDING:
            self.flow = Flow.ENDED

    def on_readable(self) -> None:
        """The node has something to say."""
        scratch = self._router.scratch
        try:
            count = self.source.recv_into(scratch, min(READ, len(scratch)), _DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            self._source_lost(error)
            return
        self.session.silence = 0
        if not count:
            self._source_over()
        elif self.flow is Flow.OPEN:
            self._unreported += count
            data = scratch[:count].tobytes()
            self._pause()
            self._routed.step(lambda: self._routed.response.feed(data), self._fed)

    # -- what the rules made of it ---------------------------------------------------------------------------------

    def _fed(self) -> None:
        response = self._routed.response
        if self.hasty and response.head_out and self._seek_end():
            return
        if response.stage is not Stage.NOTHING:
            count, self._unreported = self._unreported, 0
            self.session.moved(self, count)
            self._is_over = response.stage is Stage.ENDED
        self._out.put(self._routed.take())
        self._push()

    def _seek_end(self) -> bool:
        """Short responses come whole: then the end goes out with them. Whether it goes on elsewhere."""
        self.hasty = False
        scratch = self._router.scratch
        try:
            count = self.source.recv_into(scratch, min(READ, len(scratch)), _DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lost = error  # it is told once: what came before it is passed on first
            return False
        self._unreported += count
        if count:
            data = scratch[:count].tobytes()
            self._routed.step(lambda: self._routed.response.feed(data), self._fed)
        else:
            self.flow = Flow.ENDING
            self._routed.step(self._routed.response.feed_end, self._ended)
        return True

    def _push(self) -> None:
        try:
            out = self._out.flush(last=self._is_over and not self._routed.response.cut)
        except OSError as error:
            self._sink_failed(error)
            return
        if out:
            self._drained()
        else:
            self._pause()

    def _drained(self) -> None:
        if self._is_over:
            self._finish_flow()
        elif self._lost is not None:
            self._source_lost(self._lost)
        elif self._routed.response.transparent and self.flow is Flow.OPEN:
            self._become_pump()
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
        if self.flow is not Flow.OPEN:
            self.flow = Flow.ENDED
            self.session.ended(self)
        elif self._routed.response.stage is Stage.NOTHING:
            self.flow = Flow.ENDED
            self.session.ended(self)  # no answer, or the beginning of one
        else:
            self.flow = Flow.ENDING
            self._routed.step(self._routed.response.feed_end, self._ended)

    def _ended(self) -> None:
        self._is_over = True
        if self._unreported:
            count, self._unreported = self._unreported, 0
            self.session.moved(self, count)
        self._out.put(self._routed.take())
        self._push()

    def _finish_flow(self) -> None:
        self._pause()
        self.flow = Flow.ENDED
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
        if self.flow is Flow.OPEN and response.over:
            self._lost = None
            self.flow = Flow.ENDING
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
        if self._watcher is not None:
            self._watcher.start(self.on_readable)

    def _pause(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()

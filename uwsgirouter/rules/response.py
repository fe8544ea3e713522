"""The response of one exchange, as the session sees it: a node's bytes go in, the client's come out.

One idea: whoever answers (a rule, a node through :meth:`Response.feed`, the router with a failure) goes through one
writer (writer.py), so rules see them all alike. What is ready to be sent is taken with :meth:`Response.take`.
Invariants: half an answer never looks whole; the final chain runs once, whatever became of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgirouter.protocol.answers import Cause, encode_answer
from uwsgirouter.rules.base import ChainName
from uwsgirouter.rules.head import Head, Headers, parse, value_of
from uwsgirouter.rules.intake import Intake
from uwsgirouter.rules.reasons import status_line
from uwsgirouter.rules.stage import OPEN, Piece, Stage
from uwsgirouter.rules.writer import DEFAULT_STATUS, Writer

if TYPE_CHECKING:
    from uwsgirouter.rules.exchange import Exchange

# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_NOTHING, _PREPARED, _SENT, _RAW, _ENDED = Stage.NOTHING, Stage.PREPARED, Stage.SENT, Stage.RAW, Stage.ENDED
_FINAL = ChainName.FINAL

__all__ = ["Piece", "Response", "Stage"]


class Response(Writer):
    """See the module; what actions do to it is in :class:`~uwsgirouter.rules.writer.Writer`."""

    __slots__ = ("_finished", "_intake", "cut", "detail", "failure")

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.failure: Cause | None = None
        """Why there was no answer, or no whole one; ``detail`` has more for the log."""
        self.detail = ""
        self.cut = False
        """Whether a body broke off: what is out must not look complete."""
        self._intake: Intake | None = None
        self._finished = False

    @property
    def wanted(self) -> bool:
        """Whether anything of a node's answer must be seen or changed; else its bytes need no parsing."""
        return bool(
            self.exchange.table.answers
            or self.stage is not _NOTHING
            or self._added
            or self._removed
            or self._pipeline is not None
            or self.is_of_a_server
        )

    @property
    def transparent(self) -> bool:
        """Whether the rest of the node's bytes may be passed on as they are, without :meth:`feed`."""
        intake = self._intake
        return intake is not None and intake.transparent and self.stage in (_SENT, _RAW)

    @property
    def over(self) -> bool:
        """Whether a node's answer is whole by its own word."""
        return self._intake is not None and self._intake.over

    def reset(self) -> None:
        """A node's answer begins, perhaps after one that did not: what rules prepared and did not send is void."""
        self._intake = None
        self.own_line = b""
        if self.stage is _PREPARED:
            self.stage, self.status, self.headers = _NOTHING, DEFAULT_STATUS, Headers()

    def feed(self, data: bytes) -> None:
        """More bytes of a node's HTTP answer."""
        if self.stage is _ENDED:
            return
        if self._intake is None:
            self._intake = Intake(self)
        self._intake.feed(data)

    def feed_end(self) -> None:
        """The node ended, and so does the answer. Half an answer becomes a failure, or is cut off."""
        if self.stage is _ENDED:
            return
        if self._intake is None or not self._intake.whole:
            cause, detail = self.exchange.explained(Cause.NODE_CLOSED, "in the middle of its answer")
            self.fail(cause, detail=detail)
        self.complete()

    def fail(self, cause: Cause, head_only: bool = False, page: bool = True, detail: str = "") -> None:
        """The router's own answer for ``cause``, or what the error chain makes of it. When the head is out, it is cut.

        ``page``: whether there is one when the error chain has none; else nothing is there to take.
        """
        if self.stage is _ENDED:
            return
        self.failure, self.detail = cause, detail
        self.drop_transforms()
        self.own_line = b""
        if self.stage not in OPEN:
            self.cut = True
            self.stage = _ENDED
            return
        head_only = head_only or self.exchange.variable(b"REQUEST_METHOD") == b"HEAD"
        head, _, body = encode_answer(cause, head_only, self.exchange.identify()).partition(b"\r\n\r\n")
        if self.answer(parse(head)):
            if page and self.exchange.host.pages:
                self.write(body)
            else:
                self.stage = _ENDED
        self.complete()

    def finish(self) -> None:
        """The request is over, whatever became of it: run the final chain, once."""
        if self._finished:
            return
        self._finished = True
        self.stage = _ENDED
        self.drop_transforms()
        self._intake = None
        self.exchange.table.run(_FINAL, self.exchange)

    def take(self) -> list[bytes | Piece]:
        """What is to be sent now, in order; the caller owns the descriptors."""
        out, self._out = self._out, []
        return out

    # -- for the intake ----------------------------------------------------------------------------------------------

    def pass_on(self, interim: bytes) -> None:
        """Interim responses of a node: out at once, unless there is no head at all."""
        if self.stage in OPEN:
            self._out.append(interim)

    def answer(self, head: Head) -> bool:
        """Prepare what a head says, and run the response chain. False: its body is not wanted."""
        if self.stage is _RAW:
            return True
        if self.stage not in OPEN:  # a rule has answered: this comes too late
            self.complete()
            return False
        if not self._prepare(head.status, self._line_of(head)):
            return self._now() is _RAW
        if not self._removed and not self.exchange.table.headers.pairs:
            self.headers.take_over(head.headers)
            return self._open()
        for name, line in head.headers:
            if not name or self._keeps(name, value_of(line)):
                self.headers.add_line(line)
        return self._open()

    @property
    def is_of_a_server(self) -> bool:
        """Whether an HTTP server answers, not a node."""
        target = self.exchange.target
        return target is not None and bool(target.head) and not target.untouched

    @property
    def is_of_a_program(self) -> bool:
        """Whether the chunks of the answer are not meant for the client."""
        target = self.exchange.target
        return target is not None and target.program is not None

    def _line_of(self, head: Head) -> bytes:
        """A node's status line as it came; that of an HTTP server speaks the client's version, as uWSGI's does."""
        if not self.is_of_a_server or self.failure is not None:
            return head.line
        return status_line(self.exchange.variable(b"SERVER_PROTOCOL"), head.line.partition(b" ")[2].lstrip())

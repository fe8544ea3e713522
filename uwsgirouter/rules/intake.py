"""A node's bytes on their way into a response: the head is read, the body counted, or taken out of its chunks.

One idea: what came from a node becomes what an action would have made, a status, headers, a body. It runs no chain
itself. Invariant: as soon as nothing of the rest is to be seen or changed, ``transparent`` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.framing import BadFraming, Chunked, Counted, Framing, is_chunked
from uwsgirouter.rules.head import BadHead, Head, HeadReader
from uwsgirouter.rules.stage import Stage

if TYPE_CHECKING:
    from uwsgirouter.rules.response import Response

_SWITCHING = 101
_ENDED = Stage.ENDED
_UNCOUNTED = Counted(None)
"""Of a body that passes unseen (it keeps nothing, so all share it)."""


class Intake:
    """Feeds ``response`` with one node's answer."""

    __slots__ = ("_framing", "_measure", "_reader", "_response", "transparent")

    def __init__(self, response: Response) -> None:
        self._response = response
        self._reader = HeadReader()
        self._framing: Framing | None = None
        self._measure: Framing | None = None
        """What finds the end of a body that passes as it is."""
        self.transparent = False

    @property
    def whole(self) -> bool:
        """Whether the answer may end here."""
        framing = self._measure or self._framing
        return framing is not None and framing.whole

    @property
    def over(self) -> bool:
        """Whether the answer ends here by its own word, so that nothing behind it is of interest."""
        framing = self._measure or self._framing
        return framing is not None and (framing.over or self._response.is_bodiless)

    def feed(self, data: bytes) -> None:
        """More bytes of the node."""
        if self._framing is None:
            data = self._feed_head(data)
        response, framing = self._response, self._framing
        if framing is None or response.stage is _ENDED:
            return
        if self.transparent:
            response.write(data)
        elif data:
            try:
                if self._measure is not None:
                    self._measure.feed(data)
                response.write(framing.feed(data))
            except BadFraming as error:
                response.fail(Cause.BAD_ANSWER, detail=str(error))
                return
        if response.is_of_a_server and self.over:
            response.complete()  # a server that keeps its connections does not end with its answer

    def _feed_head(self, data: bytes) -> bytes:
        """Bytes of the head; what came behind it."""
        reader, response = self._reader, self._response
        try:
            head = reader.feed(data)
        except BadHead as error:
            response.fail(Cause.BAD_ANSWER, detail=str(error))
            return b""
        if reader.interim:
            response.pass_on(reader.interim)
            reader.interim = b""
        if head is None:
            return b""
        if head.status == _SWITCHING:
            response.drop_transforms()
        if not response.answer(head):
            return b""
        self._take_framing(head)
        rest, reader.rest = reader.rest, b""
        return rest

    def _take_framing(self, head: Head) -> None:
        """How the body comes, and whether it may go out in the same way."""
        response = self._response
        headers = response.headers
        chunked = is_chunked(head.headers)
        changes = response.transforms
        if chunked and (changes or response.is_of_a_program or not is_chunked(headers)):
            headers.remove(b"transfer-encoding")
            self._framing = Chunked()
        elif changes:
            self._framing = Counted.of(head.headers, response.is_bodiless, response.is_of_a_server)
        elif response.is_of_a_server and head.status != _SWITCHING:
            self._framing = Counted(None) if chunked else Counted.of(head.headers, response.is_bodiless, exact=True)
            self._measure = Chunked() if chunked else None
        else:
            self._framing = _UNCOUNTED
            self.transparent = True
        if not changes:
            response.write_head()

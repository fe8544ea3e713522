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


class Intake:
    """Feeds ``response`` with one node's answer."""

    __slots__ = ("_framing", "_reader", "_response", "transparent")

    def __init__(self, response: Response) -> None:
        self._response = response
        self._reader = HeadReader()
        self._framing: Framing | None = None
        self.transparent = False

    @property
    def whole(self) -> bool:
        """Whether the answer may end here."""
        return self._framing is not None and self._framing.whole

    def feed(self, data: bytes) -> None:
        """More bytes of the node."""
        if self._framing is None:
            data = self._feed_head(data)
        framing = self._framing
        if not data or framing is None or self._response.stage is Stage.ENDED:
            return
        try:
            self._response.write(framing.feed(data))
        except BadFraming as error:
            self._response.fail(Cause.BAD_ANSWER, detail=str(error))

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
        if chunked and (changes or not is_chunked(headers)):
            headers.remove(b"transfer-encoding")
            self._framing = Chunked()
        elif changes:
            self._framing = Counted.of(head.headers, response.is_bodiless)
        else:
            self._framing = Counted(None)  # nobody counts what may pass unseen
            self.transparent = True
        if not changes:
            response.write_head()

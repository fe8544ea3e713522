"""Where a node's body ends, and its bytes without the chunks around them.

One idea: a transformation wants the content, and nobody wants half a body that looks whole. It sees body bytes only.
Invariants: content comes out in the order in which it came in; nothing is held but an unfinished line between two
chunks.
"""

from __future__ import annotations

from enum import Enum

from uwsgirouter.errors import ProtocolError
from uwsgirouter.rules.head import Headers

_LINE_MOST = 4096
"""Bytes of a chunk's size line, extensions included, and of a trailer line."""
_SIZE_MOST = 15
"""Hexadecimal digits of a chunk's size."""


class BadFraming(ProtocolError):
    """A body that says it is chunked and is not."""


class _At(Enum):
    SIZE = "the line with a chunk's size"
    DATA = "a chunk"
    GAP = "the line end behind a chunk"
    TRAILER = "lines behind the last chunk"
    END = "the body is over"


def is_chunked(headers: Headers) -> bool:
    """Whether a body comes in chunks and in nothing else around it."""
    value = headers.value(b"transfer-encoding")
    return value is not None and value.lower() == b"chunked"


class Counted:
    """A body of a length that its head tells, or that lasts as long as the connection (``length`` is None)."""

    def __init__(self, length: int | None, exact: bool = False) -> None:
        self._left = length
        self._exact = exact

    @classmethod
    def of(cls, headers: Headers, bodiless: bool, exact: bool = False) -> Counted:
        """By Content-Length; ``bodiless``: there is none, whatever the head says (HEAD, 204, 304).

        ``exact``: what comes behind it is dropped.
        """
        value = headers.value(b"content-length")
        known = not bodiless and value is not None and value.isdigit() and len(value) < 19
        return cls(int(value) if known and value is not None else None, exact)

    def feed(self, data: bytes) -> bytes:
        """More of the body; its content."""
        if self._left is not None:
            if self._exact:
                data = data[: self._left]
            self._left -= len(data)
        return data

    @property
    def whole(self) -> bool:
        """Whether the body may end here."""
        return self._left is None or self._left <= 0

    @property
    def over(self) -> bool:
        """Whether the body ends here, whatever else may come."""
        return self._left is not None and self._left <= 0


class Chunked:
    """A body in chunks, taken out of them."""

    def __init__(self) -> None:
        self._at = _At.SIZE
        self._line = b""
        self._left = 0

    @property
    def whole(self) -> bool:
        """Whether the last chunk was there."""
        return self._at in (_At.TRAILER, _At.END)

    @property
    def over(self) -> bool:
        """Whether the body ends here, trailer included."""
        return self._at is _At.END

    def feed(self, data: bytes) -> bytes:
        """More of the body; its content. Raises :class:`BadFraming`."""
        content: list[bytes] = []
        position = 0
        while position < len(data) and self._at is not _At.END:
            if self._at is _At.DATA:
                piece = data[position : position + self._left]
                content.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._at = _At.GAP
            else:
                position = self._feed_line(data, position)
        return b"".join(content)

    def _feed_line(self, data: bytes, position: int) -> int:
        """Take a line, or its beginning; where the rest begins."""
        end = data.find(b"\n", position)
        self._line += data[position : len(data) if end < 0 else end]
        if len(self._line) > _LINE_MOST:
            raise BadFraming("bad chunk", f"a line of more than {_LINE_MOST} bytes")
        if end < 0:
            return len(data)
        line, self._line = self._line.removesuffix(b"\r"), b""
        self._take_line(line)
        return end + 1

    def _take_line(self, line: bytes) -> None:
        if self._at is _At.TRAILER:
            if not line:
                self._at = _At.END
        elif self._at is _At.GAP:
            if line:
                raise BadFraming("bad chunk", f"{line[:16]!r} behind a chunk")
            self._at = _At.SIZE
        else:
            self._left = _size(line)
            self._at = _At.DATA if self._left else _At.TRAILER


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 0 < len(digits) <= _SIZE_MOST or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadFraming("bad chunk", f"the size {line[:16]!r}")
    return int(digits, 16)


Framing = Counted | Chunked

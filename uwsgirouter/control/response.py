"""An HTTP response as a uwsgi node gives it: bytes in, a head and body bytes out.

One idea: the framing decides when a response is whole. A Content-Length, chunks, a status without a body,
or the end of the connection; whatever ends earlier is a :class:`Failure` that says how much is missing. No
socket, no file. The head may start with a status line or, as CGI heads do, with fields of which ``Status``
is one; both line ends are taken.
"""

from __future__ import annotations

from enum import Enum

from uwsgirouter.control.base import Exit, Failure

HEAD_MAX = 1 << 18
"""Bytes of one head before it is taken for no head at all."""

_NO_BODY = {204, 304}


class Part(Enum):
    """What the next byte belongs to."""

    HEAD = "the head"
    LENGTH = "a body of known length"
    CHUNK_SIZE = "a chunk's size line"
    CHUNK = "a chunk"
    TRAILER = "the trailer"
    UNTIL_EOF = "a body that the connection's end ends"
    COMPLETE = "nothing"


class Response:
    """Feed it bytes as they arrive, then tell it of the end. ``head`` is the final head's bytes as they
    came.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.head = b""
        self.part = Part.HEAD
        self.received = 0
        """Bytes of body, without the chunks' own lines."""
        self._method = method
        self._buffer = b""
        self._missing = 0

    @property
    def complete(self) -> bool:
        """The response is whole, whatever the connection does next."""
        return self.part is Part.COMPLETE

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the node; give the body's bytes among them. Raises :class:`Failure` on a bad
        head.
        """
        self._buffer += data
        body = bytearray()
        while self._buffer and not self.complete:
            if not self._step(body):
                break
        self.received += len(body)
        return bytes(body)

    def end(self) -> None:
        """The node closed. Raises :class:`Failure` when the response is not whole."""
        if self.part is Part.UNTIL_EOF:
            self.part = Part.COMPLETE
        elif self.part is Part.HEAD and not self._buffer:
            raise Failure(Exit.EMPTY, "empty answer: the connection was closed without a byte")
        elif not self.complete:
            raise Failure(Exit.CUT, f"the answer was cut: {self.progress()}")

    def progress(self) -> str:
        """How far the response came, for messages."""
        if self.part is Part.HEAD:
            return f"{len(self._buffer)} bytes, in the head"
        if self.part is Part.LENGTH:
            return f"{self.received} of {self.received + self._missing} bytes of body"
        return f"{self.received} bytes of body, in {self.part.value}"

    def _step(self, body: bytearray) -> bool:
        """Consume what the current part can use; false when it needs more bytes."""
        if self.part is Part.HEAD:
            return self._read_head()
        if self.part in (Part.LENGTH, Part.CHUNK):
            return self._read_counted(body)
        if self.part in (Part.CHUNK_SIZE, Part.TRAILER):
            return self._read_chunk_line()
        body += self._buffer
        self._buffer = b""
        return False

    def _read_head(self) -> bool:
        ends = [(self._buffer.find(mark), len(mark)) for mark in (b"\r\n\r\n", b"\n\n")]
        found = [position + size for position, size in ends if position >= 0]
        if not found:
            if len(self._buffer) > HEAD_MAX:
                raise Failure(Exit.BAD_HEAD, f"malformed head: no end after {HEAD_MAX} bytes")
            return False
        self.head += self._buffer[: min(found)]
        self._take_head(self._buffer[: min(found)])
        self._buffer = self._buffer[min(found) :]
        return True

    def _take_head(self, raw: bytes) -> None:
        lines = raw.rstrip(b"\r\n").splitlines()
        is_http = bool(lines) and lines[0].startswith(b"HTTP/")
        fields = _fields(lines[1:] if is_http else lines)
        status = lines[0].partition(b" ")[2] if is_http else fields.get(b"status", b"200")
        self.status = _status(status)
        if 100 <= self.status < 200 and self.status != 101:
            return  # an interim head: the real one follows
        if self._method == "HEAD" or self.status in _NO_BODY:
            self.part = Part.COMPLETE
        elif b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            self.part = Part.CHUNK_SIZE
        elif b"content-length" in fields:
            self._expect(
                _digits(fields[b"content-length"], b"0123456789", "Content-Length"),
                Part.LENGTH,
                Part.COMPLETE,
            )
        else:
            self.part = Part.UNTIL_EOF

    def _read_counted(self, body: bytearray) -> bool:
        taken = self._buffer[: self._missing]
        body += taken
        self._buffer = self._buffer[len(taken) :]
        after = Part.COMPLETE if self.part is Part.LENGTH else Part.CHUNK_SIZE
        self._expect(self._missing - len(taken), self.part, after)
        return True

    def _read_chunk_line(self) -> bool:
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return False
        self._buffer = rest
        line = line.strip()
        if self.part is Part.TRAILER:
            self.part = Part.TRAILER if line else Part.COMPLETE
        elif line:  # the empty line is the end of the chunk before
            size = _digits(line.partition(b";")[0].strip(), b"0123456789abcdefABCDEF", "chunk size", 16)
            self._expect(size, Part.CHUNK, Part.TRAILER)
        return True

    def _expect(self, missing: int, reading: Part, after: Part) -> None:
        self._missing = missing
        self.part = reading if missing else after


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    """The header fields by lower-case name; the first of a repeated one counts."""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.strip() != name:
            raise Failure(Exit.BAD_HEAD, f"malformed head: line {line[:80]!r} is no header field")
        fields.setdefault(name.lower(), value.strip())
    return fields


def _status(text: bytes) -> int:
    digits = text.strip()[:3]
    if len(digits) == 3 and digits.isdigit() and digits >= b"100":
        return int(digits)
    raise Failure(Exit.BAD_HEAD, f"malformed head: status {text[:40]!r}")


def _digits(text: bytes, allowed: bytes, what: str, base: int = 10) -> int:
    if text and not text.strip(allowed) and len(text) < 19:
        return int(text, base)
    raise Failure(Exit.BAD_HEAD, f"malformed head: {what} {text[:40]!r}")

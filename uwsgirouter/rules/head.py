"""A node's HTTP head, read from bytes that come in any pieces, and the header lines of a response.

One idea: lines stay the bytes that they were; only names are looked at, so what no rule touches goes out as it came.
It knows nothing of chains. Invariants: a head is whole or not there; at most :data:`HEAD_MOST` bytes are held;
interim responses (1xx, but not 101, which is final) are never taken for the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from uwsgirouter.errors import ProtocolError

HEAD_MOST = 65536
"""Bytes of a head, and of each interim response."""

_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9])? +([1-9][0-9]{2})(?: [^\r\n\0]*)?")
_BEGINNING = b"HTTP/"
_LINE = re.compile(rb"\r?\n")


class BadHead(ProtocolError):
    """A node's answer that begins with no HTTP head; ``str()`` says what is wrong."""


class Headers:
    """The header lines of a response, in order. Names are compared without their case."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: list[tuple[bytes, bytes]] = []

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Name (in lower case; empty for a line without a colon) and whole line."""
        return iter(self._lines)

    def add_line(self, line: bytes) -> None:
        """A line as it stands, without its end."""
        name, colon, _ = line.partition(b":")
        self._lines.append((name.strip().lower() if colon else b"", line))

    def add(self, name: bytes, value: bytes) -> None:
        """``Name: value``."""
        self._lines.append((name.lower(), name + b": " + value))

    def continue_line(self, line: bytes) -> None:
        """A line that begins with space: it belongs to the one before."""
        if self._lines:
            name, before = self._lines[-1]
            self._lines[-1] = name, before + b"\r\n" + line

    def value(self, name: bytes) -> bytes | None:
        """The value of the last header of that name (in lower case)."""
        for known, line in reversed(self._lines):
            if known == name:
                return value_of(line)
        return None

    def has(self, name: bytes) -> bool:
        """Whether there is a header of that name (in lower case)."""
        return any(known == name for known, _ in self._lines)

    @property
    def is_coded(self) -> bool:
        """Whether the body is other bytes than the content (compressed, in chunks)."""
        return self.has(b"transfer-encoding") or (self.value(b"content-encoding") or b"identity").lower() != b"identity"

    def remove(self, name: bytes) -> bool:
        """Drop all headers of that name (in lower case); whether there were any."""
        before = len(self._lines)
        self._lines = [(known, line) for known, line in self._lines if known != name]
        return len(self._lines) < before

    def replace(self, name: bytes, value: bytes) -> bool:
        """Give the first header of that name another value and drop others; False: there is none."""
        lower, found = name.lower(), False
        lines: list[tuple[bytes, bytes]] = []
        for known, line in self._lines:
            if known != lower:
                lines.append((known, line))
            elif not found:
                lines.append((known, name + b": " + value))
                found = True
        self._lines = lines
        return found

    def encode(self) -> bytes:
        """All lines with their ends."""
        return b"".join([line + b"\r\n" for _, line in self._lines])


@dataclass(frozen=True)
class Head:
    """A final response's head. ``line`` is the status line as it came, without its end."""

    line: bytes
    status: int
    headers: Headers


class HeadReader:
    """Reads the head of one response."""

    __slots__ = ("_held", "interim", "rest")

    def __init__(self) -> None:
        self._held = bytearray()
        self.interim = b""
        """Interim responses that came so far, whole; whoever passes them on empties it."""
        self.rest = b""
        """What came behind the head."""

    @property
    def begun(self) -> bool:
        """Whether a part of a head is here."""
        return bool(self._held)

    def feed(self, data: bytes) -> Head | None:
        """More bytes; the head when it is whole. Raises :class:`BadHead`."""
        held = self._held
        seen = max(0, len(held) - 3)
        held += data
        while (end := _END.search(held, seen)) is not None:
            if end.start() > HEAD_MOST:
                break
            head = parse(bytes(held[: end.start()]))
            if head.status >= 200 or head.status == 101:
                self.rest = bytes(held[end.end() :])
                self._held = bytearray()
                return head
            self.interim += held[: end.end()]
            del held[: end.end()]
            seen = 0
        self._check(held)
        return None

    @staticmethod
    def _check(held: bytearray) -> None:
        """Whether this may become a head. Raises :class:`BadHead`."""
        if not _BEGINNING.startswith(held[: len(_BEGINNING)]):
            raise BadHead("bad head", f"it begins with {bytes(held[:16])!r}, not with HTTP/")
        if len(held) > HEAD_MOST:
            raise BadHead("bad head", f"it is longer than {HEAD_MOST} bytes")


def parse(block: bytes) -> Head:
    """A head without the empty line at its end. Raises :class:`BadHead`."""
    line, *lines = _LINE.split(block)
    status = _STATUS.fullmatch(line)
    if status is None:
        raise BadHead("bad head", f"its status line is {line[:64]!r}")
    headers = Headers()
    for each in lines:
        if each[:1] in (b" ", b"\t"):
            headers.continue_line(each)
        else:
            headers.add_line(each)
    return Head(line, int(status[1]), headers)


def value_of(line: bytes) -> bytes:
    """What stands behind the colon, without space around it."""
    return line.partition(b":")[2].strip()

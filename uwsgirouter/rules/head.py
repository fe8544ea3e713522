"""A node's HTTP head, read from bytes that come in any pieces, and the header lines of a response.

One idea: lines stay the bytes that they were; only names are looked at, so what no rule touches goes out as it came.
It knows nothing of chains. Invariants: a head is whole or not there; at most :data:`HEAD_MOST` bytes are held;
interim responses (1xx, but not 101, which is final) are never taken for the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from uwsgirouter.errors import ProtocolError

HEAD_MOST = 65536
"""Bytes of a head, and of each interim response."""

_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9])? +([1-9][0-9]{2})(?: [^\r\n\0]*)?")
_BEGINNING = b"HTTP/"
_CRLF = b"\r\n"
_CR, _LF, _SPACE, _TAB = b"\r\n \t"
_KNOWN: dict[bytes, int] = {}
"""Status lines that were read before: nodes say the same few over and over."""
_KNOWN_MOST, _KNOWN_SIZE = 256, 64


class BadHead(ProtocolError):
    """A node's answer that begins with no HTTP head; ``str()`` says what is wrong."""


class Headers:
    """The header lines of a response, in order. Names are compared without their case.

    Lines that nobody asks for are not taken apart: ``block`` are whole lines, each with CR LF behind it.
    """

    __slots__ = ("_block", "_lines")

    def __init__(self, block: bytes = b"") -> None:
        self._block = block
        """Lines that nobody has looked at; while there are any, there are no others."""
        self._lines: list[tuple[bytes, bytes]] | None = None

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Name (in lower case; empty for a line without a colon) and whole line."""
        return iter(self._apart())

    def _apart(self) -> list[tuple[bytes, bytes]]:
        """The lines, each by itself."""
        lines = self._lines
        if lines is None:
            lines = self._lines = []
        if self._block:
            block, self._block = self._block, b""
            for line in block[:-2].split(_CRLF):
                self._add(line)
        return lines

    def _add(self, line: bytes) -> None:
        if line[:1] in (b" ", b"\t"):
            self.continue_line(line)
        else:
            self.add_line(line)

    def take_over(self, other: Headers) -> None:
        """All of another answer's lines, behind those that are here."""
        if self._block or self._lines:
            self._apart().extend(other._apart())
        else:
            self._block, self._lines = other._block, None if other._lines is None else other._lines.copy()

    def add_line(self, line: bytes) -> None:
        """A line as it stands, without its end."""
        name, colon, _ = line.partition(b":")
        self._apart().append((name.strip().lower() if colon else b"", line))

    def add(self, name: bytes, value: bytes) -> None:
        """``Name: value``."""
        self._apart().append((name.lower(), name + b": " + value))

    def continue_line(self, line: bytes) -> None:
        """A line that begins with space: it belongs to the one before."""
        lines = self._apart()
        if lines:
            name, before = lines[-1]
            lines[-1] = name, before + _CRLF + line

    def value(self, name: bytes) -> bytes | None:
        """The value of the last header of that name (in lower case)."""
        if self._block and self._block.lower().find(name) < 0:
            return None
        for known, line in reversed(self._apart()):
            if known == name:
                return value_of(line)
        return None

    def has(self, name: bytes) -> bool:
        """Whether there is a header of that name (in lower case)."""
        return any(known == name for known, _ in self._apart())

    @property
    def is_coded(self) -> bool:
        """Whether the body is other bytes than the content (compressed, in chunks)."""
        return self.has(b"transfer-encoding") or (self.value(b"content-encoding") or b"identity").lower() != b"identity"

    def remove(self, name: bytes) -> bool:
        """Drop all headers of that name (in lower case); whether there were any."""
        lines = self._apart()
        self._lines = [(known, line) for known, line in lines if known != name]
        return len(self._lines) < len(lines)

    def replace(self, name: bytes, value: bytes) -> bool:
        """Give the first header of that name another value and drop others; False: there is none."""
        lower, found = name.lower(), False
        lines: list[tuple[bytes, bytes]] = []
        for known, line in self._apart():
            if known != lower:
                lines.append((known, line))
            elif not found:
                lines.append((known, name + b": " + value))
                found = True
        self._lines = lines
        return found

    def encode(self) -> bytes:
        """All lines with their ends."""
        if self._block or not self._lines:
            return self._block
        return b"".join([line + _CRLF for _, line in self._lines])


class Head:
    """A final response's head. ``line`` is the status line as it came, without its end."""

    __slots__ = ("headers", "line", "status")

    def __init__(self, line: bytes, status: int, headers: Headers) -> None:
        self.line = line
        self.status = status
        self.headers = headers


class HeadReader:
    """Reads the head of one response."""

    __slots__ = ("_held", "interim", "rest")

    def __init__(self) -> None:
        self._held: bytearray | None = None
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
        if self._held is None:
            block, empty, rest = data.partition(b"\r\n\r\n")
            # Where no line ends in LF alone, this is the first empty line.
            if empty and len(block) <= HEAD_MOST and block.count(b"\n") == block.count(_CRLF):
                head = _parsed(block, True)
                if _is_final(head.status):
                    self.rest = rest
                    return head
        return self._feed_odd(data)

    def _feed_odd(self, data: bytes) -> Head | None:
        """The same for a head in pieces, behind interim responses, or with odd line ends."""
        held: bytes | bytearray = data
        begin = seen = 0
        if self._held is not None:
            seen = max(0, len(self._held) - 3)
            self._held += data
            held = self._held
        while (end := _end_of(held, seen)) >= 0:
            after = end + 2 if held[end + 1] == _LF else end + 3
            if end > seen and held[end - 1] == _CR:
                end -= 1
            if end - begin > HEAD_MOST:
                break
            head = parse(bytes(held[begin:end]))
            if _is_final(head.status):
                self.rest = bytes(held[after:])
                self._held = None
                return head
            self.interim += held[begin:after]
            begin = seen = after
        if self._held is None or begin:
            self._held = bytearray(held[begin:])
        self._check(self._held)
        return None

    @staticmethod
    def _check(held: bytearray) -> None:
        """Whether this may become a head. Raises :class:`BadHead`."""
        if not _BEGINNING.startswith(held[: len(_BEGINNING)]):
            raise BadHead("bad head", f"it begins with {bytes(held[:16])!r}, not with HTTP/")
        if len(held) > HEAD_MOST:
            raise BadHead("bad head", f"it is longer than {HEAD_MOST} bytes")


def _end_of(held: bytes | bytearray, begin: int) -> int:
    """Where the line end before the first empty line is (its LF), -1 when there is none."""
    end = held.find(b"\n\r\n", begin)
    bare = held.find(b"\n\n", begin, len(held) if end < 0 else end + 1)
    return end if bare < 0 else bare


def parse(block: bytes) -> Head:
    """A head without the empty line at its end. Raises :class:`BadHead`."""
    return _parsed(block, block.count(b"\n") == block.count(_CRLF))


def _parsed(block: bytes, plain: bool) -> Head:
    """``plain``: all its lines end in CR LF."""
    line, _, rest = block.partition(_CRLF if plain else b"\n")
    if not plain:
        line = line.removesuffix(b"\r")
    status = _KNOWN.get(line, 0) or _status_of(line)
    if not rest:
        return Head(line, status, Headers())
    if not plain or rest[0] == _SPACE or rest[0] == _TAB:
        return Head(line, status, _odd(rest))
    return Head(line, status, Headers(rest + _CRLF))


def _is_final(status: int) -> bool:
    return status >= 200 or status == 101


def _status_of(line: bytes) -> int:
    found = _STATUS.fullmatch(line)
    if found is None:
        raise BadHead("bad head", f"its status line is {line[:64]!r}")
    status = int(found[1])
    if len(line) <= _KNOWN_SIZE and len(_KNOWN) < _KNOWN_MOST:
        _KNOWN[line] = status
    return status


def _odd(rest: bytes) -> Headers:
    """Lines that end in LF alone, or go on where nothing was."""
    headers = Headers()
    lines = rest.split(b"\n")
    for line in lines[:-1]:
        headers._add(line.removesuffix(b"\r"))
    headers._add(lines[-1])
    return headers


def value_of(line: bytes) -> bytes:
    """What stands behind the colon, without space around it."""
    return line.partition(b":")[2].strip()

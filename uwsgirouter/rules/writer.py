"""uWSGI's response writer without a socket: a status is prepared, headers are added, a body is written.

One idea: whatever answers writes here, and what comes of it is a list of bytes and files, in order. The chains run
here: error when a status is prepared, response just before the head is made. It knows nodes and sessions not at all.
Invariants: the head goes out once, before any body byte; the response chain runs once; what the error chain answers
does not go through the error chain.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.base import Broken, ChainName, Verdict
from uwsgirouter.rules.head import Headers
from uwsgirouter.rules.reasons import status_line, whole_status
from uwsgirouter.rules.stage import OPEN, Piece, Stage
from uwsgirouter.rules.transform import Pipeline, Refused, Transform

if TYPE_CHECKING:
    from uwsgirouter.rules.exchange import Exchange

DEFAULT_STATUS = 500
_CR, _LF, _NUL = b"\r\n\0"
_THROUGH_MOST = 1 << 20
"""Bytes of a file that is read through transformations: that is done in one go."""
_STEP = 65536
_BODILESS = (204, 304)

# An enum's member costs a look-up through its metaclass each time; a global costs next to nothing.
_NOTHING, _PREPARED, _SENT, _RAW, _ENDED = Stage.NOTHING, Stage.PREPARED, Stage.SENT, Stage.RAW, Stage.ENDED
_ERROR, _RESPONSE, _BREAK = ChainName.ERROR, ChainName.RESPONSE, Verdict.BREAK
_NO_NAMES: frozenset[bytes] = frozenset()


class Writer:
    """See the module. Everything is bytes; header names keep their case, comparisons ignore it."""

    __slots__ = (
        "_added",
        "_deaf",
        "_line",
        "_opened",
        "_out",
        "_pipeline",
        "_prepared",
        "_removed",
        "body_size",
        "exchange",
        "headers",
        "own_line",
        "sent_head",
        "stage",
        "status",
    )

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.stage = _NOTHING
        self.status = DEFAULT_STATUS
        self.headers = Headers()
        """Those of the answer being prepared."""
        self.body_size = 0
        self.sent_head = b""
        """The head, as it went out."""
        """Bytes of body so far; whoever passes a transparent rest on adds to it."""
        self.own_line = b""
        """A header line of the router's own, without its end, for the head of the next node's answer."""
        self._line = b""
        self._added: list[bytes] = []
        self._removed = _NO_NAMES
        self._pipeline: Pipeline | None = None
        self._out: list[bytes | Piece] = []
        self._prepared = 0
        self._opened = False
        """Whether the response chain has run, or never will."""
        self._deaf = False
        """Whether the error chain has had its say."""

    def fail(self, cause: Cause, head_only: bool = False, page: bool = True, detail: str = "") -> None:
        """A failure in place of the answer; when the head is out, the answer is cut (rules/response.py)."""
        raise NotImplementedError

    # -- for actions -------------------------------------------------------------------------------------------------

    def prepare(self, status: bytes) -> bool:
        """``404 Not Here`` (or ``404``): drop what was prepared before and run the error chain.

        False: it is too late, or the error chain has answered; the caller then has nothing more to say. Raises
        :class:`Broken` for what is no status.
        """
        if self.stage not in OPEN:
            return False
        number, text = whole_status(status)
        return self._prepare(number, status_line(self.exchange.variable(b"SERVER_PROTOCOL"), text))

    def header(self, name: bytes, value: bytes) -> None:
        """A header of the answer being prepared (delheader applies). CR, LF, NUL in it raise :class:`Broken`."""
        self._check(name, value)
        if self.stage is _PREPARED and self._keeps(name.lower(), value):
            self.headers.add(name, value)

    def force_header(self, name: bytes, value: bytes) -> None:
        """A header in place of others of its name, which no delheader removes."""
        self._check(name, value)
        if self.stage is _PREPARED and not self.headers.replace(name, value):
            self.headers.add(name, value)

    def add_header(self, line: bytes) -> None:
        """``addheader``: a line behind all others, in any answer of the exchange. CR, LF, NUL raise :class:`Broken`."""
        check_header(line)
        self._added.append(line)

    def remove_header(self, name: bytes) -> None:
        """``delheader``: drop headers of that name that come later."""
        self._removed |= {name.lower()}

    def disable_headers(self) -> None:
        """``disableheaders``: no head goes out."""
        if self.stage in OPEN:
            self.stage = _RAW

    def write(self, data: bytes) -> None:
        """Body bytes: sends the head before (running the response chain).

        Without a status they are raw (``send``): they stand in place of a head.
        """
        if not data or not self._open():
            return
        if self.stage is _NOTHING:
            self.stage = _RAW
        if self._pipeline is not None:
            try:
                data = self._pipeline.feed(data)
            except Refused as error:
                self.fail(error.cause, detail=str(error))
                return
        self._put(data)

    def write_file(self, piece: Piece, changes: bool = False) -> None:
        """The same, of a file, whose descriptor is this one's from now on.

        ``changes``: transformations apply, unless it is larger than 1 MiB: all that comes of it is held at once.
        """
        goes_out = False
        try:
            goes_out = self._open()
        finally:  # a chain that waits may be killed
            if not goes_out:
                os.close(piece.descriptor)
        if not goes_out:
            return
        if changes and self._pipeline is not None and piece.length <= _THROUGH_MOST:
            self._write_through(piece)
            return
        if self.stage is _NOTHING:
            self.stage = _RAW
        self.flush_head()
        self._out.append(piece)
        self.body_size += piece.length

    def write_head(self) -> None:
        """The head alone."""
        if self._open():
            self.flush_head()

    def transform(self, transform: Transform) -> None:
        """Append a transformation; too late when the head is out."""
        if self.stage in (_SENT, _ENDED):
            transform.abandon()
            return
        if self._pipeline is None:
            self._pipeline = Pipeline(self)
        self._pipeline.add(transform, late=self._opened)

    @property
    def is_bodiless(self) -> bool:
        """Whether this answer has no body whatever its head says."""
        return self.status in _BODILESS or self.exchange.variable(b"REQUEST_METHOD") == b"HEAD"

    @property
    def head_out(self) -> bool:
        """Whether a head, or raw bytes in its place, is out: nothing can be prepared any more."""
        return self.stage not in OPEN

    @property
    def answered(self) -> bool:
        """Whether a rule's own head is out, so that a node's answer would be dropped (not so behind raw bytes)."""
        return self.stage in (_SENT, _ENDED)

    def complete(self) -> None:
        """All of the answer is there: the head, if it is not out yet, and what transformations hold."""
        if self.stage is _ENDED:
            return
        if self.stage is _PREPARED and not self._open():
            return
        if self._pipeline is not None:
            try:
                self._put(self._pipeline.end())
            except Refused as error:
                self.fail(error.cause, detail=str(error))
                return
        self.flush_head()
        self.stage = _ENDED

    # -- for transformations ----------------------------------------------------------------------------------------

    @property
    def transforms(self) -> bool:
        """Whether the body goes through transformations."""
        return self._pipeline is not None

    def drop_transforms(self) -> None:
        """None of them has to do with what comes."""
        if self._pipeline is not None:
            self._pipeline.abandon()
            self._pipeline = None

    def flush_head(self) -> None:
        """The head goes out, if there is one and it has not."""
        if self.stage is not _PREPARED:
            return
        lines = [self._line, b"\r\n", self.headers.encode()]
        if self.own_line:
            lines[2:2] = self.own_line, b"\r\n"
        for line in self._added:
            lines += line, b"\r\n"
        lines.append(b"\r\n")
        self.sent_head = b"".join(lines)
        self._out.append(self.sent_head)
        self.stage = _SENT

    # -- inside ------------------------------------------------------------------------------------------------------

    def _prepare(self, status: int, line: bytes) -> bool:
        self.stage, self.status, self._line = _PREPARED, status, line
        self.headers = Headers()
        self._prepared += 1
        if self._deaf:
            return True
        exchange, before = self.exchange, self._prepared
        exchange.broken = ""
        verdict = exchange.table.run(_ERROR, exchange)
        stage = self._now()
        if stage is _RAW or (stage is _PREPARED and verdict is not _BREAK):
            return stage is not _RAW
        self._deaf = True
        self._end_chain(before)
        return False

    def _open(self) -> bool:
        """Run the response chain if it has not; whether what comes now goes out."""
        if self.stage is _ENDED:
            return False
        if self._opened or self.stage not in OPEN:
            return True
        self._opened = True
        exchange, before = self.exchange, self._prepared
        exchange.broken = ""
        if exchange.table.run(_RESPONSE, exchange) is _BREAK:
            self._end_chain(before)
        return self._now() is not _ENDED

    def _now(self) -> Stage:
        """The stage, which a chain may have changed."""
        return self.stage

    def _end_chain(self, before: int) -> None:
        """A chain said BREAK: what it answered is the answer. ``before``: the number of answers when it began."""
        if self.exchange.broken:
            self.fail(self.exchange.cause, detail=self.exchange.broken)
        elif self.stage is _NOTHING:
            self.fail(Cause.RULE_BREAK)
        elif self.stage is _PREPARED and before == self._prepared:
            self._strip()
        self.complete()

    def _strip(self) -> None:
        """A bare break: the head alone, which must not promise a body."""
        self.drop_transforms()
        if self.exchange.variable(b"REQUEST_METHOD") != b"HEAD":
            self.headers.remove(b"content-length")
            self.headers.remove(b"transfer-encoding")

    def _keeps(self, name: bytes, value: bytes) -> bool:
        """Whether a header stays in the answer; it may become a variable."""
        if name in self._removed:
            return False
        keeps = True
        for pair in self.exchange.table.headers.pairs:
            if pair.header == name:
                self.exchange.collected[pair.variable] = value
                keeps = keeps and not pair.pulled
        return keeps

    def _write_through(self, piece: Piece) -> None:
        """Write a file's bytes as a body's."""
        at, end = piece.offset, piece.offset + piece.length
        try:
            while at < end and self._now() is not _ENDED:
                data = os.pread(piece.descriptor, min(_STEP, end - at), at)
                if not data:
                    self.fail(Cause.NO_FILE, detail="it became shorter while it was read")
                at += len(data)
                self.write(data)
        finally:
            os.close(piece.descriptor)

    def _check(self, name: bytes, value: bytes) -> None:
        """A header that cannot be leaves nothing of the answer that it was for."""
        try:
            check_header(name)
            check_header(value)
        except Broken:
            if self.stage is _PREPARED:
                self.stage = _NOTHING
            raise

    def _put(self, data: bytes) -> None:
        if data:
            self.flush_head()
            self._out.append(data)
            self.body_size += len(data)


def check_header(text: bytes) -> None:
    """What is put into a header must not end it. Raises :class:`Broken`."""
    if _CR in text or _LF in text or _NUL in text:
        raise Broken(f"a header with a line end or a NUL byte in it: {text[:64]!r}", Cause.BAD_HEADER)

"""What came of a request on one side, and when two of them are the same."""

from __future__ import annotations

import re
import time
import zlib
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

CAUSE = b"X-Uwsgirouter-Cause:"
_DATE = re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


@dataclass
class Outcome:
    """The answer's bytes, how the connection ended, what the application saw, and what was logged."""

    answer: bytes = b""
    end: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """How long it took."""
    moment: float = 0.0
    """When it was asked, in seconds since 1970."""

    @property
    def failed(self) -> bool:
        """The router's own failure answer, where uWSGI would close without a byte."""
        return CAUSE in self.answer.partition(b"\r\n\r\n")[0]

    @property
    def cause(self) -> str:
        """The failure's cause."""
        found = re.search(CAUSE + rb" *(\S+)", self.answer)
        return found.group(1).decode() if found else ""

    @property
    def body(self) -> bytes:
        """What follows the head."""
        return self.answer.partition(b"\r\n\r\n")[2]

    @property
    def head(self) -> list[bytes]:
        """The lines of the head."""
        return self.answer.partition(b"\r\n\r\n")[0].split(b"\r\n")

    def variables(self) -> dict[str, str]:
        """What the application saw, which was asked once."""
        assert len(self.seen) == 1, self.seen
        found: dict[str, str] = self.seen[0]["vars"]
        return found

    def show(self) -> str:
        """For people."""
        seen = [{k: v for k, v in report["vars"].items() if k not in _DULL} for report in self.seen]
        body = "".join(f" body {report['body']!r}" for report in self.seen if report["body"])
        lines = [
            f"{self.end} {self.answer[:600]!r} ({len(self.answer)} bytes)",
            f"seen {seen}{body}",
            f"log {self.log}",
        ]
        return "\n      ".join(lines)


_DULL = {
    "X_APP",
    "CASE",
    "CHAINS",
    "X_ID",
    "CONTENT_TYPE",
    "DOCUMENT_ROOT",
    "SERVER_PORT",
    "REMOTE_PORT",
    "REQUEST_SCHEME",
    "SERVER_NAME",
    "wsgi.url_scheme",
    "SERVER_PROTOCOL",
}


def same(real: Outcome, ours: Outcome, *, dates: bool = False, framing: bool = False) -> None:
    """The answers, what the application saw and the log are the same. Where uWSGI closed without a byte, a failure
    answer.

    ``dates``: those in the answer may be five seconds apart. ``framing``: the pieces that a body is chunked and
    compressed in may be others, since a router reads other pieces than the application wrote.
    """
    assert ours.log == real.log
    assert ours.seen == real.seen
    if not real.answer:
        assert ours.failed, ours.answer[:600]
        return
    answer, expected = ours.answer, real.answer
    if dates:
        near(real, ours)
        answer, expected = _DATE.sub(b"<date>", answer), _DATE.sub(b"<date>", expected)
    if framing:
        assert framed_head(ours) == framed_head(real)
        assert unframed(ours) == unframed(real)
    else:
        assert answer == expected
    assert ours.end == real.end


def framed_head(outcome: Outcome) -> list[bytes]:
    """The head, with a mark in place of the body's own length."""
    own = b"Content-Length: %d" % len(outcome.body)
    return [b"Content-Length: own" if line == own else line for line in outcome.head]


def unframed(outcome: Outcome) -> bytes:
    """The body without its transfer and content codings, of which the last one in the head is undone first. A body that
    does not keep its word stays as it is.
    """
    body = outcome.body
    try:
        for line in reversed(outcome.head):
            if line == b"Transfer-Encoding: chunked":
                body = dechunked(body)
            if line == b"Content-Encoding: gzip":
                body = gunzipped(body)
    except (ValueError, zlib.error):
        return outcome.body
    return body


def gunzipped(body: bytes) -> bytes:
    """The content of a gzip stream. ValueError, zlib.error when it is none, or is cut."""
    unpacking = zlib.decompressobj(wbits=31)
    content = unpacking.decompress(body)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError(body)
    return content


def dechunked(body: bytes) -> bytes:
    """The body of a chunked one. ValueError when it is none, or is cut."""
    pieces = []
    while True:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        pieces.append(body[:count])
        if size != b"%X" % count or body[count : count + 2] != b"\r\n":
            raise ValueError(body)
        body = body[count + 2 :]
        if not count:
            if body:
                raise ValueError(body)
            return b"".join(pieces)


def near(real: Outcome, ours: Outcome) -> None:
    """The dates in both are at most five seconds apart, seen from when each was asked."""
    moments = [
        [
            parsedate_to_datetime(found.decode()).timestamp() - (outcome.moment if moving(found) else 0)
            for found in _DATE.findall(outcome.answer)
        ]
        for outcome in (real, ours)
    ]
    assert len(moments[0]) == len(moments[1])
    assert all(abs(a - b) <= 5 for a, b in zip(*moments, strict=True)), moments


def moving(date: bytes) -> bool:
    """Whether a date is near now, so that it depends on when it was asked for."""
    return abs(parsedate_to_datetime(date.decode()).timestamp() - time.time()) < 86400

"""The differences to uWSGI that are meant, and what the router does instead; docs/differences.md has the same list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.rules.differential.case import Differs
from tests.rules.differential.outcome import Outcome

HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"


def without(*names: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """A head without these headers."""
    return lambda lines: [line for line in lines if not line.startswith(tuple(name + b":" for name in names))]


def once(lines: list[bytes]) -> list[bytes]:
    """A head without the application's Content-Length in front of a transformation's."""
    lengths = [line for line in lines if line.startswith(b"Content-Length:")]
    first = lines.index(lengths[0])
    return [line for index, line in enumerate(lines) if index != first]


def named_coding(header: bytes) -> Callable[[Outcome], bytes]:
    """uWSGI's answer with this header."""
    return lambda real: real.answer.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n", 1)


FAILS_ALOUD = "what closes without a byte is answered, through the error, response and final chains"
NO_GROUPS = "$N of a subject that the request does not have is empty (it stays as it is)"
NUL = "a NUL byte ends no text, and no file has one in its name"
LONG = "an address that is too long is in no network (the request ends)"
CONTAINS = "contains finds every occurrence"
NO_DOTS = "file, sendfile, fastfile: no .. in a path, no directories (sent as 4096 bytes that do not come)"
NO_HTTP = "an answer that is no HTTP is a 502"
STATUS = "a status is three digits"
MATHS = "numbers are read as far as they are numbers, - is a sign, / divides"
LENGTH = "a body that changes loses the application's Content-Length, and has no second one"
INJECTION = "line ends and NUL bytes that a client sends into a header are a 400"
DISABLED = "disableheaders: the application's body goes out"
HTPASSWD = "password files are read to their end, with or without a last line end"
LATE = "what the final chain sends is dropped"
NO_HEAD = "break: and send: in the error chain keep the head"
NOT_CHUNKED = "nothing is chunked for HTTP/1.0"
IN_LOG = "control characters and bytes that are no UTF-8 are escaped in the log"
LOWER = "the scheme Basic may be written in lower case"
NO_LENGTH = "no length is added to 304, nor to an empty answer to HEAD"
NOT_ASKED = Differs(
    "static-next, cache-continue, rpcnext, rpcblob: once their answer is out the application is not asked", asked=False
)
WHOLE = "answers of the error and response chains pass transformations whole (their end is lost)"
NAMED = "Content-Encoding: gzip stands in the head, also when the application's first piece is empty"
FLUSH = "flush sends what it flushes once"
STORE_AWAY = "memcached:, redis: without the server the request ends with a 502 (the -continue forms go on)"
FILES = "transformations apply to files that an application sends"


def failed(cause: str, log: list[str] | None = None) -> Differs:
    """A failure answer where uWSGI closes, with the log of the chains that then run."""
    return Differs(FAILS_ALOUD, cause=cause, log=log)


def length_dropped(why: str = LENGTH) -> Differs:
    """No Content-Length of the application's."""
    return Differs(why, head=without(b"Content-Length"))


def refused(cause: str, why: str = INJECTION) -> Differs:
    """A failure answer, and the application is not asked."""
    return Differs(why, cause=cause, asked=False)


def logged(why: str, *lines: str) -> Differs:
    """Other lines in the log, and nothing else."""
    return Differs(why, log=lines)


def goes_on(why: str, *lines: str) -> Differs:
    """The request goes on to the application."""
    return Differs(why, answer=HELLO, log=lines, asked=True)


def named(differs: Differs, **variables: str | None) -> Differs:
    """The same, and the application sees other variables."""
    return replace(differs, variables=variables)

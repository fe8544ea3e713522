"""flush, toupper, fixcl, forcecl, offload.

One idea: the small ones. Invariant: fixcl and forcecl leave exactly one Content-Length, and it is right.
"""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.rules.base import Act, Found, Place, Verdict, action, transformation
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.stage import Stage
from uwsgirouter.rules.transform import Buffering, Transform
from uwsgirouter.rules.writer import Writer

Maker = Callable[[Exchange, Found], Transform]


class Flush(Transform):
    """Sends what it gets to the client; what stands behind it only looks on."""

    flushes = True


class Upper(Transform):
    """ASCII letters in upper case, as uWSGI's example plugin."""

    def begin(self, response: Writer) -> bool:
        return not response.headers.is_coded

    def feed(self, data: bytes) -> bytes:
        return data.upper()


class Length(Buffering):
    """Holds the body to say how long it is. One that is too large passes as it is."""

    def __init__(self, most: int, forced: bool) -> None:
        super().__init__(most)
        self._forced = forced
        self._response: Writer | None = None

    def begin(self, response: Writer) -> bool:
        self._response = response
        return response.stage is Stage.PREPARED and not response.headers.has(b"transfer-encoding")

    def whole(self, body: bytes) -> bytes:
        assert self._response is not None
        self._set(self._response, len(body))
        return body

    def empty(self, response: Writer) -> None:
        if response.stage is Stage.PREPARED and not response.is_bodiless:
            self._set(response, 0)

    def _set(self, response: Writer, length: int) -> None:
        value = b"%d" % length
        if self._forced:
            response.force_header(b"Content-Length", value)
        elif not response.headers.replace(b"Content-Length", value):
            response.header(b"Content-Length", value)


@transformation("flush")
def flush(argument: bytes, place: Place) -> Maker:
    """Send the body as it is here; what follows only looks on."""
    return lambda exchange, found: Flush()


@transformation("toupper")
def toupper(argument: bytes, place: Place) -> Maker:
    """Letters in upper case."""
    return lambda exchange, found: Upper()


def _length(forced: bool) -> Callable[[bytes, Place], Maker]:
    def make(argument: bytes, place: Place) -> Maker:
        most = place.settings.number("transformation-buffer")
        return lambda exchange, found: Length(most, forced)

    return make


transformation("fixcl")(_length(False))
transformation("forcecl")(_length(True))


@action("offload")
def offload(argument: bytes, place: Place) -> Act:
    """Nothing: sending never holds up a worker here, so there is nothing to hand to a thread."""
    place.note("sending holds up no worker here and needs no thread, so offload does nothing")
    return lambda exchange, found: Verdict.NEXT

"""template: the body is a text like a rule's, with $1 and ${...} in it.

One idea: the body is cut into pieces as a rule's text is, so what is put in is never looked at again. An unknown
function in a page is empty, as in uWSGI: a page is written by other people than the rules. Invariant: nothing that a
page says stays behind in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules import expansion
from uwsgirouter.rules.base import PARTS, BadRule, Expand, Found, Place, Value, transformation
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.stage import Stage
from uwsgirouter.rules.transform import Buffering, Refused, Transform
from uwsgirouter.rules.writer import Writer

_DOLLARS_MOST = 10_000
"""Places to fill in on one page: it is done in one go, while others wait."""


class Template(Buffering):
    """Fills in one page."""

    def __init__(self, most: int, place: Place, exchange: Exchange, found: Found) -> None:
        super().__init__(most)
        self._place = place
        self._exchange = exchange
        self._found = found
        self._response: Writer | None = None

    def begin(self, response: Writer) -> bool:
        self._response = response
        return not response.headers.is_coded

    def whole(self, body: bytes) -> bytes:
        assert self._response is not None
        if body.count(b"$") > _DOLLARS_MOST:
            raise Refused(Cause.ANSWER_TOO_LARGE, f"template: the page has more than {_DOLLARS_MOST} times a $")
        text = expansion.of_pieces(expansion.cut(body), self._braces)(self._exchange, self._found)
        if self._response.stage is Stage.PREPARED:
            self._response.headers.replace(b"Content-Length", b"%d" % len(text))
        return text

    def overflow(self, most: int) -> None:
        raise Refused(Cause.ANSWER_TOO_LARGE, f"template: the body is larger than transformation-buffer = {most}")

    def _braces(self, braces: expansion.Braces) -> Expand:
        named = expansion.joined([_text(piece) for piece in braces.inside])
        return lambda exchange, found: self._value(named(exchange, found))

    def _value(self, name: bytes) -> bytes:
        """What ``${name}`` means."""
        function, bracket, rest = name.partition(b"[")
        if not bracket or not rest.endswith(b"]"):
            return self._exchange.variable(name)
        part = PARTS.variables.get(function.decode("latin-1"))
        if part is None or part.waits:
            return b""
        try:
            value = cast(Value, part.make(rest[:-1], self._place))
        except BadRule:
            return b""
        return value(self._exchange)


def _text(piece: bytes | expansion.Group) -> bytes | Expand:
    return piece if isinstance(piece, bytes) else expansion.group(piece.number)


class RunningPlace:
    """The place of a rule whose table is built already: what is asked of it is not remembered."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def template(self, text: bytes) -> Expand:
        """What a function's argument means: itself, as it is filled in already."""
        return expansion.constant(text)

    def constant(self, text: bytes) -> bytes | None:
        """Always ``text``."""
        return text

    def waits(self) -> None:
        """A page's functions do not wait."""
        raise BadRule("nothing that waits in a page")

    def variable(self, name: bytes) -> None:
        """Not remembered."""

    def warn(self, text: str) -> None:
        """Nobody is there to hear it."""


@transformation("template")
def template(argument: bytes, place: Place) -> Callable[[Exchange, Found], Transform]:
    """Fill in $1 and ${...} in the body."""
    most = place.settings.number("transformation-buffer")
    running = cast(Place, RunningPlace(place))
    return lambda exchange, found: Template(most, running, exchange, found)

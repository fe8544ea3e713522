"""toxslt: a body of XML in the style of a file.

One idea: the body is held whole, and what becomes of it has another type and length, so the head is held with it. The
work is done where ``xslt`` does it. Invariant: a body that cannot be transformed is answered with a failure, never
passed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.actions.xslt import Styling
from uwsgirouter.rules.arguments import keyed
from uwsgirouter.rules.base import Broken, Found, Place, transformation
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.stage import Stage
from uwsgirouter.rules.transform import Buffering, Refused, Transform
from uwsgirouter.rules.writer import Writer


class Restyled(Buffering):
    """Transforms one body."""

    def __init__(self, styling: Styling, exchange: Exchange, found: Found) -> None:
        super().__init__(styling.most)
        self._styling = styling
        self._host = exchange.host
        self._filled = styling.filled(exchange, found)
        self._response: Writer | None = None

    def begin(self, response: Writer) -> bool:
        self._response = response
        return not response.headers.is_coded and not response.is_bodiless

    def whole(self, body: bytes) -> bytes:
        assert self._response is not None
        sheet, params, content_type = self._filled
        try:
            page = self._styling.page(self._host, body, b"", sheet, params)
            if self._response.stage is Stage.PREPARED:
                self._response.force_header(b"Content-Type", content_type)
                self._response.headers.replace(b"Content-Length", b"%d" % len(page))
        except Broken as error:
            raise Refused(error.cause, str(error)) from None
        return page

    def overflow(self, most: int) -> None:
        raise Refused(Cause.ANSWER_TOO_LARGE, f"toxslt: the body is larger than transformation-buffer = {most}")


@transformation("toxslt", waits=True)
def toxslt(argument: bytes, place: Place) -> Callable[[Exchange, Found], Transform]:
    """``stylesheet=FILE[,params=A=B&C=D][,content_type=TYPE]``: the body in that style."""
    styling = Styling(keyed(argument, place, ("stylesheet", "params", "content_type"), ("stylesheet",)), place)
    return lambda exchange, found: Restyled(styling, exchange, found)

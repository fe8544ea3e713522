"""xslt: a document of a file in the style of another file.

One idea: the work is done in threads of a service of its own, so a stylesheet that does not end holds neither the loop
nor other rules' threads, and its request is answered in time; what it may do is rules/styling.py's to say. Invariant:
two rules share nothing.
"""

from __future__ import annotations

from collections import OrderedDict

from uwsgirouter.rules.arguments import keyed, shown
from uwsgirouter.rules.base import Act, Broken, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.host import Host
from uwsgirouter.rules.paths import inside
from uwsgirouter.rules.reading import read_file
from uwsgirouter.rules.service import Service
from uwsgirouter.rules.styling import Kept, Style, StyleFailed, parameters

TYPE = b"text/html"


class Styling:
    """The stylesheet, parameters and type of one rule."""

    def __init__(self, given: dict[str, bytes], place: Place) -> None:
        self.most = place.settings.number("transformation-buffer")
        self._style = Style(self.most)
        self._sheet = place.template(given["stylesheet"])
        self._parameters = place.template(given.get("params", b""))
        self._type = place.template(given.get("content_type") or TYPE)
        self._service: Service[Kept] = Service(
            f"xslt {shown(given['stylesheet'])}", lambda timing: OrderedDict(), lambda kept: kept.clear(), ()
        )

    def filled(self, exchange: Exchange, found: Found) -> tuple[bytes, bytes, bytes]:
        """Stylesheet, parameters and type for one request."""
        sheet = inside(exchange.directory, self._sheet(exchange, found))
        return sheet, self._parameters(exchange, found), self._type(exchange, found)

    def page(self, host: Host, document: bytes | None, path: bytes, sheet: bytes, given: bytes) -> bytes:
        """``document``, or what stands in the file ``path``, in that style. May wait. Raises :class:`Broken`."""

        def work(kept: Kept) -> bytes:
            source = read_file(path, self.most)[0] if document is None else document
            return self._style.page(source, sheet, parameters(given), kept)

        try:
            return host.ask(self._service, work)
        except StyleFailed as error:
            raise Broken(str(error)) from None


@action("xslt", waits=True)
def xslt(argument: bytes, place: Place) -> Act:
    """``doc=FILE,stylesheet=FILE[,params=A=B&C=D][,content_type=TYPE]``: answer with the document in that style."""
    given = keyed(argument, place, ("doc", "stylesheet", "params", "content_type"), ("doc", "stylesheet"))
    document = place.template(given["doc"])
    styling = Styling(given, place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        path = inside(exchange.directory, document(exchange, found))
        sheet, params, content_type = styling.filled(exchange, found)
        page = styling.page(exchange.host, None, path, sheet, params)
        response = exchange.response
        if response.prepare(b"200 OK"):
            response.header(b"Content-Length", b"%d" % len(page))
            response.header(b"Content-Type", content_type)
            if response.is_bodiless or not page:
                response.write_head()
            else:
                response.write(page)
        return Verdict.BREAK

    return act

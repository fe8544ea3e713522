"""Actions on the response: its headers, raw bytes, redirects, Expires.

Invariant: what is copied from a request is checked before anything of an answer is prepared, so a line end in it
(which would begin a header, or a second response) leaves nothing half done: the request ends with 400.
"""

from __future__ import annotations

import os

from uwsgirouter.rules.arguments import keyed, number, shown
from uwsgirouter.rules.base import Act, Broken, Expand, Found, Make, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.ranges import http_date
from uwsgirouter.rules.writer import check_header

_NEXT, _BREAK = Verdict.NEXT, Verdict.BREAK


# -- headers -----------------------------------------------------------------------------------------------------------


@action("addheader")
def addheader(argument: bytes, place: Place) -> Act:
    """``Name: value``: a line behind all headers of the answer."""
    line = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        if text := line(exchange, found):
            exchange.response.add_header(text)
        return _NEXT

    return act


@action("delheader", "remheader")
def delheader(argument: bytes, place: Place) -> Act:
    """``Name``: headers of that name that come later are left out."""
    name = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        if text := name(exchange, found):
            exchange.response.remove_header(text)
        return _NEXT

    return act


@action("clearheaders", "resetheaders")
def clearheaders(argument: bytes, place: Place) -> Act:
    """``404 Not Found``: a new answer begins, without headers; BREAK when it is too late for one."""
    status = place.template(argument)
    place.variable(b"SERVER_PROTOCOL")

    def act(exchange: Exchange, found: Found) -> Verdict:
        return _NEXT if exchange.response.prepare(status(exchange, found)) else _BREAK

    return act


@action("disableheaders")
def disableheaders(argument: bytes, place: Place) -> Act:
    """No head goes out."""

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.response.disable_headers()
        return _NEXT

    return act


# -- raw bytes ---------------------------------------------------------------------------------------------------------


def _send(ending: bytes) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        text = place.template(argument)

        def act(exchange: Exchange, found: Found) -> Verdict:
            exchange.response.write(text(exchange, found) + ending)
            return _NEXT

        return act

    return make


action("send")(_send(b""))
action("send-crnl")(_send(b"\r\n"))


# -- redirects ---------------------------------------------------------------------------------------------------------


def _redirect(status: bytes, body: bytes) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        target = place.template(argument)
        place.variable(b"SERVER_PROTOCOL")

        def act(exchange: Exchange, found: Found) -> Verdict:
            response = exchange.response
            location = target(exchange, found)
            check_header(location)
            if response.prepare(status):
                response.header(b"Location", location)
                response.write(body)
            return _BREAK

        return act

    return make


action("redirect", "redirect-302")(_redirect(b"302 Found", b"Moved"))
action("redirect-permanent", "redirect-301")(_redirect(b"301 Moved Permanently", b"Moved Permanently"))


# -- expires -----------------------------------------------------------------------------------------------------------

_TIME_MOST = 253402300799
"""The last second of the year 9999: a date has four digits for the year."""


@action("expires")
def expires(argument: bytes, place: Place) -> Act:
    """``filename=F`` (when the file was changed) or ``unix=T``, and ``value=N`` seconds more: a header Expires."""
    found = keyed(argument, place, ("filename", "file", "unix", "value"))
    name = found.get("filename", found.get("file"))
    filename = None if name is None else place.template(name)
    unix = place.template(found.get("unix", b""))
    value = place.template(found.get("value", b""))

    def act(exchange: Exchange, found: Found) -> Verdict:
        since = number(unix(exchange, found)) if filename is None else _changed(filename, exchange, found)
        then = max(0, min(_TIME_MOST, since + number(value(exchange, found))))
        exchange.response.add_header(b"Expires: " + http_date(then))
        return _NEXT

    return act


def _changed(filename: Expand, exchange: Exchange, found: Found) -> int:
    """When the file was changed, in seconds since 1970. Raises :class:`Broken`."""
    path = os.path.join(exchange.directory, filename(exchange, found))
    try:
        return int(os.stat(path).st_mtime)
    except (OSError, ValueError) as error:
        raise Broken(f"{shown(path)}: {error}") from None

"""Actions that send the request elsewhere: to a uwsgi server, to an HTTP server, or through a tunnel.

One idea: an action names a :class:`Target` and breaks; the session connects to it as to a node, with the same
timeouts and failure answers.
Observed on uWSGI 2.0.31; what differs is in docs/routing/elsewhere.md. Without offload threads, which a router has
not, uWSGI treats ``proxyuwsgi`` and ``proxyhttp`` as ``uwsgi`` and ``http``; so does this.
"""

from __future__ import annotations

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.http_request import request_head
from uwsgirouter.protocol.packet import decode_vars
from uwsgirouter.rules.actions.request import address, in_time
from uwsgirouter.rules.arguments import small
from uwsgirouter.rules.base import Act, BadRule, Broken, Expand, Found, Make, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange, Speech, Target


def _address(text: bytes, place: Place) -> Expand:
    """Where to connect to, checked at start as far as it is constant."""
    in_time(place)
    constant = place.constant(text)
    if constant is not None:
        try:
            address(constant)
        except Broken as error:
            raise BadRule(str(error)) from None
    return place.template(text)


@action("uwsgi", "proxyuwsgi")
def uwsgi(argument: bytes, place: Place) -> Act:
    """``uwsgi:ADDRESS,modifier1,modifier2[,APPID]``; without an address only the request's own modifiers change."""
    where, *rest = argument.split(b",", 3)
    if len(rest) < 2:
        raise BadRule("expected ADDRESS,modifier1,modifier2 or ,modifier1,modifier2")
    modifiers = small(rest[0], "modifier1"), small(rest[1], "modifier2")
    name = rest[2] if len(rest) > 2 else b""
    to = _address(where, place) if where else None

    def act(exchange: Exchange, found: Found) -> Verdict:
        if name:
            exchange.set_variable(b"UWSGI_APPID", name)
        if to is None:
            exchange.modifiers = modifiers
            return Verdict.CONTINUE
        exchange.target = Target(address(to(exchange, found)), Speech.UWSGI, modifiers)
        return Verdict.BREAK

    return act


def _http(dumb: bool) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        where, *rest = argument.split(b",", 2)
        to = _address(where, place)
        host = rest[0] if rest and rest[0] else None
        target = place.template(rest[1] if len(rest) > 1 else b"")

        def act(exchange: Exchange, found: Found) -> Verdict:
            try:
                head = request_head(_variables(exchange), target(exchange, found), host, dumb)
            except ProtocolError as error:
                raise Broken(f"no HTTP request can be made of it: {error}") from None
            exchange.target = Target(address(to(exchange, found)), Speech.HTTP, head=head)
            return Verdict.BREAK

        return act

    return make


def _variables(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    return decode_vars(exchange.packet)


@action("httpconnect", "proxyhttpconnect")
def httpconnect(argument: bytes, place: Place) -> Act:
    """``httpconnect:ADDRESS``: a tunnel, as a proxy makes one for CONNECT."""
    to = _address(argument.partition(b",")[0], place)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.target = Target(address(to(exchange, found)), Speech.TUNNEL, untouched=True)
        return Verdict.BREAK

    return act


action("http", "proxyhttp")(_http(dumb=False))
action("httpdumb")(_http(dumb=True))

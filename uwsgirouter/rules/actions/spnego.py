"""``spnego``: who has a Kerberos ticket (``Authorization: Negotiate``).

One idea: each request shows its own ticket; nothing is remembered between two. The name of the service is expanded, as
in uWSGI; a REMOTE_USER that is there already lets nobody in, as in uWSGI.
"""

from __future__ import annotations

import binascii
import os

from uwsgirouter.rules.arguments import shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Make, Place, Verdict, action
from uwsgirouter.rules.basic import AWAY, token
from uwsgirouter.rules.exchange import Exchange

_SERVICE = b"HTTP"
"""Any key of it that the keytab has."""


def _spnego(forgiving: bool) -> Make[Act]:
    """``forgiving``: whoever has no good ticket goes on with the next rule, and is nobody."""

    def make(argument: bytes, place: Place) -> Act:
        from uwsgirouter.rules.kerberos import SERVICE, NoKey, Shown, show  # its library is an extra

        text, _, file = argument.partition(b",keytab=")
        service = place.template(text)
        keytab = _keytab(file, place) if file else None
        place.variable(b"HTTP_AUTHORIZATION")

        def looked_at(exchange: Exchange, found: Found, ticket: bytes) -> Shown:
            name = service(exchange, found) or _SERVICE
            try:
                return exchange.host.ask(SERVICE, lambda _: show(ticket, name, keytab))
            except NoKey as error:
                if not forgiving:
                    raise Broken(f"no key of {shown(name)}: {error}") from None
                return Shown(reason=f"no key of {shown(name)}: {error}")
            except Broken as error:
                if not forgiving or error.cause not in AWAY:
                    raise
                return Shown(reason=str(error))

        def act(exchange: Exchange, found: Found) -> Verdict:
            ticket = token(exchange.subject(b"HTTP_AUTHORIZATION"), b"negotiate")
            if ticket:
                result = looked_at(exchange, found, ticket)
                if result.user:
                    _let_in(exchange, result.user, result.answer)
                    return Verdict.NEXT
                exchange.host.complain(f"spnego: nobody: {result.reason}".encode())
            return Verdict.NEXT if forgiving else _refuse(exchange)

        return act

    return make


def _keytab(file: bytes, place: Place) -> str:
    path = os.path.abspath(os.fsdecode(file))
    if "\0" in path:
        raise BadRule("keytab= is no file")
    if not os.access(path, os.R_OK):
        place.warn(f"keytab={shown(file)} cannot be read, so nobody gets in")
    return path


def _let_in(exchange: Exchange, user: bytes, answer: bytes) -> None:
    exchange.set_subject(b"REMOTE_USER", user)
    if answer:
        text = binascii.b2a_base64(answer, newline=False)
        exchange.response.add_header(b"WWW-Authenticate: Negotiate " + text)


def _refuse(exchange: Exchange) -> Verdict:
    response = exchange.response
    if response.prepare(b"401 Authorization Required"):
        response.header(b"Connection", b"close")
        response.header(b"Content-Type", b"text/plain")
        response.header(b"WWW-Authenticate", b"Negotiate")
        response.write(b"Unauthorized")
    return Verdict.BREAK


action("spnego", waits=True)(_spnego(forgiving=False))
action("spnego-next", waits=True)(_spnego(forgiving=True))

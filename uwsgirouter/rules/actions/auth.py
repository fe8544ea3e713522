"""``basicauth``: a password for some requests.

One idea: credentials that stand in the rule are compared at once, in constant time; those of a file by a slow hash,
in a thread, unless they were right before (htpasswd.py). Observed on uWSGI 2.0.31: a request that has a REMOTE_USER
already is let through; ``-next`` forgives wrong credentials, not missing ones; realm and credentials are not
expanded.
"""

from __future__ import annotations

import binascii
import hmac
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from uwsgirouter.rules.arguments import shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Make, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange

if TYPE_CHECKING:
    from uwsgirouter.rules.htpasswd import Htpasswd

Check = Callable[[Exchange, bytes, bytes], bool]
"""Whether a user has that password."""


def _basicauth(otherwise: Verdict) -> Make[Act]:
    """``otherwise``: what follows wrong credentials."""

    def make(argument: bytes, place: Place) -> Act:
        realm, comma, rest = argument.partition(b",")
        if not comma:
            raise BadRule("expected REALM,USER:PASSWORD or REALM,FILE")
        if any(byte in realm for byte in b'"\\\r\n\0'):
            raise BadRule("the realm holds a quotation mark, a backslash or a line break")
        check = _check(rest, place) if rest else None
        place.variable(b"HTTP_AUTHORIZATION")

        def act(exchange: Exchange, found: Found) -> Verdict:
            if exchange.subject(b"REMOTE_USER"):
                return Verdict.NEXT
            given = _credentials(exchange.subject(b"HTTP_AUTHORIZATION"))
            if given is not None and check is not None:
                if check(exchange, *given):
                    exchange.set_subject(b"REMOTE_USER", given[0])
                    return Verdict.NEXT
                if otherwise is Verdict.NEXT:
                    return otherwise
            return _refuse(exchange, realm)

        return act

    return make


def _check(rest: bytes, place: Place) -> Check:
    user, colon, password = rest.partition(b":")
    if colon:
        return _inline(user, password)
    from uwsgirouter.rules.htpasswd import Htpasswd  # its libraries are for those alone who have a file

    file = Htpasswd(os.path.abspath(os.fsdecode(rest)))
    if not os.access(file.path, os.R_OK):
        place.warn(f"{shown(rest)} cannot be read, so nobody has a password")
    place.waits()
    return _in_file(file)


def _inline(user: bytes, password: bytes) -> Check:
    right = user + b":" + password

    def check(exchange: Exchange, name: bytes, word: bytes) -> bool:
        return hmac.compare_digest(name + b":" + word, right)

    return check


def _in_file(file: Htpasswd) -> Check:
    def check(exchange: Exchange, name: bytes, word: bytes) -> bool:
        if file.remembers(name, word):
            return True
        try:
            return exchange.host.aside(lambda: file.verify(name, word))
        except OSError as error:
            raise Broken(f"{file.path} cannot be read: {error.strerror}") from None

    return check


def _credentials(header: bytes) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header; None when it has none."""
    scheme, _, text = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = binascii.a2b_base64(text.strip()).partition(b":")
    except binascii.Error:
        return None
    return (user, password) if colon else None


def _refuse(exchange: Exchange, realm: bytes) -> Verdict:
    response = exchange.response
    if response.prepare(b"401 Authorization Required"):
        response.header(b"WWW-Authenticate", b'Basic realm="' + realm + b'"')
        response.write(b"Unauthorized")
    return Verdict.BREAK


action("basicauth")(_basicauth(Verdict.BREAK))
action("basicauth-next")(_basicauth(Verdict.NEXT))

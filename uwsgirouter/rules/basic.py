"""HTTP Basic credentials: who says to be whom, with which password, and the answer for those that do not get in.

One idea: whether a password is right is one question with different answerers (the rule itself, a file, LDAP, RADIUS);
all that is around it is here, once. Observed on uWSGI 2.0.31: a request that has a REMOTE_USER already is let through;
the ``-next`` forms forgive wrong credentials, not missing ones; realms are not expanded. Invariant: nobody gets in
unless ``check`` said so, whatever failed.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Place, Verdict
from uwsgirouter.rules.exchange import Exchange

Check = Callable[[Exchange, bytes, bytes], bool]
"""Whether a user has that password. May raise :class:`Broken`."""

AWAY = (Cause.SERVICE_FAILED, Cause.SERVICE_BUSY)
"""Why there is no answer to that; a ``-next`` form then goes on, as with wrong credentials."""


def quotable(realm: bytes) -> bytes:
    """A realm as it stands in a rule. Raises :class:`BadRule` when it cannot stand in a header."""
    if any(byte in realm for byte in b'"\\\r\n\0'):
        raise BadRule("the realm holds a quotation mark, a backslash or a line break")
    return realm


def asking(realm: bytes, check: Check | None, place: Place, forgiving: bool) -> Act:
    """What lets those in whom ``check`` knows (nobody without one), and makes them the REMOTE_USER.

    ``forgiving``: wrong credentials go on with the next rule.
    """
    place.variable(b"HTTP_AUTHORIZATION")

    def act(exchange: Exchange, found: Found) -> Verdict:
        if exchange.subject(b"REMOTE_USER"):
            return Verdict.NEXT
        given = credentials(exchange.subject(b"HTTP_AUTHORIZATION"))
        if given is not None and check is not None:
            if _holds(check, exchange, given, forgiving):
                exchange.set_subject(b"REMOTE_USER", given[0])
                return Verdict.NEXT
            if forgiving:
                return Verdict.NEXT
        return _refuse(exchange, realm)

    return act


def _holds(check: Check, exchange: Exchange, given: tuple[bytes, bytes], forgiving: bool) -> bool:
    try:
        return check(exchange, *given)
    except Broken as error:
        if not forgiving or error.cause not in AWAY:
            raise
        exchange.host.complain(f"{error}; going on without a user".encode("utf-8", "surrogateescape"))
        return False


def credentials(header: bytes) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header; None when it has none."""
    text = token(header, b"basic")
    user, colon, password = text.partition(b":")
    return (user, password) if colon else None


def token(header: bytes, wanted: bytes) -> bytes:
    """What an Authorization header of the scheme ``wanted`` (in small letters) holds, decoded; empty when it has
    another one, or no base64.
    """
    scheme, _, text = header.partition(b" ")
    if scheme.lower() != wanted:
        return b""
    try:
        return binascii.a2b_base64(text.strip())
    except binascii.Error:
        return b""


def _refuse(exchange: Exchange, realm: bytes) -> Verdict:
    response = exchange.response
    if response.prepare(b"401 Authorization Required"):
        response.header(b"WWW-Authenticate", b'Basic realm="' + realm + b'"')
        response.write(b"Unauthorized")
    return Verdict.BREAK

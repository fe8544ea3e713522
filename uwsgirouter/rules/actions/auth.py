"""``basicauth``: a password for some requests.

One idea: credentials that stand in the rule are compared at once, in constant time; those of a file by a slow hash,
in a thread, unless they were right before (htpasswd.py). Realm and credentials are not expanded.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from uwsgirouter.rules.arguments import shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Make, Place, action
from uwsgirouter.rules.basic import Check, asking, quotable
from uwsgirouter.rules.exchange import Exchange

if TYPE_CHECKING:
    from uwsgirouter.rules.htpasswd import Htpasswd


def _basicauth(forgiving: bool) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        realm, comma, rest = argument.partition(b",")
        if not comma:
            raise BadRule("expected REALM,USER:PASSWORD or REALM,FILE")
        return asking(quotable(realm), _check(rest, place) if rest else None, place, forgiving)

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


action("basicauth")(_basicauth(forgiving=False))
action("basicauth-next")(_basicauth(forgiving=True))

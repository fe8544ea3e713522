"""``ldapauth``: the passwords of a directory.

One idea: a rule says where the directory is and how users are found in it; the question is asked by directory.py in a
thread, each time, and nothing is remembered. Rules that name the same server share its connections. Observed on
uWSGI 2.0.21 with OpenLDAP: the options are separated by semicolons and not expanded; names are compared exactly.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from uwsgirouter.rules.arguments import keyed, number, shown
from uwsgirouter.rules.base import Act, BadRule, Make, Place, action
from uwsgirouter.rules.basic import Check, asking, quotable
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.service import Service

if TYPE_CHECKING:
    from uwsgirouter.rules.directory import Directory, Search

_KEYS = ("url", "basedn", "binddn", "bindpw", "filter", "attr", "loglevel", "starttls", "cafile")
_FILTER = b"(objectClass=*)"

_services: WeakValueDictionary[tuple[str, ...], Service[Directory]] = WeakValueDictionary()
"""By what makes servers the same, as long as a table uses them."""


def _ldapauth(forgiving: bool) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        realm, comma, rest = argument.partition(b",")
        if not comma:
            raise BadRule("expected REALM,url=...;basedn=...")
        given = keyed(rest, place, _KEYS, ("url",), b";", "bindpw")
        if "basedn" not in given:
            raise BadRule("basedn= is missing, expected REALM,url=...;basedn=...")
        check = _check(_service(given, place), _search(given, place), number(given.get("loglevel", b"")))
        return asking(quotable(realm), check, place, forgiving)

    return make


def _service(given: dict[str, bytes], place: Place) -> Service[Directory]:
    from uwsgirouter.rules.directory import Address, Directory, DirectoryDown  # its library is an extra

    url, cafile = _text(given, "url"), _text(given, "cafile")
    starttls = bool(number(given.get("starttls", b"")))
    address = Address.parse(url, starttls, cafile or None)
    if cafile and not address.is_secure:
        place.warn("cafile= does nothing without ldaps:// or starttls=1")
    if address.shows_passwords:
        place.note(f"passwords go to {address.url} unencrypted; write ldaps:// or starttls=1")
    same = (address.name, cafile)
    service = _services.get(same)
    if service is None:
        service = _services[same] = Service(address.url, partial(Directory, address), Directory.close, (DirectoryDown,))
    return service


def _search(given: dict[str, bytes], place: Place) -> Search:
    from uwsgirouter.rules.directory import Search

    dn, password = _text(given, "binddn"), _text(given, "bindpw").encode()
    if bool(dn) != bool(password):
        place.warn("binddn= and bindpw= are of use only together: users are searched for as nobody")
        dn, password = "", b""
    attribute = _text(given, "attr") or "uid"
    search = Search(_text(given, "basedn"), attribute, _text(given, "filter") or _FILTER.decode(), dn, password)
    search.check()
    return search


def _text(given: dict[str, bytes], key: str) -> str:
    try:
        return given.get(key, b"").decode("utf-8")
    except UnicodeDecodeError:
        raise BadRule(f"{key}= is no UTF-8") from None


def _check(service: Service[Directory], search: Search, loglevel: int) -> Check:
    from uwsgirouter.rules.directory import Login, hopeless

    def check(exchange: Exchange, user: bytes, password: bytes) -> bool:
        login, detail = hopeless(user, password) or exchange.host.ask(
            service, lambda directory: directory.login(search, user, password)
        )
        if login is Login.RIGHT:
            if loglevel > 1:
                exchange.host.complain(f"ldapauth: {detail} is in".encode())
        elif loglevel or login is Login.AMBIGUOUS:
            why = f"{login.value}: {detail}" if detail else login.value
            exchange.host.complain(f"ldapauth: {shown(user)} is not in: {why}".encode())
        return login is Login.RIGHT

    return check


action("ldapauth", waits=True)(_ldapauth(forgiving=False))
action("ldapauth-next", waits=True)(_ldapauth(forgiving=True))

"""Actions that change the request: its variables, its modifiers, its path, and the nodes that it goes to.

One idea: a variable is appended to the packet, where the last one of a name counts; those that change what later
rules look at are subjects (exchange.py). Observed on uWSGI 2.0.31; what differs is in docs/routing/request.md.
"""

from __future__ import annotations

import os

from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.packet import KEY_MAX
from uwsgirouter.rules.arguments import keyed, shown, small
from uwsgirouter.rules.base import Act, BadRule, Broken, ChainName, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.hashing import ALGORITHMS
from uwsgirouter.rules.paths import inside, normal
from uwsgirouter.settings.targets import peer

_SETTERS = {
    "setapp": b"UWSGI_APPID",
    "sethome": b"UWSGI_HOME",
    "setfile": b"UWSGI_FILE",
    "setscriptname": b"SCRIPT_NAME",
    "setmethod": b"REQUEST_METHOD",
    "seturi": b"REQUEST_URI",
    "setremoteaddr": b"REMOTE_ADDR",
    "setpathinfo": b"PATH_INFO",
    "setdocroot": b"DOCUMENT_ROOT",
    "setscheme": b"UWSGI_SCHEME",
}
"""Action to the variable that it sets to its argument."""


@action("addvar")
def addvar(argument: bytes, place: Place) -> Act:
    """``addvar:NAME=value``: append a variable. What subjects look at stays what it was."""
    name, equals, text = argument.partition(b"=")
    if not equals or not name:
        raise BadRule("expected NAME=value")
    value = place.template(text)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.set_variable(name, value(exchange, found))
        return Verdict.NEXT

    return act


def _register(name: str, variable: bytes) -> None:
    def make(argument: bytes, place: Place) -> Act:
        value = place.template(argument)

        def act(exchange: Exchange, found: Found) -> Verdict:
            exchange.set_subject(variable, value(exchange, found))
            return Verdict.NEXT

        return act

    action(name)(make)


for _name, _variable in _SETTERS.items():
    _register(_name, _variable)


@action("setuser")
def setuser(argument: bytes, place: Place) -> Act:
    """``setuser:NAME``: REMOTE_USER, up to the first colon."""
    value = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.set_subject(b"REMOTE_USER", value(exchange, found).partition(b":")[0])
        return Verdict.NEXT

    return act


@action("fixpathinfo")
def fixpathinfo(argument: bytes, place: Place) -> Act:
    """``fixpathinfo:``: PATH_INFO without as many bytes as SCRIPT_NAME has."""
    place.variable(b"SCRIPT_NAME")

    def act(exchange: Exchange, found: Found) -> Verdict:
        script = exchange.subject(b"SCRIPT_NAME")
        if script:
            exchange.set_subject(b"PATH_INFO", exchange.subject(b"PATH_INFO")[len(script) :])
        return Verdict.NEXT

    return act


@action("setmodifier1")
def setmodifier1(argument: bytes, place: Place) -> Act:
    """``setmodifier1:N``."""
    value = small(argument, "modifier1")

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.modifiers = (value, exchange.modifiers[1])
        return Verdict.NEXT

    return act


@action("setmodifier2")
def setmodifier2(argument: bytes, place: Place) -> Act:
    """``setmodifier2:N``."""
    value = small(argument, "modifier2")

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.modifiers = (exchange.modifiers[0], value)
        return Verdict.NEXT

    return act


def _rewrite(argument: bytes, place: Place, then: Verdict) -> Act:
    value = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        path, question, query = value(exchange, found).partition(b"?")
        old = exchange.subject(b"QUERY_STRING")
        exchange.set_subject(b"PATH_INFO", normal(path))
        exchange.set_subject(b"QUERY_STRING", (query + b"&" + old if old else query) if question else old)
        return then

    return act


@action("rewrite")
def rewrite(argument: bytes, place: Place) -> Act:
    """``rewrite:/path?query``: PATH_INFO, decoded and without dot segments, and QUERY_STRING."""
    return _rewrite(argument, place, Verdict.NEXT)


@action("rewrite-last")
def rewrite_last(argument: bytes, place: Place) -> Act:
    """The same, and no more rules."""
    return _rewrite(argument, place, Verdict.CONTINUE)


@action("hash")
def hash_(argument: bytes, place: Place) -> Act:
    """``hash:key=K,var=NAME,items=a;b;c[,algo=djb33x|murmur2]``: the item that K's hash points to, as a variable."""
    given = keyed(argument, place, ("key", "var", "algo", "items"), ("key", "var", "items"))
    name = given.get("algo", b"djb33x").decode("latin-1")
    if name not in ALGORITHMS:
        raise BadRule(f"algo={name}, expected {' or '.join(ALGORITHMS)}")
    algorithm, variable = ALGORITHMS[name], given["var"]
    items = given["items"].removesuffix(b";").split(b";")
    if not all(items):
        raise BadRule("items= has an empty item, expected items=a;b;c")
    key = place.template(given["key"])

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.set_variable(variable, items[algorithm(key(exchange, found)) % len(items)])
        return Verdict.NEXT

    return act


@action("setkey")
def setkey(argument: bytes, place: Place) -> Act:
    """``setkey:KEY``: the request goes to the nodes of another key."""
    in_time(place)
    if not argument:
        raise BadRule("a key is missing")
    value = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        key = value(exchange, found)
        if not 1 <= len(key) <= KEY_MAX:
            raise Broken(f"setkey: a key has 1 to {KEY_MAX} bytes, this one {len(key)}")
        exchange.key = key
        return Verdict.NEXT

    return act


@action("node")
def node(argument: bytes, place: Place) -> Act:
    """``node:ADDRESS``: the request goes to this node, whatever its key."""
    in_time(place)
    constant = place.constant(argument)
    if constant is not None:
        try:
            address(constant)
        except Broken as error:
            raise BadRule(str(error)) from None
    value = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.node = address(value(exchange, found))
        return Verdict.NEXT

    return act


def in_time(place: Place) -> None:
    """Raise :class:`BadRule` where it is decided already who answers."""
    if place.chain is not ChainName.REQUEST:
        raise BadRule(
            f"the {place.chain.value} chain comes too late for it: who answers is decided in the request chain"
        )


def address(text: bytes) -> str:
    """``text`` as an address to connect to. Raises :class:`Broken`."""
    try:
        plain = text.decode()
        peer(plain)
    except UnicodeDecodeError:
        raise Broken(f"{shown(text)} is no address") from None
    except ConfigError as error:
        raise Broken(error.message) from None
    return plain


@action("setprocname")
def setprocname(argument: bytes, place: Place) -> Act:
    """``setprocname:TEXT``: what ps says of this worker."""
    value = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        exchange.host.title(value(exchange, found))
        return Verdict.NEXT

    return act


@action("chdir")
def chdir(argument: bytes, place: Place) -> Act:
    """``chdir:DIRECTORY``: where relative names of files start in later rules of this request."""
    value = place.template(argument)

    def act(exchange: Exchange, found: Found) -> Verdict:
        path = inside(exchange.directory, value(exchange, found))
        try:
            is_directory = os.path.isdir(path)
        except ValueError:
            is_directory = False
        if not is_directory:
            raise Broken(f"chdir: {shown(path)} is no directory")
        exchange.directory = path
        return Verdict.NEXT

    return act

"""access: who may go on, by address: by hosts.allow and hosts.deny, or by one pattern.

uWSGI's plugin names three actions and knows one (``hosts``); the other two refuse everybody there. Here they do what
its source says of them.
"""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.rules.arguments import keyed, shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.hosts_access import HostsAccess, matches

_HOSTS = HostsAccess()
_KINDS = ("hosts", "allow", "deny")

Judge = Callable[[str], bool]


@action("access")
def access(argument: bytes, place: Place) -> Act:
    """``action=hosts,daemon=NAME``, ``action=allow,addr=WHO``, ``action=deny,addr=WHO``: NEXT, or 403 and BREAK."""
    judge = _judge(keyed(argument, place, ("action", "daemon", "addr")))
    for name in (b"REMOTE_ADDR", b"SERVER_PROTOCOL"):
        place.variable(name)

    def act(exchange: Exchange, found: Found) -> Verdict:
        try:
            if judge(exchange.variable(b"REMOTE_ADDR").decode("latin-1")):
                return Verdict.NEXT
        except OSError as error:
            raise Broken(str(error)) from None
        response = exchange.response
        if response.prepare(b"403 Forbidden"):
            response.header(b"Content-Type", b"text/plain")
            response.write(b"Forbidden")
        return Verdict.BREAK

    return act


def _judge(given: dict[str, bytes]) -> Judge:
    """Who may go on. Raises :class:`BadRule`."""
    kind = shown(given.get("action") or b"hosts")
    if kind not in _KINDS:
        raise BadRule(f"action={kind}, expected one of {', '.join(_KINDS)}")
    if kind == "hosts":
        daemon = shown(given.get("daemon") or b"uwsgi")
        return lambda address: _HOSTS.allows(daemon, address)
    pattern = shown(given.get("addr", b""))
    if not pattern:
        raise BadRule(f"addr= is missing, expected action={kind},addr=ADDRESS")
    allowed = kind == "allow"
    return lambda address: matches(pattern, address) is allowed

"""``radius``: the passwords of a RADIUS server.

One idea: a rule says where the server is and which secret it shares with it; the question is asked by rules/radius.py
in a thread, each time, and nothing is remembered. Observed on uWSGI 2.0.21 with FreeRADIUS: the options are separated
by commas and not expanded; a user without a name never gets in.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from uwsgirouter.rules.arguments import keyed, number
from uwsgirouter.rules.base import Act, BadRule, Make, Place, action
from uwsgirouter.rules.basic import Check, asking, quotable
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.service import Service

if TYPE_CHECKING:
    from uwsgirouter.rules.radius import Nas, Radius

_KEYS = ("realm", "server", "secret", "nas_port", "nas_address", "signed")

_services: WeakValueDictionary[tuple[str, int], Service[Radius]] = WeakValueDictionary()
"""By host and port, as long as a table uses them."""


def _radius(forgiving: bool) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        given = keyed(argument, place, _KEYS, ("realm", "server", "secret"), secret="secret")
        return asking(quotable(given["realm"]), _check(_service(given), _nas(given)), place, forgiving)

    return make


def _service(given: dict[str, bytes]) -> Service[Radius]:
    from uwsgirouter.rules.radius import Radius, RadiusDown  # its library is an extra

    host, port = _address(given["server"].decode("utf-8", "surrogateescape"))
    service = _services.get((host, port))
    if service is None:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        service = Service(f"radius {shown}", partial(Radius, host, port), Radius.close, (RadiusDown,))
        _services[host, port] = service
    return service


def _address(text: str) -> tuple[str, int]:
    from uwsgirouter.rules.radius import PORT

    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isdigit() and 0 < int(port[:6]) < 65536) or "/" in host or " " in host:
        raise BadRule(f"server={text}: expected HOST[:PORT]")
    return host, int(port)


def _nas(given: dict[str, bytes]) -> Nas:
    from uwsgirouter.rules.radius import Nas

    address = given.get("nas_address", b"").decode("utf-8", "surrogateescape")
    return Nas(
        given["secret"],
        number(given.get("nas_port", b"")) & 0xFFFFFFFF,
        _resolved(address) if address else None,
        bool(number(given.get("signed", b""))),
    )


def _resolved(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """(At start, once, as in uWSGI.)"""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.gethostbyname(name))
    except (OSError, UnicodeError):
        raise BadRule(f"nas_address={name}: expected an address, or a name that has one") from None


def _check(service: Service[Radius], nas: Nas) -> Check:
    from uwsgirouter.rules.radius import hopeless

    def check(exchange: Exchange, user: bytes, password: bytes) -> bool:
        if hopeless(user, password):
            return False
        return exchange.host.ask(service, lambda radius: radius.login(nas, user, password), once=True)

    return check


action("radius", waits=True)(_radius(forgiving=False))
action("radius-next", waits=True)(_radius(forgiving=True))

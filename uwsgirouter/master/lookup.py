"""One look-up of a host name: its addresses, and for how long they are good.

One idea: the addresses come from where the machine's administrator says (getaddrinfo: /etc/hosts, nsswitch, DNS), or
from the name server that the configuration names; the time to live is known to DNS alone, so it is asked there. This
is the only module that knows dnspython, and it is imported only when a configuration names hosts. Everything here may
block for seconds: it runs in processes that nobody waits for longer than they want to.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

# Loaded by dnspython when the first record of their type comes, and then the rights to read them may be gone.
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA  # noqa: F401
from dns.exception import DNSException
from dns.rdatatype import AAAA, CNAME, A
from dns.resolver import NXDOMAIN, Answer, Resolver

from uwsgirouter.errors import RouterError
from uwsgirouter.settings.address import Address

TTL_UNKNOWN = 30.0
"""Seconds for which an address is good that DNS does not know (it is from /etc/hosts)."""
TTL_LEAST, TTL_MOST = 1.0, 3600.0
DNS_SECONDS = 5.0
"""How long all the questions for one record may take together."""
HOSTS_MOST = 256
"""Addresses of one name that are used; the rest is left out."""

_TYPES = (A, AAAA)


class Unresolved(RouterError):
    """A name has no address now, or nobody answers."""


@dataclass(frozen=True)
class Found:
    """What a name means: ``hosts`` in a fixed order, good for ``ttl`` seconds."""

    hosts: tuple[str, ...]
    ttl: float


def look_up(name: str, server: Address | None) -> Found:
    """The addresses of ``name`` and their time to live. May block; raises :class:`Unresolved`."""
    if server is not None:
        return _ask_server(name, _resolver_for(server))
    return Found(_ask_system(name), _clamped(_ttl_in_dns(name)))


def addresses(name: str, server: Address | None) -> tuple[str, ...]:
    """The addresses alone, which may be known sooner. May block; raises :class:`Unresolved`."""
    return _ask_system(name) if server is None else _ask_server(name, _resolver_for(server)).hosts


def _ask_system(name: str) -> tuple[str, ...]:
    try:
        try:
            # Without IPv6 addresses on a machine that has no IPv6.
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except socket.gaierror:
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unresolved(error.strerror or str(error)) from None
    except UnicodeError as error:
        raise Unresolved(f"no host name: {error}") from None
    return _in_order(str(entry[4][0]) for entry in entries)


def _ttl_in_dns(name: str) -> float | None:
    """The time to live of a name's records where the system asks for them; None when DNS does not know it."""
    try:
        resolver = Resolver()
    except (DNSException, OSError):
        return None
    resolver.lifetime = DNS_SECONDS
    found = []
    for record in _TYPES:
        try:
            found.append(_ttl_of(resolver.resolve(name, record, search=True, raise_on_no_answer=False)))
        except (DNSException, OSError, ValueError):
            continue
    return min((ttl for ttl in found if ttl is not None), default=None)


def _resolver_for(server: Address) -> Resolver:
    resolver = Resolver(configure=False)
    resolver.nameservers = [server.host]
    resolver.port = server.port
    resolver.lifetime = DNS_SECONDS
    return resolver


def _ask_server(name: str, resolver: Resolver) -> Found:
    hosts: list[str] = []
    found = []
    for record in _TYPES:
        try:
            answer = resolver.resolve(name, record, search=False, raise_on_no_answer=False)
        except NXDOMAIN:
            raise Unresolved("the name server knows no such name") from None
        except (DNSException, OSError, ValueError) as error:
            raise Unresolved(_explain(error)) from None
        if answer.rrset is not None:
            hosts += [str(item.address) for item in answer.rrset]
            found.append(_ttl_of(answer))
    if not hosts:
        raise Unresolved("the name server knows no address for it")
    return Found(_in_order(hosts), _clamped(min((ttl for ttl in found if ttl is not None), default=None)))


def _ttl_of(answer: Answer) -> float | None:
    """The least time to live of the records that led to the addresses, aliases included; None without addresses."""
    if answer.rrset is None:
        return None
    return float(min(rrset.ttl for rrset in answer.response.answer if rrset.rdtype in (*_TYPES, CNAME)))


def _clamped(ttl: float | None) -> float:
    return TTL_UNKNOWN if ttl is None else max(TTL_LEAST, min(TTL_MOST, ttl))


def _in_order(hosts: Iterable[str]) -> tuple[str, ...]:
    """Each once, IPv4 first, in an order that does not depend on whose turn it is in the answer."""
    found = sorted(set(hosts), key=lambda host: (":" in host, ipaddress.ip_address(host.partition("%")[0]), host))
    return tuple(found[:HOSTS_MOST])


def _explain(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

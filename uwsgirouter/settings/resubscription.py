"""Where other routers reach this one, and what is said of a configuration in which they cannot.

One idea: what is passed on bears an address of this router, and which of its listeners that is depends on who is told:
a unix socket or 127.0.0.1 means something on this machine only. Pure; used by the running router and by the checks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from uwsgirouter.settings.address import Address, Kind
from uwsgirouter.settings.settings import Settings

RESUBSCRIBE = "fastrouter-resubscribe"


def reached_at(listeners: Sequence[Address], receiver: Address) -> Address | None:
    """The first of ``listeners`` that ``receiver``, another router's subscription server, can connect to.

    One that binds every interface counts for receivers of its family, since they will take the address that the
    datagram comes from. None when there is no such listener.
    """
    return next((listener for listener in listeners if _can_reach(listener, receiver)), None)


def _can_reach(listener: Address, receiver: Address) -> bool:
    same_machine = receiver.is_unix or is_loopback(receiver.host)
    if listener.is_unix:
        return same_machine
    if listener.is_wildcard:
        return receiver.is_unix or receiver.kind in (listener.kind, Kind.NAME)
    return same_machine or not is_loopback(listener.host)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's loopback, as far as its text tells."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def notices(settings: Settings) -> Iterator[str]:
    """Receivers that cannot reach any listener."""
    listeners = list(settings.addresses("fastrouter"))
    shared = settings.addresses("shared-socket")
    if not listeners or any(listener.kind is Kind.FD for listener in (*listeners, *shared)):
        return
    bound = [shared[listener.port] if listener.kind is Kind.SHARED else listener for listener in listeners]
    for index, receiver in enumerate(settings.addresses(RESUBSCRIBE)):
        if reached_at(bound, receiver) is None:
            yield (
                f"{settings.where(RESUBSCRIBE, index)}: {RESUBSCRIBE} = {receiver.text}: nobody there can connect to "
                f"{bound[0].text}, which is announced to it: give this router an address that can be reached from there"
            )

"""Passing announcements on to other routers (``fastrouter-resubscribe``), without loops.

One idea: each router that passes an announcement on writes its id behind those that are there already. Who finds its
own id in it drops it: it is not passed on, and the router it came from does not become a node (requests would go in
circles, too). uWSGI reads over the variable. Observed on uWSGI 2.0.31: what is passed on bears the router's own
address with the node's key, modifiers and command. Pure: who a router is and where it is reached is passed in.

Invariants: an announcement passes a router at most once and :data:`HOPS_MAX` routers in all; nothing is sent to where
it came from.
"""

from __future__ import annotations

from collections.abc import Iterable

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.subscription import BACKUP_MAX, HOPS_MAX, Announce
from uwsgirouter.settings.address import Address

CAME_BACK = "came back"
"""The reason of a refusal that is nobody's fault."""
ID_BYTES = 8
"""Random bytes of a router's id, which is drawn once by its master."""
NEAR_MOST = BACKUP_MAX - HOPS_MAX
"""Backup levels beyond this one are those of nodes that are other routers."""


def router_id(random: bytes) -> bytes:
    """The id that is made of :data:`ID_BYTES` bytes."""
    return random.hex().encode()


def check_route(announce: Announce, own: bytes) -> None:
    """Raise :class:`ProtocolError` for an announcement that went through this router before."""
    if own in announce.route:
        raise ProtocolError(CAME_BACK, f"this router passed it on before ({announce.hops} routers)")


def backup_of(hops: int) -> int:
    """The backup level of a router that is so far from the node: our own nodes go first, and nearer routers do.

    If they did not, two routers that know each other would hand a request to and fro.
    """
    return NEAR_MOST + hops


def forwarded(announce: Announce, own: bytes, address: Address) -> Announce | None:
    """What to pass on of an accepted announcement: the router at ``address`` serves its key. None: nothing.

    A vassal that does not run is not passed on, since another router's Emperor could not start it. When a node leaves,
    the caller passes that on only if no other node of its key is left.
    """
    if announce.hops >= HOPS_MAX or own in announce.route or announce.inactive or announce.cleared:
        return None
    return Announce(
        key=announce.key,
        address=address,
        modifier1=announce.modifier1,
        modifier2=announce.modifier2,
        leaving=announce.leaving,
        algo=announce.algo,
        sni_key=announce.sni_key,
        sni_crt=announce.sni_crt,
        sni_ca=announce.sni_ca,
        route=(*announce.route, own),
    )


def receivers(routers: Iterable[Address], sender: object) -> list[Address]:
    """Those of ``routers`` that did not send it. ``sender`` is what recvfrom gave (None: nobody did)."""
    origin = sender[:2] if isinstance(sender, tuple) else sender
    return [router for router in routers if router.sockaddr != origin]

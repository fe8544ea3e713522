"""Resubscription: tells the subscription servers of other routers what this one serves (``fastrouter-resubscribe``).

One idea: a datagram is sent at once or lost, and the next announcement brings the next one; so a receiver that is not
there, or does not read, costs a count and a log line now and then. What is told, and when, is decided elsewhere
(model/passing.py); here it gets the address at which its receiver reaches us. Invariant: no call blocks or raises;
nothing is sent to this router itself, or to where it came from.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from uwsgirouter.errors import ConfigError, ProtocolError
from uwsgirouter.log import Log, Throttle
from uwsgirouter.master.sockets import Bound, Endpoints
from uwsgirouter.protocol.forwarding import ID_BYTES, receivers, router_id
from uwsgirouter.protocol.subscription import Announce, encode_announce
from uwsgirouter.settings.address import Address, parse_peer
from uwsgirouter.settings.resubscription import is_loopback, reached_at


@dataclass(frozen=True)
class Target:
    """A receiver, the address that it is told, and the socket to send from."""

    receiver: Address
    own: Address
    sock: socket.socket


class Resubscription:
    """``id`` is drawn once and names this router; ``sent`` and ``lost`` count datagrams."""

    def __init__(self, log: Log) -> None:
        self.id = router_id(os.urandom(ID_BYTES))
        self.sent = 0
        self.lost = 0
        self._log = log
        self._say = Throttle(log.say, 1)
        self._targets: dict[Address, Target] = {}
        self._sockets: dict[int, socket.socket] = {}
        """Our own ones, where no other can be used: one for each family."""

    @property
    def is_wanted(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self._targets)

    def adopt(self, routers: Iterable[Address], endpoints: Endpoints) -> None:
        """Tell ``routers`` from now on, of the listeners of ``endpoints``."""
        listeners = [address for bound in endpoints.listeners if (address := _address(bound)) is not None]
        ours = [_place(bound) for bound in endpoints.servers]
        before = self._targets
        self._targets = {}
        for router in routers:
            own = reached_at(listeners, router) or next(iter(listeners), None)
            if own is not None and router.sockaddr not in ours:
                self._targets[router] = Target(router, own, self._sender(router, endpoints))
        told = {router.text: target.own.text for router, target in self._targets.items()}
        if told != {router.text: target.own.text for router, target in before.items()}:
            for receiver, own_text in told.items():
                self._log.line(f"uwsgirouter passes announcements on to {receiver}, as {own_text}")
        if not self._targets:
            self._close()

    def send(self, passed: Announce, sender: object, now: float) -> None:
        """Tell ``passed``, whose address is not written yet, to everybody but ``sender`` (as recvfrom gives it)."""
        datagrams: dict[Address, bytes] = {}
        for router in receivers(self._targets, sender):
            target = self._targets[router]
            try:
                if target.own not in datagrams:
                    datagrams[target.own] = encode_announce(passed._replace(address=target.own))
                target.sock.sendto(datagrams[target.own], socket.MSG_DONTWAIT, router.sockaddr)
                self.sent += 1
            except (OSError, ProtocolError) as error:
                self.lost += 1
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                self._say(f"cannot pass announcements on to {router.text}: {reason} ({self.lost} lost so far)", now)

    def tick(self, now: float) -> None:
        """Once a second."""
        self._say.flush(now)

    def describe(self) -> str:
        """For the stats line."""
        return f"passed on: {self.sent} datagrams, {self.lost} lost"

    def stop(self) -> None:
        """Nobody is told anything any more."""
        self._targets = {}
        self._close()

    def _close(self) -> None:
        """The sockets that are our own."""
        for sock in self._sockets.values():
            with contextlib.suppress(OSError):
                sock.close()
        self._sockets.clear()

    def _sender(self, router: Address, endpoints: Endpoints) -> socket.socket:
        """What was bound for it, else a subscription server's socket: then it can tell that this comes from there."""
        for bound in (*endpoints.resubscription, *endpoints.servers):
            if bound.sock.family == router.family and _leads_to(bound, router):
                return bound.sock
        family = router.family
        if family not in self._sockets:
            self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        return self._sockets[family]


def _place(bound: Bound) -> object:
    """Where a datagram socket is bound, in the form of :attr:`Address.sockaddr`."""
    name = bound.sock.getsockname()
    return name[:2] if isinstance(name, tuple) else name


def _leads_to(bound: Bound, router: Address) -> bool:
    """Whether a socket bound like this can send there: not from loopback into the network, or the other way."""
    place = _place(bound)
    if not isinstance(place, tuple):
        return True
    return place[0] in ("0.0.0.0", "::") or is_loopback(place[0]) == is_loopback(router.host)


def _address(bound: Bound) -> Address | None:
    """The address of a listener, for others; None for one that has no name."""
    try:
        return parse_peer(bound.path or bound.name)
    except ConfigError:
        return None

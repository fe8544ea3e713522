"""Leases: announcements whose address is a host name, and the nodes that they stand for.

One idea: a lease makes of one announcement one for each address that its name has, so that the registry never sees a
name. While the node goes on announcing, addresses that are new join and those that the name lost take leave; when it
falls silent its nodes expire like others. What a name means is found out elsewhere: :meth:`Leases.news` says which
names, :meth:`Leases.learn` and :meth:`Leases.fail` what came of it. A name that cannot be looked up keeps its last
meaning. Pure: ``now`` (monotonic seconds) is passed in.

Invariants: at most :data:`NAMES_MOST` names, :data:`LEASES_MOST` leases and :data:`ADDRESSES_MOST` addresses of all
leases together are held, whoever announces, so that one datagram cannot make thousands of nodes for ever; an address
takes leave of a key only when no other lease of that key and port has it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from uwsgirouter.errors import ProtocolError
from uwsgirouter.model.hearing import PERFECT, Hearing
from uwsgirouter.protocol.subscription import Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import NOWHERE, Address, at_host

NAMES_MOST = 1024
"""Names that are looked up at a time."""
LEASES_MOST = 65536
ADDRESSES_MOST = 65536
"""As many as there can be nodes."""
IDLE = 60.0
"""Seconds for which a name that nobody announces any more is still looked up: a node that restarts is back at once,
and nobody can have names come and go faster than that."""
RENEWAL = 1.0
"""Seconds within which the same announcement does not refresh its nodes once more: they may be many."""

Hosts = tuple[str, ...]
"""IP addresses in text."""
Identity = tuple[bytes, str, int]
"""Key, name and port."""


@dataclass(eq=False)
class Name:
    """What a name means: ``hosts``, none while that is not known, and then perhaps why (``failure``)."""

    hosts: Hosts = ()
    failure: str = ""
    leases: dict[Identity, None] = field(default_factory=dict)
    idle_since: float = 0.0


@dataclass(eq=False)
class Lease:
    """``announce`` is the latest one, ``hosts`` are its nodes, ``joined`` those of them that are newer than it."""

    announce: Announce
    heard: float
    hosts: Hosts = ()
    joined: Hosts = ()
    renewed: float = float("-inf")
    acknowledged: bool = False


class Leases:
    """The leases of one registry. The announcements that its methods return are the registry's to take, in order."""

    def __init__(self) -> None:
        self._leases: OrderedDict[Identity, Lease] = OrderedDict()
        """The one heard of longest ago first."""
        self._names: dict[str, Name] = {}
        self._holders: Counter[Identity] = Counter()
        """By key, IP address and port: how many leases have it."""
        self._addresses = 0
        """Of all leases together."""
        self._news: dict[str, None] = {}
        self._accepted: list[Announce] = []

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    @property
    def names(self) -> dict[str, Hosts]:
        """The names that must be looked up, and what each means as far as that is known."""
        return {text: name.hosts for text, name in self._names.items()}

    def meaning(self, text: str) -> Hosts:
        """What name ``text`` means, nothing while that is not known."""
        name = self._names.get(text)
        return name.hosts if name is not None else ()

    def news(self) -> list[tuple[str, bool]]:
        """Since the last call: names that must be looked up from now on (True), or need not be any more."""
        news = [(text, text in self._names) for text in self._news]
        self._news.clear()
        return news

    def accepted(self) -> list[Announce]:
        """Since the last call: announcements, as they were heard, that have got their first nodes."""
        accepted, self._accepted = self._accepted, []
        return accepted

    def hear(self, announce: Announce, now: float) -> list[Announce]:
        """An announcement of a name. Raises :class:`ProtocolError` when it cannot be taken, or not now."""
        identity = (announce.key, name_of(announce.address), announce.address.port)
        if announce.inactive or announce.cleared:
            if announce.cleared:
                self._drop(identity, now)
            return [announce._replace(address=NOWHERE)]  # it speaks of a vassal, which is known without its address
        if announce.leaving:
            lease = self._leases.get(identity)
            return _leaving(lease.announce, self._drop(identity, now)) if lease is not None else []
        lease = self._take(identity, announce, now)
        name = self._names[identity[1]]
        if name.failure:
            raise ProtocolError("unknown name", f"cannot resolve {announce.address.host}: {name.failure}")
        if not name.hosts or (lease.renewed > now - RENEWAL and _is_same(lease.announce, announce)):
            return []
        lease.announce = announce
        lease.renewed = now
        _, gone = self._settle(lease, name.hosts)
        lease.joined = ()
        if not lease.hosts:
            used = f"{name_of(announce.address)}: {ADDRESSES_MOST} addresses are used already"
            raise ProtocolError("too many names", used)
        return [*_standing_for(announce, lease.hosts), *gone]

    def learn(self, text: str, hosts: Hosts, now: float) -> list[Announce]:
        """Name ``text`` means ``hosts`` from now on, which are one or more."""
        name = self._names.get(text)
        if name is None:
            return []
        name.hosts = hosts
        name.failure = ""
        found: list[Announce] = []
        for identity in name.leases:
            lease = self._leases[identity]
            joined, gone = self._settle(lease, hosts)
            lease.joined += joined
            found += [*_standing_for(lease.announce, joined), *gone]
        return found

    def fail(self, text: str, reason: str) -> None:
        """Name ``text`` cannot be looked up. It keeps the meaning that it has."""
        name = self._names.get(text)
        if name is not None and not name.hosts:
            name.failure = reason

    def expire(self, now: float, tolerance: float, hearing: Hearing = PERFECT) -> list[Announce]:
        """Once a second: silent leases end. Their nodes expire by themselves, but for those that joined late."""
        found: list[Announce] = []
        while self._leases:
            identity, lease = next(iter(self._leases.items()))
            if not hearing.is_silent(lease.heard, now, tolerance):
                break
            free = self._drop(identity, now)
            found += _leaving(lease.announce, [host for host in lease.joined if host in free])
        for text in [text for text, name in self._names.items() if not name.leases and now - name.idle_since > IDLE]:
            del self._names[text]
            self._news[text] = None
        return found

    def restore(self, announce: Announce, hosts: Hosts, now: float) -> None:
        """A lease that was there before a restart; its nodes are restored by themselves."""
        identity = (announce.key, name_of(announce.address), announce.address.port)
        if identity in self._leases:
            return
        try:
            lease = self._take(identity, announce, now)
        except ProtocolError:
            return  # there is no room for it, and its nodes must do without
        name = self._names[identity[1]]
        name.hosts = name.hosts or hosts
        lease.acknowledged = bool(hosts)
        self._hold(lease, self._fitting(lease, hosts))

    def handed(self) -> list[list[object]]:
        """For a master that takes the place of this one: each lease, the one heard of longest ago first."""
        return [
            [encode_announce(lease.announce).decode("latin-1"), lease.heard, list(lease.hosts), list(lease.joined)]
            for lease in self
        ]

    def inherit(self, rows: Iterable[list[Any]]) -> None:
        """Go on as whoever gave :meth:`handed`. Raises :class:`ProtocolError` for what no node announced."""
        for announce, heard, hosts, joined in rows:
            self.restore(decode_announce(announce.encode("latin-1")), tuple(hosts), float(heard))
            next(reversed(self._leases.values())).joined = tuple(joined)

    # -- the parts --------------------------------------------------------------------------------------------------

    def _take(self, identity: Identity, announce: Announce, now: float) -> Lease:
        """The lease, which was heard of now. Raises :class:`ProtocolError` when there are too many."""
        lease = self._leases.get(identity)
        if lease is None:
            text = identity[1]
            if text not in self._names and len(self._names) >= NAMES_MOST:
                raise ProtocolError("too many names", f"{text}: {NAMES_MOST} names are looked up already")
            if len(self._leases) >= LEASES_MOST:
                raise ProtocolError("too many names", f"{text}: {LEASES_MOST} nodes are announced by name already")
            if text not in self._names:
                self._names[text] = Name()
                self._news[text] = None
            lease = self._leases[identity] = Lease(announce, now)
            self._names[text].leases[identity] = None
        lease.heard = now
        if not lease.hosts:
            lease.announce = announce
        self._leases.move_to_end(identity)
        return lease

    def _drop(self, identity: Identity, now: float) -> Hosts:
        """There is no such lease any more; the addresses that nobody has now."""
        lease = self._leases.pop(identity, None)
        if lease is None:
            return ()
        name = self._names[identity[1]]
        del name.leases[identity]
        name.idle_since = now
        return self._hold(lease, ())

    def _settle(self, lease: Lease, hosts: Hosts) -> tuple[Hosts, list[Announce]]:
        """``lease`` means ``hosts``: which are new, and what has to leave."""
        before, vassal = lease.hosts, lease.announce.vassal
        hosts = self._fitting(lease, hosts)
        if vassal:  # one program at one place; its node moves there, and need not leave
            hosts = before if before and before[0] in hosts else hosts[:1]
        if hosts == before:
            return (), []
        known = set(before)
        free = self._hold(lease, hosts)
        if not lease.acknowledged:
            lease.acknowledged = True
            self._accepted.append(lease.announce)
        return tuple(host for host in hosts if host not in known), [] if vassal else _leaving(lease.announce, free)

    def _fitting(self, lease: Lease, hosts: Hosts) -> Hosts:
        """So many of ``hosts`` as there is room for."""
        return hosts[: max(0, ADDRESSES_MOST - self._addresses + len(lease.hosts))]

    def _hold(self, lease: Lease, hosts: Hosts) -> Hosts:
        """``lease`` has ``hosts``, and none beside them; the addresses that nobody has now."""
        key, port = lease.announce.key, lease.announce.address.port
        before, lease.hosts = lease.hosts, hosts
        self._addresses += len(hosts) - len(before)
        self._holders.update((key, host, port) for host in hosts)
        free = []
        for host in before:
            self._holders[key, host, port] -= 1
            if not self._holders[key, host, port]:
                del self._holders[key, host, port]
                free.append(host)
        return tuple(free)


def name_of(address: Address) -> str:
    """The name of an address, in the one form that it is looked up in."""
    return address.host.removesuffix(".").lower()


def _standing_for(announce: Announce, hosts: Iterable[str]) -> list[Announce]:
    """What nodes at ``hosts`` would have announced."""
    port = announce.address.port
    return [announce._replace(address=at_host(host, port), notify=NOWHERE) for host in hosts]


def _leaving(announce: Announce, hosts: Iterable[str]) -> list[Announce]:
    return _standing_for(announce._replace(leaving=True), hosts)


def _is_same(before: Announce, now: Announce) -> bool:
    """Whether it says the same, whenever it was said."""
    return before._replace(load=0, unix=0, route=()) == now._replace(load=0, unix=0, route=())

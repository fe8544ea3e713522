"""What host names mean, for the nodes that no registry knows.

One idea: a request waits for a look-up only when nothing is known of the name. What was found once is used until its
time is over, then still used while somebody looks again, and kept when that fails: a name server that is gone must not
stop what runs. How many names are remembered is bounded, for they may come from the network. How to look up, and how to
do something in the background, the owner passes in; ``clock`` is monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from uwsgirouter.errors import BadTarget

REMEMBERED = 16384
"""Names that are kept at once; the one used longest ago goes first."""
TTL = 30.0
"""Seconds for which the hosts of a name are used before it is looked up anew (the system does not tell its own)."""
STALE = 300.0
"""Seconds after that for which they are used while it is looked up; then a request waits for what they are now."""
FAILED_TTL = 3.0
"""Seconds for which a look-up that failed is not repeated."""
HOSTS_MOST = 256
"""Hosts of one name that are used."""

LookUp = Callable[[str], list[str]]
"""Name -> numeric hosts. May yield; raises OSError."""
Spawn = Callable[[Callable[[], None]], object]
"""Runs a function later, in the background."""


class Name:
    """One name. ``hosts`` is a new list after each look-up that changed it; empty when nobody knows it."""

    __slots__ = ("error", "hosts", "refreshing", "until")

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.until = 0.0
        self.error = ""
        """Why there are no hosts, or why they may be old."""
        self.refreshing = False


class Names:
    """The names of one worker."""

    def __init__(self, clock: Callable[[], float], look_up: LookUp, spawn: Spawn) -> None:
        self._clock = clock
        self._look_up = look_up
        self._spawn = spawn
        self._names: OrderedDict[str, Name] = OrderedDict()

    def known(self, host: str) -> list[str] | None:
        """The hosts of a name, empty when it has none; None: it must be looked up. Does not yield."""
        name = self._names.get(host)
        if name is None:
            return None
        self._names.move_to_end(host)
        now = self._clock()
        if now >= name.until:
            if now >= name.until + STALE:
                return None
            if not name.refreshing:
                name.refreshing = True
                self._spawn(lambda: self._refresh(host, name))
        return name.hosts

    def learn(self, host: str) -> None:
        """Look a name up, unless that was done a moment ago. May yield. Raises BadTarget when it has no hosts."""
        name = self._names.get(host)
        if name is None or self._clock() >= name.until:
            name = self._ask(host)
        if not name.hosts:
            raise BadTarget(name.error)

    def _refresh(self, host: str, name: Name) -> None:
        try:
            self._ask(host)
        finally:
            name.refreshing = False

    def _ask(self, host: str) -> Name:
        hosts: list[str] = []
        error = "it has no address"
        try:
            hosts = self._look_up(host)[:HOSTS_MOST]
        except OSError as raised:
            error = str(raised.strerror or raised)
        name = self._names.setdefault(host, Name())
        if hosts and hosts != name.hosts:
            name.hosts = hosts
        name.error = "" if hosts else f"cannot resolve {host}: {error}"
        name.until = self._clock() + (TTL if hosts else FAILED_TTL)
        while len(self._names) > REMEMBERED:
            self._names.popitem(last=False)
        return name

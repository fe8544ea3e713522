"""The registrar: joins the subscription servers, the registry and the log.

One idea: whatever changes a node goes through here, so that each change is told to the workers and to people exactly
once: datagrams, failures, time, the names that the resolver looked up again. It owns the servers' place in the master's
loop; it decides nothing about nodes (the registry does). Invariant: the nodes are those of the adopted generation.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Iterable
from functools import partial

from uwsgirouter.log import Log, Throttle
from uwsgirouter.master.acknowledgements import Acknowledgements
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.emperor import Emperor
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.keyring import Keyring, owners
from uwsgirouter.master.resolver import resolver_duty
from uwsgirouter.master.sockets import Bound
from uwsgirouter.master.subscriptions import Rejects, SubscriptionServer, describe
from uwsgirouter.model.events import Gone, Put
from uwsgirouter.model.node import State
from uwsgirouter.model.registry import Change, Happening, Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.trust import Trust
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings import senders

FULL_LINES = 1
"""Lines a second about a registry that takes no more nodes."""
FORGET_EVERY = 60.0
"""Seconds between two looks for announcements that are too old to be replayed."""


class Registrar:
    """``tell(id)`` is called for each node that the workers must hear of."""

    def __init__(
        self, table: RouteTable, inflight: Callable[[int], int], log: Log, tell: Callable[[int], None]
    ) -> None:
        self.registry = Registry(table, inflight, tolerance=17.0, gracetime=30.0)
        self._log = log
        self._tell = tell
        self._rejects = Rejects(log)
        self._full = Throttle(log.line, FULL_LINES)
        self._emperor = Emperor(log)
        self._acknowledgements = Acknowledgements()
        self._replays = Replays()
        self._forget_at = 0.0
        self._trust = self._trusting(senders.Rules())
        self._generation: Generation | None = None
        self._wanted: list[Bound] = []
        self._watched: dict[int, tuple[Bound, SubscriptionServer]] = {}

    def adopt(self, generation: Generation, now: float) -> None:
        """Work by the settings of ``generation``."""
        self.registry.tolerance = generation.settings.seconds("subscription-tolerance")
        self.registry.gracetime = generation.settings.seconds("fastrouter-gracetime")
        self._trust = self._trusting(senders.rules(generation.settings))
        self._wanted = generation.endpoints.servers
        self._generation = generation
        self._configure(generation, now)

    def _trusting(self, rules: senders.Rules) -> Trust:
        """Who decides by ``rules``; what was announced before is remembered."""
        for path in filter(None, (rules.keys, *rules.owners)):
            if not os.path.isdir(path):
                self._log.say(
                    f"no directory {path}: announcements that need a file in it are refused until it is there"
                )
        return Trust(rules, self._replays, Keyring(rules.keys).find, partial(owners, rules.owners))

    def _configure(self, generation: Generation, now: float) -> None:
        self._emperor.address = generation.emperor
        self._publish(self.registry.configure(generation.static, now, generation.fallback), "", now)

    def duties(self, generation: Generation) -> list[Duty]:
        """The attendants that ``generation`` needs for its nodes."""
        settings = generation.settings
        user, group = settings.optional_number("fastrouter-uid"), settings.optional_number("fastrouter-gid")
        duty = resolver_duty(generation.names, lambda name: self._renamed(generation, name), user, group)
        return [] if duty is None else [duty]

    def _renamed(self, generation: Generation, name: str) -> None:
        """A name of ``generation`` means something else than before."""
        self._log.say(f"{name} is now {', '.join(generation.names.hosts[name])}")
        if generation is self._generation:
            self._configure(generation, time.monotonic())

    def watch(self, selector: selectors.BaseSelector) -> None:
        """Have ``selector`` call for the datagrams of the adopted generation, and of no other."""
        wanted = {id(bound): bound for bound in self._wanted}
        for mark in [mark for mark in self._watched if mark not in wanted]:
            _, server = self._watched.pop(mark)
            selector.unregister(server.sock)
        for mark, bound in wanted.items():
            if mark in self._watched:
                self._watched[mark][1].trust = self._trust
            else:
                server = SubscriptionServer(bound.sock, self._accept, self._rejects, self._trust)
                selector.register(bound.sock, selectors.EVENT_READ, self._reader(server))
                self._watched[mark] = (bound, server)
                self._log.line(f"uwsgirouter subscription server bound to {bound.name}")

    def _reader(self, server: SubscriptionServer) -> Callable[[], None]:
        return lambda: server.read(time.monotonic())

    def _accept(self, announce: Announce) -> None:
        now = time.monotonic()
        changes = self.registry.announce(announce, now)
        self._publish(changes, "", now)
        if any(change.happening in (Happening.NEW, Happening.NEW_VASSAL) for change in changes):
            self._acknowledgements.send(announce)

    def node_failed(self, id: int, reason: str, now: float) -> None:
        """A worker could not connect to node ``id``."""
        self._publish(self.registry.fail(id, now), reason, now)

    def node_wanted(self, id: int, now: float) -> None:
        """A worker has requests for node ``id``, whose vassal does not run."""
        node = self.registry.table.nodes.get(id)
        if node is not None and node.state is State.INACTIVE:
            self._emperor.spawn(node.vassal, node.key, now)

    def tick(self, now: float) -> None:
        """Once a second."""
        self._emperor.tick(now)
        self._publish(self.registry.expire(now), "", now)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY
            self._replays.forget(time.time(), self._trust.rules.tolerance)
        self._rejects.flush(now)
        self._full.flush(now)

    def describe_rejects(self) -> str:
        """Refused datagrams by reason."""
        return " ".join(
            f"{reason.replace(' ', '-')}={count}" for reason, count in sorted(self._rejects.reasons.items())
        )

    def _publish(self, changes: Iterable[Change], reason: str, now: float) -> None:
        for change in changes:
            if isinstance(change.event, (Put, Gone)):
                self._tell(change.event.id)
            if change.happening is Happening.AWAKE:
                self._emperor.started(change.vassal)
            line = describe(change, reason, self.registry.tolerance)
            if line is None:
                continue
            if change.happening in (Happening.FULL, Happening.ODD_ALGO):
                self._full(line, now)
            else:
                self._log.line(line)

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
from uwsgirouter.master.announced_names import AnnouncedNames
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.ears import Ears
from uwsgirouter.master.emperor import Emperor
from uwsgirouter.master.federation import Federation
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.handover import Keep, Rows
from uwsgirouter.master.keyring import Keyring, owners
from uwsgirouter.master.saver import Saver
from uwsgirouter.master.sockets import Bound
from uwsgirouter.master.subscriptions import describe
from uwsgirouter.model.changes import Change, Happening
from uwsgirouter.model.events import Gone, Put
from uwsgirouter.model.memory import Memory
from uwsgirouter.model.node import Order, State
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.trust import Trust
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings import senders
from uwsgirouter.settings.address import Address, Kind
from uwsgirouter.stats.picture import Datagrams

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
        self._ears = Ears(log, self._accept, self)
        self._full = Throttle(log.line, FULL_LINES)
        self._emperor = Emperor(log)
        self._acknowledgements = Acknowledgements()
        self._names = AnnouncedNames(log, self._take, self._acknowledgements.send, self._renamed)
        self._federation = Federation(table, log)
        self._replays = Replays()
        self._memory = Memory(self.registry, self._names.leases, self._replays)
        self._saver = Saver(
            log, lambda: self._memory.snapshot(time.monotonic(), time.time()), lambda: self._replays.admitted
        )
        self._forget_at = 0.0
        self.gone: Callable[[bytes, int], None] = lambda key, id: None
        """Told the key and the number of each node that is removed."""
        self._trust = self._trusting(senders.Rules())
        self._generation: Generation | None = None
        self._recalls = True
        """The first generation begins with what a snapshot says."""
        self._wanted: list[Bound] = []

    def adopt(self, generation: Generation, now: float) -> None:
        """Work by the settings of ``generation``."""
        self.registry.tolerance = generation.settings.seconds("subscription-tolerance")
        self.registry.standing_tolerance = generation.settings.seconds("subscription-tolerance-inactive")
        self.registry.gracetime = generation.settings.seconds("fastrouter-gracetime")
        self._trust = self._trusting(senders.rules(generation.settings))
        self._wanted = generation.endpoints.servers
        is_first, self._recalls = self._recalls, False
        self._generation = generation
        self._configure(generation, now)
        path = generation.settings.text("subscription-snapshot") if generation.announced else ""
        if is_first and path:
            self._recall(path, now)
        self._names.adopt(generation)
        self._saver.adopt(path, now)

    def _recall(self, path: str, now: float) -> None:
        """At the router's start: go on with the nodes that it knew when it ended."""
        wall = time.time()
        snapshot = self._saver.load(path)
        if snapshot is not None:
            self._publish(self._memory.recall(snapshot, now, wall), "", now)
            nodes = f"{len(snapshot.nodes)} node{'' if len(snapshot.nodes) == 1 else 's'}"
            age = max(0.0, wall - snapshot.written)
            self._log.say(f"subscription-snapshot = {path}: {nodes}, written {age:.0f} seconds ago")

    def _trusting(self, rules: senders.Rules) -> Trust:
        """Who decides by ``rules``; what was announced before is remembered."""
        for path in filter(None, (rules.keys, *rules.owners)):
            if not os.path.isdir(path):
                self._log.say(
                    f"no directory {path}: announcements that need a file in it are refused until it is there"
                )
        return Trust(rules, self._replays, Keyring(rules.keys, rules.mount_points).find, partial(owners, rules.owners))

    def _configure(self, generation: Generation, now: float) -> None:
        self._emperor.address = generation.emperor
        self._federation.adopt(generation)
        self._publish(self.registry.configure(generation.static, now, generation.fallback), "", now)

    def duties(self, generation: Generation) -> list[Duty]:
        """The attendants that ``generation`` needs for its nodes."""
        duty = self._names.duty(generation)
        return [] if duty is None else [duty]

    def _renamed(self, generation: Generation, name: str) -> None:
        """A name of ``generation`` means something else than before."""
        self._log.say(f"{name} is now {', '.join(generation.names.hosts[name])}")
        if generation is self._generation:
            self._configure(generation, time.monotonic())

    def watch(self, selector: selectors.BaseSelector) -> None:
        """Have ``selector`` wake for the datagrams of the adopted generation, and of no other."""
        self._ears.watch(selector, self._wanted, self._trust)

    def listen(self) -> float | None:
        """Read the datagrams that wait (see :meth:`Ears.listen`)."""
        return self._ears.listen()

    def _accept(self, announce: Announce, sender: object) -> bool:
        """An announcement that may be acted upon; whether anything is different now. Raises :class:`ProtocolError`."""
        now = time.monotonic()
        if not self._federation.concerns(announce):
            return self._act_upon(announce, now)
        try:
            wanted = self._federation.hear(announce, sender, now)
            is_news = wanted is not None and self._act_upon(wanted, now)
            self._federation.heard(announce, wanted is not None, now)
            return is_news
        finally:
            self._federation.done()

    def hear_echo(self, digest: bytes) -> bool:
        """Whether a datagram was taken by its digest; else it must be read, and accepted."""
        return not self._federation.is_wanted and self.registry.hear_echo(digest, time.monotonic())

    def note_echo(self, digest: bytes, announce: Announce) -> bool:
        """``announce`` was accepted just now; whether its datagram need not be read again, for now."""
        return not self._federation.concerns(announce) and self.registry.note_echo(digest, announce)

    def _act_upon(self, announce: Announce, now: float) -> bool:
        """Whether anything is different now. Raises :class:`ProtocolError`."""
        if announce.address.kind is not Kind.NAME:
            return self._take(announce, now)
        self._names.hear(announce, now)
        return True  # perhaps; they are few

    def take_leave(self) -> None:
        """The router stops: other routers hear that it serves nobody any more."""
        self._federation.take_leave(time.monotonic())

    def close(self) -> None:
        """The router's end: what it knows is kept for the next one."""
        self._saver.finish(time.monotonic())

    def let_go(self) -> None:
        """In a child: what belongs to the master alone."""
        self._saver.let_go()

    def _take(self, announce: Announce, now: float) -> bool:
        """An announcement of one node; whether anything is different now."""
        changes = self.registry.announce(announce, now)
        if not changes:
            return False
        self._publish(changes, "", now)
        if any(change.happening in (Happening.NEW, Happening.NEW_VASSAL) for change in changes):
            self._acknowledgements.send(announce)
        return True

    def handed(self, keep: Keep) -> Rows:
        """For the master that takes the place of this one: all that is known."""
        return {
            "memory": self._memory.handed(),
            "federation": self._federation.handed(),
            "saver": self._saver.handed(keep),
            "ears": self._ears.handed(),
        }

    def inherit(self, rows: Rows) -> None:
        """Know what was handed over; to be called before a generation is adopted. Raises whatever comes of nonsense."""
        self._memory.inherit(rows["memory"])
        self._federation.inherit(rows["federation"])
        self._saver.inherit(rows["saver"])
        self._ears.inherit(rows["ears"])
        self._recalls = False

    def interrupt(self) -> None:
        """The master is about to be replaced: nobody writes what is known."""
        self._saver.interrupt()

    def node_failed(self, id: int, reason: str, now: float) -> None:
        """A worker could not connect to node ``id``."""
        self._publish(self.registry.fail(id, now, reason), reason, now)

    def node_faulty(self, id: int, count: int, now: float) -> None:
        """A worker gave ``count`` requests to node ``id``, which took them and did not answer."""
        if self._generation is not None and not self._generation.settings.flag("fastrouter-ejection"):
            return
        self._publish(self.registry.fault(id, now, count), "", now)

    def order(self, key: bytes, address: Address, order: Order, who: str, now: float) -> None:
        """An operator's order about a node."""
        self._saver.changed()  # it is kept though there may be no such node
        self._publish(self.registry.order(key, address, order, who, now), "", now)

    def weigh(self, key: bytes, address: Address, weight: int | None, who: str, now: float) -> None:
        """An operator's weight for a node; None ends it."""
        self._saver.changed()
        self._publish(self.registry.weigh(key, address, weight, who, now), "", now)

    def node_answered(self, id: int, now: float) -> None:
        """Node ``id``, which was unconfirmed, answered a request."""
        self._publish(self.registry.answered(id), "", now)

    def node_wanted(self, id: int, now: float) -> None:
        """A worker has requests for node ``id``, whose vassal does not run."""
        node = self.registry.table.nodes.get(id)
        if node is not None and node.state is State.INACTIVE:
            self._emperor.spawn(node.vassal, node.key, now)

    def tick(self, now: float) -> None:
        """Once a second."""
        self._emperor.tick(now)
        hearing = self._ears.hearing(now)
        self._publish(self.registry.expire(now, hearing), "", now)
        self._names.tick(now, self.registry.tolerance, hearing)
        self._federation.tick(now)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY
            self._replays.forget(time.time(), self._trust.rules.tolerance)
        self._ears.tick(now)
        self._full.flush(now)
        self._saver.tick(now)

    def datagrams(self) -> Datagrams:
        """What came of all datagrams."""
        return self._ears.datagrams()

    def describe_rejects(self) -> str:
        """Datagrams that were refused, by reason, and those that were lost."""
        return self._ears.describe()

    def describe_passed(self) -> str:
        """How much was passed on to other routers; empty when nothing is."""
        return self._federation.describe()

    def _publish(self, changes: Iterable[Change], reason: str, now: float) -> None:
        changes = list(changes)
        self._federation.changed((change.key for change in changes), now)
        for change in changes:
            if isinstance(change.event, (Put, Gone)):
                self._tell(change.event.id)
                self._saver.changed()
            if isinstance(change.event, Gone):
                self.gone(change.key, change.event.id)
            if change.happening is Happening.AWAKE:
                self._emperor.started(change.vassal)
            line = describe(change, reason, self.registry.tolerance)
            if line is None:
                continue
            if change.happening in (Happening.FULL, Happening.ODD_ALGO):
                self._full(line, now)
            else:
                self._log.line(line)

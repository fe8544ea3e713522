"""The ears: the subscription servers of the adopted generation, and how well they hear.

One idea: they know together what no announcement says: up to when everything was heard, and when something was lost. So
whoever judges silence asks here first (:meth:`Ears.hearing`), and people are told of losses when they begin, once, and
of their number in the stats. It owns the servers' place in the master's loop; what an announcement means it does not
know.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from uwsgirouter.log import Log
from uwsgirouter.master import receive_queue
from uwsgirouter.master.handover import Rows
from uwsgirouter.master.sockets import Bound
from uwsgirouter.master.subscriptions import NO_ECHOES, Echoes, Gist, Rejects, SubscriptionServer
from uwsgirouter.model.hearing import Hearing
from uwsgirouter.model.trust import Trust
from uwsgirouter.protocol.repeated import Reader
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.stats.picture import Datagrams

REST_MOST = 0.02
"""Seconds that known nodes' announcements may wait: a new node among them must not be seen later than this."""
REST_LEAST = 0.002
"""Seconds below which a rest is no gain."""
EPISODE = 60.0
"""Seconds without a loss after which the next one is told again."""
TURN_EVERY = 60.0
"""Seconds for which a datagram that does not come again is remembered, at least."""


@dataclass
class _Ear:
    """One server. ``until``: the last time at which it had read all that waited."""

    bound: Bound
    server: SubscriptionServer
    until: float


class Ears:
    """``accept`` gets each announcement that may be acted upon, and its sender, as recvfrom gives it; it says whether
    anything is different now."""

    def __init__(self, log: Log, accept: Callable[[Announce, object], bool], echoes: Echoes = NO_ECHOES) -> None:
        self._log = log
        self._echoes = echoes
        self._accept = accept
        self._rejects = Rejects(log)
        self._reader = Reader()
        self._turn_at = 0.0
        self._ears: dict[int, _Ear] = {}
        self._missed = float("-inf")
        self._read = 0
        self._lost = 0
        self._rest = 0.0
        self._heard_at = float("-inf")

    def watch(self, selector: selectors.BaseSelector, wanted: Iterable[Bound], trust: Trust) -> None:
        """Have ``selector`` wake for the datagrams of the servers ``wanted``, and of no other."""
        servers = {id(bound): bound for bound in wanted}
        for mark in [mark for mark in self._ears if mark not in servers]:
            selector.unregister(self._ears.pop(mark).server.sock)
        for mark, bound in servers.items():
            if mark in self._ears:
                self._ears[mark].server.trust = trust
            else:
                server = SubscriptionServer(bound.sock, self._accept, self._rejects, trust, self._reader, self._echoes)
                selector.register(bound.sock, selectors.EVENT_READ, self.listen)
                self._ears[mark] = _Ear(bound, server, time.monotonic())
                self._introduce(bound, server)
        rest = min((ear.server.queue.patience for ear in self._ears.values()), default=0.0)
        self._rest = min(REST_MOST, rest) if rest >= REST_LEAST else 0.0

    def _introduce(self, bound: Bound, server: SubscriptionServer) -> None:
        self._log.line(f"uwsgirouter subscription server bound to {bound.name}")
        if server.queue.is_short:
            self._log.say(
                f"the kernel gives {bound.name} {server.queue.size >> 10} KB for datagrams that wait, and not "
                f"{receive_queue.SIZE >> 10}: with thousands of nodes, raise net.core.rmem_max"
            )

    def listen(self) -> float | None:
        """Read what waits; the seconds for which nobody need listen now.

        0: the next datagram should be read when it comes, since few come or they are not what is known. None: something
        is different now, or more waits than is read at once; the rest of the loop should have its turn.
        """
        now = time.monotonic()
        count, gist, is_behind = 0, Gist.KNOWN, False
        for ear in self._ears.values():
            count += ear.server.read(now)
            gist = max(gist, ear.server.gist)
            is_behind = is_behind or ear.server.is_behind
        self._read += count
        if is_behind or gist is Gist.NEWS:
            return None
        if not count or gist is Gist.REFUSED:  # junk may be the beginning of a flood
            return 0.0
        since, self._heard_at = now - self._heard_at, now
        return self._rest if count > 1 or since < self._rest / 2 else 0.0

    def hearing(self, now: float) -> Hearing:
        """Once a second: how much silence proves. One more pass is read first: the loop may have been held up."""
        for ear in self._ears.values():
            self._read += ear.server.read(now)
            lost = ear.server.queue.losses()
            if lost:
                self._tell(ear, now)
                self._missed = now
                self._lost += lost
            if not ear.server.is_behind:
                ear.until = now
        return Hearing(min((ear.until for ear in self._ears.values()), default=now), self._missed)

    def _tell(self, ear: _Ear, now: float) -> None:
        if now - self._missed > EPISODE:
            self._log.say(
                f"announcements are lost: more come to {ear.bound.name} than can be read; "
                "nodes that seem silent are given more time"
            )

    def tick(self, now: float) -> None:
        """Once a second."""
        if now >= self._turn_at:
            self._turn_at = now + TURN_EVERY
            self._reader.turn()
        self._rejects.flush(now)

    def handed(self) -> Rows:
        """For a master that takes the place of this one: what was refused and lost."""
        return {"refused": dict(self._rejects.reasons), "lost": self._lost}

    def inherit(self, rows: Rows) -> None:
        """Go on counting."""
        self._rejects.reasons.update({str(reason): int(count) for reason, count in rows["refused"].items()})
        self._lost = int(rows["lost"])

    def datagrams(self) -> Datagrams:
        """What came of all datagrams."""
        return Datagrams(self._read, dict(self._rejects.reasons), self._lost)

    def describe(self) -> str:
        """Refused datagrams by reason, and those that were lost; empty when there are none."""
        found = [f"{reason.replace(' ', '-')}={count}" for reason, count in sorted(self._rejects.reasons.items())]
        return " ".join([*found, *([f"lost={self._lost}"] if self._lost else [])])

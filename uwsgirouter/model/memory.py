"""Memory: what a router knows of its nodes as one snapshot, and a snapshot back as knowledge.

One idea: the registry's nodes, the leases of names, the words of operators and the clocks of signed announcements
belong together, and whoever keeps them (a file, another master) keeps all of them. Pure: both clocks are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from uwsgirouter.model.changes import Change
from uwsgirouter.model.leases import Leases
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.snapshot import SavedLease, Snapshot
from uwsgirouter.protocol.replay import Replays


@dataclass(frozen=True)
class Memory:
    """The parts, which live as long as the master."""

    registry: Registry
    leases: Leases
    replays: Replays

    def snapshot(self, now: float, wall: float) -> Snapshot:
        """All that is known, at ``now`` monotonic and ``wall`` wall-clock seconds."""
        offset = wall - now
        return Snapshot(
            round(wall, 3),
            tuple(self.registry.saved(now, wall)),
            tuple(
                SavedLease(lease.announce, round(lease.heard + offset, 3), lease.hosts)
                for lease in self.leases
                if lease.hosts
            ),
            tuple(replace(word, since=round(word.since + offset, 3)) for word in self.registry.words()),
            tuple(self.replays.rows()),
        )

    def handed(self) -> dict[str, Any]:
        """All that is known, for a master that takes the place of this one in the same process."""
        return {
            "registry": self.registry.handed(),
            "leases": self.leases.handed(),
            "replays": self.replays.handed(),
        }

    def inherit(self, rows: Mapping[str, Any]) -> None:
        """Know what was handed over, and nothing else: this one is empty still. Raises for what nobody handed over."""
        self.registry.inherit(rows["registry"])
        self.leases.inherit(rows["leases"])
        self.replays.inherit(rows["replays"])

    def recall(self, snapshot: Snapshot, now: float, wall: float) -> list[Change]:
        """Know again what ``snapshot`` has; what is known by now counts more."""
        offset = wall - now
        changes = self.registry.restore(snapshot.nodes, now, wall)
        known = {(word.key, word.address.identity) for word in self.registry.words()}
        words = [word for word in snapshot.words if (word.key, word.address.identity) not in known]
        changes += self.registry.recall(replace(word, since=min(now, word.since - offset)) for word in words)
        for lease in snapshot.leases:
            self.leases.restore(lease.announce, lease.hosts, now)
        self.replays.restore(snapshot.clocks)
        return changes

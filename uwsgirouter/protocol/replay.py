"""Replay protection: of each node, what was accepted last, so that no signed announcement is accepted twice.

One idea: a window over the node's clock (``unix``, whole seconds). What is older than the window is refused; within it,
what was seen is. The window is two seconds wide, since uWSGI dates an unsubscribe one second ahead: a node that leaves
and comes back within that second is not an attack. It may even sign the bytes of an announcement of that second, or (in
the next one) those of its farewell, since the command is not covered: so right after a farewell what was seen is let
through as an announcement, once. A node is its key and its address as announced; it stays known after it left, for as
long as its announcements could be replayed. (uWSGI compares with the node's first announcement only, and forgets the
node when it leaves.)

Pure: ``now`` is wall-clock seconds and is passed in. Invariants: whatever comes in whatever order, the same signed
bytes are accepted at most once, but for a return; at most :data:`NODES_MAX` nodes of a key are remembered (what is
forgotten leaves its time behind, which nothing older may pass), and :data:`ALL_MAX` of all keys: beyond that, nobody
new is accepted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from uwsgirouter.errors import ProtocolError

WINDOW = 1
"""Seconds by which an announcement may be older than the newest one of its node."""
RETURN = 3.0
"""Seconds after a farewell in which its node may be back with bytes that were seen: two, and the network's time."""
SEEN_MAX = 32
"""Announcements of a node that are remembered for the window; more in two seconds are refused."""
NODES_MAX = 65536
"""Nodes remembered for one key."""
ALL_MAX = 1 << 18
"""Nodes remembered in all. (Whoever holds one key may sign for many: those of all mount points of a host.)"""


class _Node:
    """``newest`` clock, the ``oldest`` that is let through, and the digests of what was accepted from that on.

    ``left`` is when its farewell came, if that was its last word.
    """

    __slots__ = ("left", "newest", "oldest", "seen")

    def __init__(self, newest: int, oldest: int) -> None:
        self.newest = newest
        self.oldest = oldest
        self.seen: dict[bytes, int] = {}
        self.left: float | None = None

    def may_return(self, now: float) -> bool:
        """Whether an announcement may have bytes that were seen: it follows on a farewell."""
        return self.left is not None and abs(now - self.left) <= RETURN


class Replays:
    """The memory of one master; a reload keeps it."""

    def __init__(self) -> None:
        self._keys: dict[bytes, OrderedDict[str, _Node]] = {}
        """By key and address, the node heard of longest ago first."""
        self._floors: dict[bytes, int] = {}
        """By key: the clock of the newest announcement of nodes that are not remembered one by one."""
        self._size = 0
        self.admitted = 0
        """How many announcements were accepted, ever."""

    def __len__(self) -> int:
        return self._size

    def check(
        self,
        key: bytes,
        address: str,
        unix: int,
        signed: bytes,
        now: float,
        tolerance: float,
        leaving: bool = False,
    ) -> None:
        """Raise :class:`ProtocolError` for what could not be accepted even with a good signature (which is dearer).

        ``tolerance``: seconds by which the node's clock may differ from ours, either way. ``leaving``: a farewell.
        """
        if abs(now - unix) > tolerance:
            when = "in the past" if unix < now else "in the future"
            raise ProtocolError("bad time", f"unix={unix} is {abs(now - unix):.0f} seconds {when}")
        nodes = self._keys.get(key)
        node = nodes.get(address) if nodes is not None else None
        if unix < (node.oldest if node is not None else self._floors.get(key, -1) + 1):
            raise ProtocolError("replayed", f"unix={unix} is older than what {address} sent before")
        if node is None:
            if self._size >= ALL_MAX:
                raise ProtocolError("too many nodes", f"{ALL_MAX} nodes that sign are known already")
            return
        if sha256(signed).digest() in node.seen and (leaving or not node.may_return(now)):
            raise ProtocolError("replayed", f"{address} sent this announcement before")
        if unix <= node.newest and len(node.seen) >= SEEN_MAX:
            raise ProtocolError("too often", f"more than {SEEN_MAX} announcements in {WINDOW + 1} seconds")

    def admit(
        self,
        key: bytes,
        address: str,
        unix: int,
        signed: bytes,
        now: float,
        tolerance: float,
        leaving: bool = False,
    ) -> None:
        """Accept an announcement whose signature is good, once. Raises :class:`ProtocolError`."""
        self.check(key, address, unix, signed, now, tolerance, leaving)
        nodes = self._keys.setdefault(key, OrderedDict())
        node = nodes.get(address)
        if node is None:
            node = nodes[address] = _Node(unix, max(unix - WINDOW, self._floors.get(key, -1) + 1))
            self._size += 1
            if len(nodes) > NODES_MAX:
                _, forgotten = nodes.popitem(last=False)
                self._size -= 1
                self._raise_floor(key, forgotten.newest)
        elif unix > node.newest:
            node.newest = unix
            node.oldest = max(node.oldest, unix - WINDOW)
            node.seen = {digest: clock for digest, clock in node.seen.items() if clock >= node.oldest}
        node.seen[sha256(signed).digest()] = unix
        node.left = now if leaving else None
        nodes.move_to_end(address)
        self.admitted += 1

    def _raise_floor(self, key: bytes, unix: int) -> None:
        self._floors[key] = max(unix, self._floors.get(key, -1))

    def forget(self, now: float, tolerance: float) -> None:
        """Called now and then: let go of what is too old to be replayed in any case."""
        horizon = now - tolerance
        for key, nodes in list(self._keys.items()):
            for address in [address for address, node in nodes.items() if node.newest < horizon]:
                del nodes[address]
            if not nodes:
                del self._keys[key]
        self._size = sum(map(len, self._keys.values()))
        self._floors = {key: floor for key, floor in self._floors.items() if floor >= horizon}

    def rows(self) -> Iterator[tuple[bytes, str, int]]:
        """Key, address and newest clock of each node, for the snapshot; no address: of those not remembered."""
        for key, floor in self._floors.items():
            yield key, "", floor
        for key, nodes in self._keys.items():
            for address, node in nodes.items():
                yield key, address, node.newest

    def handed(self) -> dict[str, Any]:
        """All of it, for a master that takes the place of this one at once."""
        nodes = [
            [
                _text(key),
                address,
                one.newest,
                one.oldest,
                one.left,
                [[_text(said), at] for said, at in one.seen.items()],
            ]
            for key, known in self._keys.items()
            for address, one in known.items()
        ]
        floors = [[_text(key), floor] for key, floor in self._floors.items()]
        return {"nodes": nodes, "floors": floors, "admitted": self.admitted}

    def inherit(self, rows: Mapping[str, Any]) -> None:
        """Go on as whoever gave :meth:`handed`."""
        for key, address, newest, oldest, left, seen in rows["nodes"]:
            node = self._keys.setdefault(_bytes(key), OrderedDict())[address] = _Node(int(newest), int(oldest))
            node.left = left
            node.seen = {_bytes(said): int(at) for said, at in seen}
        self._floors = {_bytes(key): int(floor) for key, floor in rows["floors"]}
        self._size = sum(map(len, self._keys.values()))
        self.admitted = int(rows["admitted"])

    def restore(self, rows: Iterable[tuple[bytes, str, int]]) -> None:
        """Take what :meth:`rows` gave before a restart.

        Which announcements were seen is not known any more, so only newer ones are let through.
        """
        for key, address, newest in rows:
            if address:
                self._keys.setdefault(key, OrderedDict())[address] = _Node(newest, newest + 1)
            else:
                self._raise_floor(key, newest)
        self._size = sum(map(len, self._keys.values()))


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")

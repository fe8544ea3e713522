"""Echoes: datagrams by which a node says once more what it is anyway.

One idea: nearly all announcements are the very bytes that their node sent ten seconds ago, and mean nothing but that it
is still there. So of each node the digest of such a datagram is kept, and one that has it need be neither read nor
understood. What may be an echo others decide; here it ends with any change of its node. Pure.
Invariants: a node has one echo at most, a digest belongs to one node; whoever has one is as its datagram says.
"""

from __future__ import annotations


class Echoes:
    """Digests of datagrams, and the numbers of the nodes that they come from."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._digests: list[bytes] = []
        """By number; empty: it has no echo."""

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, digest: bytes) -> int | None:
        """The node whose echo has this digest."""
        return self._ids.get(digest)

    def note(self, digest: bytes, id: int) -> None:
        """Node ``id`` is as a datagram of this digest says; what it had before is its echo no longer."""
        self.forget(id)
        if id >= len(self._digests):
            self._digests.extend([b""] * (id + 1 - len(self._digests)))
        self._ids[digest] = id
        self._digests[id] = digest

    def forget(self, id: int) -> None:
        """Node ``id`` is not what it was."""
        if id < len(self._digests) and self._digests[id]:
            del self._ids[self._digests[id]]
            self._digests[id] = b""

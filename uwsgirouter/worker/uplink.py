"""The worker's end of the channel: the registry comes down, failures go up, and an end means that the master is dead.

One idea: what goes up is bounded: a failed node waits once, however often it failed, until the master reads (faults
are added up). None may
be dropped, for the worker acts on it already and only the master can call the node back. It knows messages and the
table; what an order means is the worker's to say.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Collection
from typing import Any, Protocol

from uwsgirouter.errors import ProtocolError
from uwsgirouter.model.events import Gone, Put
from uwsgirouter.model.node import Node, State
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.control import to_bytes, to_text
from uwsgirouter.protocol.messages import Message, MessageReader, encode_message

READ_SIZE = 1 << 18
WAITING_MOST = 1000
"""Messages that may wait for the master to read; what only informs people is dropped beyond that."""
DETAIL_MOST = 200
"""Characters of what was told of a failure."""


class Orders(Protocol):
    """What the master can tell a worker."""

    def begin(self, number: int) -> None:
        """The whole registry is here, up to change ``number``."""

    def nodes_changed(self) -> None:
        """The table was changed."""

    def drain(self, last: bool, alone: Collection[int] = ()) -> None:
        """Finish what is under way; ``last``: serve the backlog too, nobody comes after you; ``alone``: the same of
        these listeners."""

    def stop(self) -> None:
        """Leave at once."""

    def orphaned(self) -> None:
        """The master is gone."""

    def trace(self, token: int, key: bytes, count: int) -> None:
        """Tell what is decided for the next ``count`` requests of ``key``."""

    def untrace(self, token: int) -> None:
        """No more of them."""


class Uplink:
    """Reads ``sock`` (the worker's end of a socketpair) and applies what comes to ``table``."""

    def __init__(self, loop: Any, sock: socket.socket, table: RouteTable, orders: Orders) -> None:
        self._sock = sock
        self._table = table
        self._orders = orders
        self._reader = MessageReader()
        self._failed: dict[int, str] = {}
        self._faults: dict[int, int] = {}
        self._answered: set[int] = set()
        self._out: deque[bytes] = deque()
        self._partial = b""
        self._readable = loop.io(sock.fileno(), 1)
        self._writable = loop.io(sock.fileno(), 2)

    def start(self) -> None:
        """Listen to the master from now on."""
        self._sock.setblocking(False)
        self._readable.start(self._on_readable)

    def stop(self) -> None:
        """Listen no more."""
        self._readable.stop()
        self._writable.stop()

    def node_failed(self, node: Node, reason: str) -> None:
        """``node`` refused a connection."""
        self._failed[node.id] = reason
        self._flush()

    def node_faulty(self, id: int) -> None:
        """Node ``id`` accepted a request and did not answer it."""
        self._faults[id] = self._faults.get(id, 0) + 1
        self._flush()

    def node_answered(self, node: Node) -> None:
        """``node``, which was unconfirmed, has answered: once is enough, here and for the master."""
        node.state = State.UP
        self._answered.add(node.id)
        self._flush()

    def node_wanted(self, id: int) -> None:
        """Requests wait for the vassal of node ``id``."""
        self.send("wake", id)

    def troubled(self, cause: str, key: bytes, node: str, detail: str, request: bytes) -> None:
        """A request failed for ``cause``: one of many."""
        self.tell("trouble", cause, to_text(key), node, detail[:DETAIL_MOST], to_text(request))

    def send(self, *items: object) -> None:
        """Queue a message. Does not block."""
        self._out.append(encode_message(*items))
        self._flush()

    def tell(self, *items: object) -> bool:
        """The same for what only informs people: dropped (False) when too much waits."""
        if len(self._out) >= WAITING_MOST:
            return False
        self.send(*items)
        return True

    def _on_readable(self) -> None:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(READ_SIZE, socket.CMSG_SPACE(4))
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                _take_log(int.from_bytes(payload[:4], "little"))
        if not data:
            self.stop()
            self._orders.orphaned()
            return
        try:
            for message in self._reader.feed(data):
                self._obey(message)
        except ProtocolError:
            self.stop()
            self._orders.orphaned()

    def _obey(self, message: Message) -> None:
        order = message[0]
        if order == "nodes":
            self._take_nodes(message)
        elif order == "start":
            assert isinstance(message[1], int)
            self._orders.begin(message[1])
        elif order == "drain":
            alone = message[2] if len(message) > 2 else []
            assert isinstance(alone, list)
            self._orders.drain(bool(message[1]), alone)
        elif order == "stop":
            self._orders.stop()
        elif order == "trace":
            _, token, key, count = message
            assert isinstance(token, int) and isinstance(key, str) and isinstance(count, int)
            self._orders.trace(token, to_bytes(key), count)
        elif order == "untrace":
            assert isinstance(message[1], int)
            self._orders.untrace(message[1])

    def _take_nodes(self, message: Message) -> None:
        _, _, snapshot, rows, gone = message
        assert isinstance(rows, list) and isinstance(gone, list)
        if snapshot:
            self._table.clear()
        for id in gone:
            self._table.apply(Gone(id))
        for row in rows:
            self._table.apply(Put.from_row(row))
        self._orders.nodes_changed()

    def _flush(self) -> None:
        while self._partial or self._out or self._failed or self._faults or self._answered:
            if not self._partial:
                self._partial = self._compose()
            try:
                sent = self._sock.send(self._partial, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._writable.start(self._flush)
                return
            except OSError:
                self._failed.clear()
                self._faults.clear()
                self._answered.clear()
                self._out.clear()
                self._partial = b""
                return
            self._partial = self._partial[sent:]
        self._writable.stop()

    def _compose(self) -> bytes:
        if self._out:
            return self._out.popleft()
        if self._failed:
            id = next(iter(self._failed))
            return encode_message("failed", id, self._failed.pop(id))
        if self._faults:
            return encode_message("faults", *self._faults.popitem())
        return encode_message("answered", self._answered.pop())


def _take_log(descriptor: int) -> None:
    """The master reopened its log: write to the new file from now on."""
    os.dup2(descriptor, 2)
    os.close(descriptor)

"""The master's end of a worker's channel: what changed goes down, what the worker saw comes up.

One idea: what is queued is not messages but the numbers of the nodes that changed; what is sent is their state at the
moment of sending. So the queue is bounded by the registry, the last state wins, and a slow worker costs the master
nothing. A new worker gets all nodes first, then ``start``. It must never block.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import termios
from collections import deque
from itertools import islice

from uwsgirouter.errors import ProtocolError
from uwsgirouter.master.handover import Keep, Rows, inherited_socket
from uwsgirouter.model.events import Put
from uwsgirouter.model.table import RouteTable
from uwsgirouter.protocol.messages import Message, MessageReader, encode_message

ROWS_PER_MESSAGE = 500
"""Nodes that are written and read at a time: some milliseconds on either side, between which others have their turn."""
READ_SIZE = 1 << 16
MESSAGE_MOST = 1 << 20
"""Bytes of a message of a worker: it may have fewer rights than we, and should not keep us busy reading."""


class Downlink:
    """The channel to one worker over ``sock``; ``table`` is the master's."""

    def __init__(self, sock: socket.socket, table: RouteTable) -> None:
        self.sock = sock
        if sock.fileno() >= 0:  # else its end was closed before it was handed over
            sock.setblocking(False)
        self._table = table
        self._reader = MessageReader(MESSAGE_MOST)
        self._changed: dict[int, None] = dict.fromkeys(table.nodes)
        self._fresh = True
        self._started = False
        self._number = 0
        self._orders: deque[tuple[bytes, int | None]] = deque()
        self._partial = b""
        self._descriptor: int | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._partial or self._orders or self._changed or not self._started)

    @property
    def heard(self) -> bool:
        """Whether the worker has read all that it was to be told: nothing waits here, nor in the kernel."""
        if self.sock.fileno() < 0:
            return True
        return not self.waiting and not int.from_bytes(fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)), "little")

    def node_changed(self, id: int) -> None:
        """Node ``id`` is not what it was, or is no more."""
        self._changed[id] = None

    def order(self, *items: object, descriptor: int | None = None) -> None:
        """Queue an order (behind the changes that are queued), perhaps with a descriptor of ours to pass."""
        self._orders.append((encode_message(*items), descriptor))

    def write(self) -> None:
        """Send what the kernel takes, one message of nodes at most. Raises OSError when the worker is gone."""
        number = self._number
        while self._partial or (self.waiting and self._number == number):
            if not self._partial:
                self._partial, self._descriptor = self._compose()
            try:
                sent = self._send()
            except BlockingIOError:
                return
            self._partial = self._partial[sent:]

    def read(self) -> list[Message] | None:
        """What came up; None when the worker closed its end."""
        try:
            data = self.sock.recv(READ_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        try:
            return self._reader.feed(data)
        except ProtocolError:
            return None

    def close(self) -> None:
        """Let go."""
        self.sock.close()

    # -- over an upgrade --------------------------------------------------------------------------------------------

    def handed(self, keep: Keep) -> Rows:
        """For the master that takes the place of this one: the channel in the middle of whatever it is about."""
        return {
            "sock": keep(self.sock.fileno()),
            "input": self._reader.rest.decode("latin-1"),
            "changed": list(self._changed),
            "fresh": self._fresh,
            "started": self._started,
            "number": self._number,
            "orders": [[order.decode("latin-1"), descriptor] for order, descriptor in self._orders],
            "partial": self._partial.decode("latin-1"),
            "descriptor": self._descriptor,
        }

    @classmethod
    def inherited(cls, rows: Rows, table: RouteTable) -> Downlink:
        """The channel that was handed over."""
        link = cls(inherited_socket(rows["sock"]), table)
        link._reader.feed(rows["input"].encode("latin-1"))
        link._changed = dict.fromkeys(rows["changed"])
        link._fresh, link._started, link._number = rows["fresh"], rows["started"], rows["number"]
        link._orders.extend((order.encode("latin-1"), descriptor) for order, descriptor in rows["orders"])
        link._partial, link._descriptor = rows["partial"].encode("latin-1"), rows["descriptor"]
        return link

    # -- the parts --------------------------------------------------------------------------------------------------

    def _compose(self) -> tuple[bytes, int | None]:
        if self._changed or self._fresh:
            return self._compose_nodes(), None
        if not self._started:
            self._started = True
            return encode_message("start", self._number), None
        return self._orders.popleft()

    def _compose_nodes(self) -> bytes:
        rows: list[object] = []
        gone: list[int] = []
        # The oldest change first: the slots of the worker get their nodes in the master's order.
        for id in list(islice(self._changed, ROWS_PER_MESSAGE)):
            del self._changed[id]
            node = self._table.nodes.get(id)
            if node is None:
                gone.append(id)
            else:
                rows.append(Put.of(node).row())
        if not self._changed:
            self._changed = {}  # else it keeps the room that it once needed
        snapshot, self._fresh = self._fresh, False
        self._number += 1
        return encode_message("nodes", self._number, snapshot, rows, gone)

    def _send(self) -> int:
        if self._descriptor is None:
            return self.sock.send(self._partial, socket.MSG_NOSIGNAL)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, self._descriptor.to_bytes(4, "little"))
        sent = self.sock.sendmsg([self._partial], [rights], socket.MSG_NOSIGNAL)
        self._descriptor = None
        return sent


class Foreign(Downlink):
    """The channel to a worker of another version, which would not understand us: it is only told to leave, by a signal,
    and what it says is not listened to. It goes on with the nodes that it knows."""

    def __init__(self, sock: socket.socket, table: RouteTable, pid: int) -> None:
        super().__init__(sock, table)
        self._changed.clear()
        self._pid = pid

    @property
    def waiting(self) -> bool:
        """Never."""
        return False

    def node_changed(self, id: int) -> None:
        """It does not hear of it."""

    def order(self, *items: object, descriptor: int | None = None) -> None:
        """It leaves when it is told to; that it does at once is not understood by every version."""
        if items[0] in ("drain", "stop"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def read(self) -> list[Message] | None:
        """Nothing but its end."""
        try:
            return [] if self.sock.recv(READ_SIZE) else None
        except BlockingIOError:
            return []
        except OSError:
            return None

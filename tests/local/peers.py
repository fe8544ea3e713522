"""The other two ends of an adopting node: the router's, scripted, and the web server's."""

from __future__ import annotations

import os
import select
import socket
from array import array
from collections.abc import Sequence
from types import TracebackType

from tests.servers import Client, End, Reply, get, packet
from tests.servers.client import PATIENCE
from tests.servers.wire import Variables, where

KINDS = ["tcp", "unix"]


def connected(kind: str = "tcp") -> tuple[Client, socket.socket]:
    """A web server's connection, and the router's end of it: accepted, not blocking."""
    if kind == "unix":
        ours, accepted = socket.socketpair()
        client = Client.__new__(Client)
        client.socket = ours
        ours.settimeout(PATIENCE)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = Client("{}:{}".format(*listener.getsockname()))
            accepted, _ = listener.accept()
    accepted.setblocking(False)
    return client, accepted


def rights(descriptors: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """Control data that passes the descriptors."""
    if not descriptors:
        return []
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors).tobytes())]


class RouterEnd:
    """The router's connection to a node, through which it passes descriptors."""

    def __init__(self, connection: socket.socket | str) -> None:
        if isinstance(connection, str):
            family, sockaddr = where(connection)
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.connect(sockaddr)
        else:
            self.socket = connection
        self.socket.settimeout(PATIENCE)

    def give(self, data: bytes, *descriptors: int, pieces: Sequence[int] = ()) -> None:
        """Send, with the descriptors on the first byte; ``pieces`` are the sizes of the first sends."""
        first = pieces[0] if pieces else len(data)
        sent = self.socket.sendmsg([data[:first]], rights(descriptors))
        for size in pieces[1:]:
            sent += self.socket.send(data[sent : sent + size])
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def ask(self, variables: Variables, *descriptors: int, body: bytes = b"") -> None:
        """Send a whole request."""
        self.give(packet(variables) + body, *descriptors)

    def read_all(self) -> bytes:
        """What the node writes on this connection until it ends that direction."""
        blocks = []
        while block := self.socket.recv(65536):
            blocks.append(block)
        return b"".join(blocks)

    def is_adopted(self) -> bool:
        """Waits for the node's word: the end of its direction, without a byte, while the connection stays."""
        return self.socket.recv(1) == b"" and not self._poll(0) & select.POLLHUP

    def end(self, patience: float = PATIENCE) -> End:
        """Waits until the node has closed the connection, and says how."""
        if not self._poll(patience) & (select.POLLHUP | select.POLLERR):
            return End.SILENT
        try:
            left = self.socket.recv(65536)
        except ConnectionResetError:
            return End.RESET
        assert left == b"", f"the node wrote {left[:200]!r}"
        return End.EOF

    def _poll(self, seconds: float) -> int:
        """What the connection tells; waits for its end only."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return sum(event for _, event in poll.poll(seconds * 1000))

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def __enter__(self) -> RouterEnd:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class Passing(RouterEnd):
    """One request through an adopting node, with a client of its own whose descriptor is passed.

    ``client`` is the web server, ``passed`` the router's copy of its connection.
    """

    def __init__(self, address: str, kind: str = "tcp") -> None:
        super().__init__(address)
        self.client, self.passed = connected(kind)

    def get(self, path: str) -> None:
        """Send a GET with the client's descriptor."""
        self.ask(get("a.example", path), self.passed.fileno())

    def post(self, path: str, length: int, body: bytes) -> None:
        """Send a POST with the client's descriptor; ``body`` may be shorter than the promised ``length``."""
        variables = [
            *[pair for pair in get("a.example", path, "POST") if pair[0] != b"CONTENT_LENGTH"],
            (b"CONTENT_LENGTH", b"%d" % length),
        ]
        self.ask(variables, self.passed.fileno(), body=body)

    def let_go(self) -> None:
        """Close the router's copy, as the router does when the node has ended cleanly."""
        self.passed.close()

    def answered(self) -> Reply:
        """The client's response, which the node must have finished (it has to fit into the kernel's buffers)."""
        assert self.end() is End.EOF
        self.let_go()
        return self.client.reply()

    def close(self) -> None:
        """Close all ends."""
        super().close()
        self.client.close()
        self.passed.close()


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))

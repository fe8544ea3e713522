"""A scripted uwsgi client: a raw socket that does exactly what the test says, split, half-closed or reset."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable
from enum import Enum
from types import TracebackType

from tests.servers.wire import Reply, Variables, get, packet, post, where

PATIENCE = 10.0
"""Seconds a read or write of a scripted peer may take before the test fails."""


class End(Enum):
    """How a connection ended, as this side saw it."""

    EOF = "closed"
    RESET = "reset"
    SILENT = "still open, but silent"


def set_reset_on_close(connection: socket.socket) -> None:
    """Closing sends RST on TCP (on a unix socket unread data does that)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Client:
    """One connection to a router (or node)."""

    def __init__(self, address: str, patience: float = PATIENCE, receive_buffer: int | None = None) -> None:
        family, sockaddr = where(address)
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(patience)
        try:
            self.socket.connect(sockaddr)
        except OSError:
            self.socket.close()
            raise
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """All the bytes; raises OSError when the other side takes no more."""
        self.socket.sendall(data)

    def send_pieces(self, data: bytes, sizes: Iterable[int], pause: float = 0.002) -> None:
        """The bytes in pieces of these sizes, what remains in one; ``pause`` keeps the pieces apart on the
        wire.
        """
        position = 0
        for size in sizes:
            self.send(data[position : position + size])
            position += size
            time.sleep(pause)
        if position < len(data):
            self.send(data[position:])

    def send_packet(self, variables: Variables, body: bytes = b"", modifier1: int = 0, modifier2: int = 0) -> None:
        """A uwsgi packet with its body, in one write."""
        self.send(packet(variables, modifier1, modifier2) + body)

    def half_close(self) -> None:
        """Say that nothing more comes; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with a reset."""
        set_reset_on_close(self.socket)
        self.socket.close()

    def close(self) -> None:
        """Leave quietly."""
        self.socket.close()

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes. AssertionError when the connection ends before."""
        data = b""
        while len(data) < size:
            block = self.socket.recv(size - len(data))
            assert block, f"closed after {len(data)} of {size} bytes: {data[:200]!r}"
            data += block
        return data

    def read_some(self, size: int = 65536) -> bytes:
        """What one recv gives."""
        return self.socket.recv(size)

    def read_all(self, patience: float | None = None) -> tuple[bytes, End]:
        """Everything until the connection ends, and how it did; ``patience`` seconds of silence end it."""
        if patience is not None:
            self.socket.settimeout(patience)
        blocks: list[bytes] = []
        while True:
            try:
                block = self.socket.recv(1 << 18)
            except TimeoutError:
                return b"".join(blocks), End.SILENT
            except ConnectionError:
                return b"".join(blocks), End.RESET
            if not block:
                return b"".join(blocks), End.EOF
            blocks.append(block)

    def reply(self) -> Reply:
        """The response, which must be whole and end with a clean close."""
        raw, end = self.read_all()
        assert end is End.EOF, f"the connection is {end.value} after {raw[:300]!r}"
        return Reply.parse(raw)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def fetch(address: str, key: str | bytes = b"a.example", path: str = "/", body: bytes | None = None) -> Reply:
    """One request with a client of its own; a POST when there is a body."""
    with Client(address) as client:
        client.send_packet(get(key, path) if body is None else post(key, len(body), path), body or b"")
        return client.reply()

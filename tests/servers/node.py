"""A scripted node: a listener whose every connection is handed to a Python callable, with its bytes recorded.

A handler that raises makes the test fail when the node is stopped, unless the node was told to expect broken
connections, which is what a handler sees as OSError.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.servers.client import PATIENCE, set_reset_on_close
from tests.servers.process import wait_until
from tests.servers.wire import Variables, unpack, where


class Received(NamedTuple):
    """A packet as it arrived at the node."""

    modifier1: int
    modifier2: int
    variables: Variables
    raw: bytes

    def get(self, name: bytes) -> bytes | None:
        """The last value of a variable."""
        return dict(self.variables).get(name)


class Connection:
    """One accepted connection. ``received`` holds every byte that was read from it."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE)
        self.received = bytearray()
        self.packet: Received | None = None
        self.stopping = stopping
        self.finished = threading.Event()
        """Set when the handler has returned."""

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes. EOFError when the connection ends before."""
        data = bytearray()
        while len(data) < size:
            block = self.socket.recv(min(size - len(data), 1 << 18))
            if not block:
                raise EOFError(f"closed after {len(data)} of {size} bytes")
            data += block
            self.received += block
        return bytes(data)

    def read_packet(self) -> Received:
        """The next uwsgi packet."""
        header = self.read(4)
        modifier1, size, modifier2 = struct.unpack("<BHB", header)
        block = self.read(size)
        self.packet = Received(modifier1, modifier2, unpack(block), header + block)
        return self.packet

    def read_body(self) -> bytes:
        """As many bytes as the packet's CONTENT_LENGTH says."""
        assert self.packet is not None, "read_packet() first"
        return self.read(int(self.packet.get(b"CONTENT_LENGTH") or b"0"))

    def read_until_eof(self) -> bytes:
        """Everything until the other side says that nothing more comes."""
        start = len(self.received)
        while block := self.socket.recv(1 << 18):
            self.received += block
        return bytes(self.received[start:])

    def send(self, data: bytes) -> None:
        """All the bytes."""
        self.socket.sendall(data)

    def answer(self, body: bytes = b"ok", status: str = "200 OK", extra: bytes = b"") -> None:
        """A whole response with a Content-Length."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode()
        self.send(head + extra + b"\r\n" + body)

    def half_close(self) -> None:
        """Say that nothing more comes; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave with a reset."""
        set_reset_on_close(self.socket)
        self.socket.close()

    def wait(self) -> None:
        """Do nothing until the node is stopped."""
        self.stopping.wait(60)


Handler = Callable[[Connection], None]


def answer(body: bytes = b"ok", status: str = "200 OK") -> Handler:
    """A handler that reads packet and body, answers and closes."""

    def handle(connection: Connection) -> None:
        connection.read_packet()
        connection.read_body()
        connection.answer(body, status)

    return handle


def echo(connection: Connection) -> None:
    """Answers with the request's body."""
    connection.read_packet()
    connection.answer(connection.read_body())


def hang(connection: Connection) -> None:
    """Reads the packet and never answers."""
    connection.read_packet()
    connection.wait()


def close_at_once(connection: Connection) -> None:
    """Accepts and closes without reading (unread bytes make that a reset)."""


def reset_at_once(connection: Connection) -> None:
    """Accepts and resets."""
    connection.reset()


def reset_after_packet(connection: Connection) -> None:
    """Reads the packet, then resets."""
    connection.read_packet()
    connection.reset()


class Node:
    """Listens on ``address``: a port of its own unless it is ``[::1]:0``, ``/path`` or ``@name``."""

    def __init__(self, handler: Handler, address: str = "127.0.0.1:0", backlog: int = 128) -> None:
        self.handler = handler
        self.connections: list[Connection] = []
        self.errors: list[BaseException] = []
        self._backlog = backlog
        self._acceptors: list[threading.Thread] = []
        self._servers: list[threading.Thread] = []
        self._stopping = threading.Event()
        self.address = address
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        family, sockaddr = where(self.address)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(sockaddr)
        listener.listen(self._backlog)
        if family == socket.AF_INET:
            self.address = "{}:{}".format(*listener.getsockname())
        elif family == socket.AF_INET6:
            self.address = "[{}]:{}".format(*listener.getsockname())
        self._start(self._acceptors, self._accept, listener)
        return listener

    def _start(self, group: list[threading.Thread], function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, name=f"node {self.address}", daemon=True)
        group.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return  # shut down by refuse() or stop()
            connection = Connection(accepted, self._stopping)
            self.connections.append(connection)
            self._start(self._servers, self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        try:
            self.handler(connection)
        except (OSError, EOFError) as error:
            if not self._stopping.is_set():
                self.errors.append(error)
        except BaseException as error:  # noqa: BLE001 (raised again by stop(), in the test's own thread)
            self.errors.append(error)
        finally:
            connection.socket.close()
            connection.finished.set()

    def wait_for(self, count: int, deadline: float = 5.0) -> list[Connection]:
        """Wait until so many connections were accepted in all; the list of them."""
        wait_until(lambda: len(self.connections) >= count, deadline, f"{count} connections at {self.address}")
        return self.connections

    def expect_errors(self) -> list[BaseException]:
        """What the handlers raised so far; it no longer fails the test."""
        raised, self.errors = self.errors, []
        return raised

    def refuse(self) -> None:
        """Stop listening: connections are refused (a unix socket's file stays). Open connections live on."""
        # The thread's accept() returns only on shutdown; after close() alone it would wait for ever.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def accept_again(self) -> None:
        """Listen at the same address once more."""
        if self.address.startswith("/"):
            Path(self.address).unlink(missing_ok=True)
        self._listener = self._listen()

    def stop(self) -> None:
        """Close everything, and raise what a handler raised."""
        self._stopping.set()
        if self._listener.fileno() >= 0:
            self.refuse()
        self._join(self._acceptors)
        for connection in self.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already
        self._join(self._servers)
        if self.errors:
            raise AssertionError(f"a handler of node {self.address} raised") from self.errors[0]

    def _join(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"a handler of node {self.address} does not end"

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

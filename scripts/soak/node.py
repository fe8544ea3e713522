"""``python -m scripts.soak.node ADDRESS SERVER KEY...``: a node that announces itself, and does what a path asks for.

    /bytes/N   a body of N bytes            /hang    nothing, until the client leaves
    /upload    the sum of the body          /stream  101, then each line comes back
    /close /reset /cut   breaks off: before a byte, by a reset, in the middle of the answer

TERM: it takes leave, serves what is under way, and ends. A thread for each connection: there are few.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from scripts.bench.processes import split_address
from scripts.soak.content import PIECE, Sum, body
from uwsgirouter.announce import Announcer

EVERY = 2.0
"""Seconds between two announcements."""
BACKLOG = 256
LINGER = 1.0
"""Seconds without a connection after which it is idle: a worker may have chosen it before it heard of the leave."""
MERCY = 40.0
"""Seconds that it serves at most when it is told to end."""


class Node:
    """Serves until :meth:`leave`."""

    def __init__(self, address: str) -> None:
        self._listener = listen(address)
        self._open = 0
        self._last = time.monotonic()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            with self._lock:
                self._open += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer:
                serve(peer)
        except OSError:
            pass  # the client has left
        finally:
            with self._lock:
                self._open -= 1
                self._last = time.monotonic()

    def wait_until_idle(self) -> None:
        """Until nobody is here, and nobody came for a while."""
        begun = time.monotonic()
        while time.monotonic() < begun + MERCY:
            with self._lock:
                idle = not self._open and time.monotonic() > max(begun, self._last) + LINGER
            if idle:
                return
            time.sleep(0.05)


def listen(address: str) -> socket.socket:
    """At host:port, or at a path, where one that was killed may have left its socket."""
    if not address.startswith("/"):
        return socket.create_server(split_address(address), backlog=BACKLOG)
    with suppress(FileNotFoundError):
        os.unlink(address)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(BACKLOG)
    return listener


def serve(peer: socket.socket) -> None:
    """One request."""
    peer.settimeout(60)
    variables = read_packet(peer)
    path = variables.get(b"PATH_INFO", b"/")
    what, _, rest = path.decode().lstrip("/").partition("/")
    if what == "bytes":
        answer(peer, body(int(rest)))
    else:
        WAYS[what](peer, int(variables.get(b"CONTENT_LENGTH") or 0))


def read_packet(peer: socket.socket) -> dict[bytes, bytes]:
    """The variables. ConnectionError when it is cut."""
    (size,) = struct.unpack("<xHx", exactly(peer, 4))
    block = exactly(peer, size)
    words, place = [], 0
    while place < size:
        (length,) = struct.unpack_from("<H", block, place)
        words.append(block[place + 2 : place + 2 + length])
        place += 2 + length
    return dict(zip(words[::2], words[1::2], strict=True))


def exactly(peer: socket.socket, size: int) -> bytes:
    """So many bytes."""
    data = bytearray()
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionError("cut")
        data += more
    return bytes(data)


def answer(peer: socket.socket, content: bytes | memoryview) -> None:
    """A whole response."""
    name = peer.getsockname()
    text = name if isinstance(name, str) else f"{name[0]}:{name[1]}"
    peer.sendall(f"HTTP/1.1 200 OK\r\nX-Node: {text}\r\nContent-Length: {len(content)}\r\n\r\n".encode())
    peer.sendall(content)


def upload(peer: socket.socket, length: int) -> None:
    """Takes the body, answers with its sum."""
    found = Sum()
    while found.size < length:
        data = peer.recv(min(PIECE, length - found.size))
        if not data:
            raise ConnectionError("cut")
        found.add(data)
    answer(peer, found.text)


def hang(peer: socket.socket, length: int) -> None:
    """Until the client leaves."""
    while peer.recv(PIECE):
        pass


def stream(peer: socket.socket, length: int) -> None:
    """Switches, and sends back whatever comes."""
    peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
    while data := peer.recv(PIECE):
        peer.sendall(data)


def close(peer: socket.socket, length: int) -> None:
    """Not a byte."""


def reset(peer: socket.socket, length: int) -> None:
    """Not a byte, and not politely."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut(peer: socket.socket, length: int) -> None:
    """The first bytes, then a reset, when they have had time to arrive: a reset overtakes what waits."""
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe first bytes")
    time.sleep(0.2)
    reset(peer, length)


WAYS: dict[str, Callable[[socket.socket, int], None]] = {
    "upload": upload, "hang": hang, "stream": stream, "close": close, "reset": reset, "cut": cut,
}  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Until TERM."""
    address, server, *keys = arguments
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    node = Node(address)
    with Announcer(server, keys, address, cores=8, every=EVERY):
        stopped.wait()
    node.wait_until_idle()


if __name__ == "__main__":
    main(sys.argv[1:])

"""The clients beside wrk: single large bodies through nginx, and packets as nginx sends them, straight to a router.

BenchError if any byte is missing: a figure over failed transfers is worth nothing.
"""

from __future__ import annotations

import socket
import struct

from scripts.bench.nginx import PARAMETERS
from scripts.bench.processes import BenchError, connect, split_address

CHUNK = bytearray(1 << 20)
"""What uploads send and downloads are received into."""

TIMEOUT = 30.0
"""Seconds of silence after which a transfer has failed."""


def download(front: str, size: int) -> None:
    """Fetch a body of ``size`` bytes and throw it away. BenchError unless it is all there."""
    with socket.create_connection(split_address(front), timeout=TIMEOUT) as peer:
        peer.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n".encode())
        received = len(read_head(peer))
        while count := peer.recv_into(CHUNK):
            received += count
    if received != size:
        raise BenchError(f"a download of {size} bytes ended after {received}")


def upload(front: str, size: int) -> None:
    """Send a body of ``size`` bytes. BenchError unless the application says that it got them all."""
    with socket.create_connection(split_address(front), timeout=TIMEOUT) as peer:
        head = f"POST / HTTP/1.1\r\nHost: bench.example\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        peer.sendall(head.encode())
        view = memoryview(CHUNK)
        for _ in range(size // len(view)):
            peer.sendall(view)
        peer.sendall(view[: size % len(view)])
        answer = read_head(peer)
        while more := peer.recv(4096):
            answer += more
    if answer != str(size).encode():
        raise BenchError(f"an upload of {size} bytes was answered with {answer[:200]!r}")


def read_head(peer: socket.socket) -> bytes:
    """Read the head of a response; the bytes of the body that came along. BenchError unless 200."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = peer.recv(4096)
        if not more:
            raise BenchError(f"the response ended inside its head: {head!r}")
        head += more
    head, _, rest = head.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1] != b"200":
        raise BenchError(f"the response is not 200: {head.splitlines()[0]!r}")
    return rest


def packet() -> bytes:
    """What nginx sends for a small request of a browser."""
    values = dict.fromkeys(PARAMETERS, "/a/path/of/some/length")
    values |= {"REQUEST_METHOD": "GET", "SERVER_NAME": "bench.example", "CONTENT_TYPE": "", "CONTENT_LENGTH": ""}
    values |= {"HTTP_HOST": "bench.example", "HTTP_USER_AGENT": "x" * 80, "HTTP_COOKIE": "y" * 120}
    pairs = ((name.encode(), value.encode()) for name, value in values.items())
    block = b"".join(struct.pack("<H", len(word)) + word for pair in pairs for word in pair)
    return struct.pack("<BHB", 0, len(block), 0) + block


def exchange(listen: str) -> None:
    """One small request straight to a router. BenchError unless the answer is a 200."""
    with connect(listen, TIMEOUT) as peer:
        peer.sendall(packet())
        read_head(peer)
        while peer.recv(4096):
            pass


def answered(listen: str) -> bool:
    """Whether a request is answered with 200 now."""
    try:
        exchange(listen)
        return True
    except (OSError, BenchError):
        return False

"""The clients of single large bodies: they fetch or send one through an address of nginx.

BenchError if any byte is missing: a figure over failed transfers is worth nothing.
"""

from __future__ import annotations

import socket

from scripts.bench.processes import BenchError, split_address

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

"""The three loads, and the arithmetic on their figures.

A load runs against one address of nginx, says how much work was done, and raises BenchError if any of it
failed: a figure over failed requests is worth nothing. Parsing and arithmetic are pure.
"""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.bench import programs
from scripts.bench.processes import BenchError, split_address

CONNECTIONS = 32
"""Connections that wrk keeps open towards nginx."""

CHUNK = bytearray(1 << 20)
"""What uploads send and downloads are received into."""

TIMEOUT = 30.0
"""Seconds of silence after which a transfer has failed."""


@dataclass(frozen=True)
class WrkResult:
    """What wrk printed: requests done, seconds, and its counts of failures by kind (empty: none failed)."""

    requests: int
    seconds: float
    failures: dict[str, int]


UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_wrk(text: str) -> WrkResult:
    """Read wrk's report. BenchError if it has no line of totals."""
    totals = re.search(r"^\s*(\d+) requests in ([\d.]+)(us|ms|s|m|h),", text, re.MULTILINE)
    if totals is None:
        raise BenchError(f"wrk printed no totals:\n{text}")
    failures: dict[str, int] = {}
    sockets = re.search(r"^\s*Socket errors: (.+)$", text, re.MULTILINE)
    if sockets:
        failures.update((kind, int(count)) for kind, count in re.findall(r"(\w+) (\d+)", sockets[1]))
    statuses = re.search(r"^\s*Non-2xx or 3xx responses: (\d+)", text, re.MULTILINE)
    if statuses:
        failures["status"] = int(statuses[1])
    return WrkResult(
        requests=int(totals[1]),
        seconds=float(totals[2]) * UNITS[totals[3]],
        failures={kind: count for kind, count in failures.items() if count},
    )


def small_requests(front: str, seconds: int) -> WrkResult:
    """GET / over 32 kept connections for whole ``seconds``. BenchError if any request failed."""
    argv = [programs.find("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://{front}/"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if done.returncode != 0:
        raise BenchError(f"wrk ended with status {done.returncode}: {done.stdout}{done.stderr}")
    result = parse_wrk(done.stdout)
    if result.failures or not result.requests:
        raise BenchError(f"{result.requests} requests done, failures {result.failures}:\n{done.stdout}")
    return result


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


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of the rounds' figures."""

    median: float
    least: float
    greatest: float

    @property
    def width(self) -> float:
        """From the least to the greatest, as a part of the median."""
        return (self.greatest - self.least) / self.median if self.median else 0.0


def spread(figures: Sequence[float]) -> Spread:
    """Of at least one figure."""
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(figures: Sequence[float], base: Sequence[float]) -> list[float]:
    """Round by round, ``figures`` over ``base``. ValueError if they are not of the same rounds."""
    return [figure / other for figure, other in zip(figures, base, strict=True)]

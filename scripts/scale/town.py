"""A router with a great many nodes, one of which answers, and what is asked of them.

One idea: only the router's own processes are measured, by their CPU clocks and the kernel's account of their memory;
whoever sends and asks are other processes or threads. What was started is gone after :meth:`Town.close`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil

from scripts.bench.processes import BenchError, Daemon, accepts, free_address, free_udp_address, split_address
from scripts.bench.programs import PROJECT
from scripts.scale.sending import announcement, packet

ALIVE = "alive.example.com"
"""The key whose node answers."""
MEGABYTE = 1e6
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
PATIENCE = 10.0
"""Seconds after which an answer that did not come is a failure."""


class Node:
    """Answers every request; runs in a thread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.recv(4096)
                    peer.sendall(REPLY)
                except OSError:
                    continue

    def close(self) -> None:
        """Answer no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@dataclass
class Asked:
    """Requests: how long each took, in seconds, and how many failed."""

    times: list[float] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True)
class Usage:
    """Seconds of CPU, of the master and of each worker, at one moment or between two."""

    master: float
    workers: tuple[float, ...]

    def since(self, earlier: Usage) -> Usage:
        """What was used since ``earlier``."""
        return Usage(
            self.master - earlier.master,
            tuple(now - then for now, then in zip(self.workers, earlier.workers, strict=True)),
        )


@dataclass(frozen=True)
class Memory:
    """Megabytes (10^6 bytes) of one process: resident, its own alone, and its share of what is shared."""

    rss: float
    uss: float
    pss: float


class Town:
    """The router and the one node that answers; ``with`` stops both."""

    def __init__(self, directory: Path, workers: int, *more: str) -> None:
        self.node = Node()
        self.listen = free_address()
        self.server = free_udp_address()
        self._senders: list[subprocess.Popen[bytes]] = []
        argv = [sys.executable, "-m", "uwsgirouter", "--fastrouter", self.listen]
        argv += ["--fastrouter-subscription-server", self.server, "--fastrouter-processes", str(workers), *more]
        self.router = Daemon("uwsgirouter", argv, directory / "router.log", PROJECT)
        self.workers = workers

    def __enter__(self) -> Town:
        self.router.start()
        self.router.wait_until(lambda: accepts(self.listen) and self._is_staffed(), "answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sender in self._senders:
            sender.kill()
            sender.communicate()
        self.router.stop()
        self.node.close()

    # -- what the router uses -----------------------------------------------------------------------------------------

    def _is_staffed(self) -> bool:
        return len(self.processes()) == 1 + self.workers and self.log().count("spawned uwsgirouter worker") > 0

    def processes(self) -> list[psutil.Process]:
        """The master, then its workers."""
        return self.router.tree()

    def usage(self) -> Usage:
        """CPU up to now."""
        master, *workers = map(_cpu, self.processes())
        return Usage(master, tuple(workers))

    def memory(self) -> list[Memory]:
        """Of the master, then of its workers."""
        found = (process.memory_full_info() for process in self.processes())
        return [Memory(info.rss / MEGABYTE, info.uss / MEGABYTE, info.pss / MEGABYTE) for info in found]

    def log(self) -> str:
        """Everything that it wrote."""
        return self.router.log.read_text(errors="replace")

    def stats(self) -> str:
        """The stats line of this moment."""
        before = self.log().count("] stats: ")
        self.processes()[0].send_signal(signal.SIGUSR1)
        self.router.wait_until(lambda: self.log().count("] stats: ") > before, "stats line")
        return self.log().rpartition("] stats: ")[2].partition("\n")[0]

    def reload(self) -> float:
        """HUP; the seconds until the new workers serve and the old ones are gone."""
        before = self.log().count(" is done")
        start = time.monotonic()
        self.processes()[0].send_signal(signal.SIGHUP)
        self.router.wait_until(lambda: self.log().count(" is done") == before + self.workers, "end of the reload")
        return time.monotonic() - start

    # -- who announces and asks ---------------------------------------------------------------------------------------

    def send(self, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a process that sends datagrams (see sending.py)."""
        argv = [sys.executable, "-m", "scripts.scale.sending", self.server, *map(str, arguments)]
        sender = subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE)
        self._senders.append(sender)
        return sender

    def wait_for(self, sender: subprocess.Popen[bytes], end: bool = False) -> dict[str, float]:
        """What it says when it is done: ``sent``, ``seconds``, ``cpu``. ``end``: it is told to be done now."""
        if end:
            sender.terminate()
        output, _ = sender.communicate()
        self._senders.remove(sender)
        if sender.returncode != 0:
            raise BenchError(f"the sender ended with status {sender.returncode}")
        return dict(json.loads(output))

    def announce(self, key: str, address: str) -> None:
        """One announcement."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(announcement(key, address), split_address(self.server))

    def ask(self, count: int, pause: float = 0.0) -> Asked:
        """So many requests for :data:`ALIVE`, one after the other."""
        asked = Asked()
        for _ in range(count):
            start = time.monotonic()
            if _request(self.listen) == REPLY:
                asked.times.append(time.monotonic() - start)
            else:
                asked.failed += 1
            time.sleep(pause)
        return asked

    def ask_until(self, stop: threading.Event, asked: Asked) -> None:
        """Some two hundred requests a second until ``stop``."""
        while not stop.is_set():
            some = self.ask(1, 0.005)
            asked.times += some.times
            asked.failed += some.failed


class Pulse:
    """Asks the master for a sign of life all the time: new nodes that want to be told when they are taken.

    ``times``: the seconds that each answer took. Runs in a thread from entering to leaving the ``with`` block.
    """

    def __init__(self, town: Town) -> None:
        self.times: list[float] = []
        self._server = split_address(town.server)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(PATIENCE)
            notify = f"127.0.0.1:{sock.getsockname()[1]}".encode()
            number = 0
            while not self._stop.is_set():
                number += 1
                words = [(b"key", b"pulse"), (b"address", b"10.99.%d.%d:1" % divmod(number % 65000, 256))]
                hello = packet([*words, (b"notify", notify)])
                start = time.monotonic()
                sock.sendto(hello, self._server)
                try:
                    sock.recv(512)
                except TimeoutError:
                    pass  # it was lost, or took that long: either is the figure
                self.times.append(time.monotonic() - start)
                sock.sendto(hello[:3] + b"\1" + hello[4:], self._server)
                time.sleep(0.005)


def _request(address: str) -> bytes:
    """What the router answers; empty when it does not."""
    variables = [(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b"/"), (b"HTTP_HOST", ALIVE.encode())]
    pack = struct.Struct("<H").pack
    block = b"".join(pack(len(name)) + name + pack(len(value)) + value for name, value in variables)
    reply = b""
    try:
        with socket.create_connection(split_address(address), timeout=PATIENCE) as peer:
            peer.sendall(struct.pack("<BHB", 0, len(block), 0) + block)
            while more := peer.recv(4096):
                reply += more
    except OSError:
        return b""
    return reply


def _cpu(process: psutil.Process) -> float:
    """Seconds of CPU of a process alone, in nanoseconds' steps; its reaped children are not in it."""
    clock = (~process.pid << 3) | 2  # what clock_getcpuclockid(3) answers
    return time.clock_gettime_ns(clock) / 1e9


def cores() -> int:
    """Of this machine."""
    return os.cpu_count() or 1

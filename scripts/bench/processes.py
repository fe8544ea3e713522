"""Starting a program, reading the CPU time of its whole process tree, and stopping that tree.

Knows nothing of routers or web servers. Whatever ``Daemon.start`` started is gone after ``Daemon.stop``; only
processes found below the started one are ever signalled, by pid.
"""

from __future__ import annotations

import http.client
import os
import random
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

START_DEADLINE = 20.0
"""Seconds a program may take until it answers."""

STOP_DEADLINE = 5.0
"""Seconds between the polite signal and the kill."""

LOG_LINES = 15
"""Lines of a program's log that an error shows."""


class BenchError(Exception):
    """The measurement cannot be made or cannot be trusted. The message says why, for people."""


@dataclass(frozen=True)
class CpuReading:
    """CPU time of a process tree at one moment."""

    seconds: float
    pids: frozenset[int]

    def since(self, earlier: CpuReading) -> float:
        """Seconds used since ``earlier``. BenchError if the tree has other processes now."""
        if self.pids != earlier.pids:
            raise BenchError(
                f"processes came or went while measured: {sorted(earlier.pids)} became {sorted(self.pids)}"
            )
        return self.seconds - earlier.seconds


class Daemon:
    """A program started in the foreground of its own session, with its output in a log file."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.cwd = cwd
        self.env = {**os.environ, **(env or {})}
        self._child: subprocess.Popen[bytes] | None = None
        self._seen: set[psutil.Process] = set()

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C reaches this script alone, and the stop is in order."""
        self.log.write_bytes(b"")
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self.argv,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], what: str, within: float = START_DEADLINE) -> None:
        """Poll ``ready``; BenchError with the end of the log if the program ends or takes too long."""
        assert self._child is not None, "wait_until before start"
        deadline = time.monotonic() + within
        while not ready():
            if self._child.poll() is not None:
                raise BenchError(f"{self.name} ended with status {self._child.returncode}:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name}: no {what} within {within:.0f} s:\n{self.log_end()}")
            time.sleep(0.02)

    def log_end(self) -> str:
        """The last lines of the log, indented."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in [f"$ {' '.join(self.argv)}", *lines[-LOG_LINES:]])

    def tree(self) -> list[psutil.Process]:
        """The process and everything below it; empty if it has ended."""
        if self._child is None or self._child.poll() is not None:
            return []
        try:
            root = psutil.Process(self._child.pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        self._seen.update(tree)
        return tree

    def cpu(self) -> CpuReading:
        """CPU time of the tree, and of the children that it has reaped. BenchError if it has ended."""
        tree = self.tree()
        if not tree:
            raise BenchError(f"{self.name} has ended:\n{self.log_end()}")
        try:
            seconds = sum(process_cpu(process) for process in tree)
        except (psutil.NoSuchProcess, OSError) as error:
            raise BenchError(f"a process of {self.name} ended while it was measured: {error}") from error
        return CpuReading(seconds, frozenset(process.pid for process in tree))

    def stop(self, within: float | None = None) -> None:
        """Interrupt the root, wait (STOP_DEADLINE seconds unless it is given), kill what is left of the tree.

        Safe to call twice or before the start.
        """
        if self._child is None:
            return
        # Taken before the signal: children whose parent has left cannot be found below it any more.
        # Nor if it left by itself: then earlier looks at the tree are what there is to go by. psutil knows a process
        # by its start as well, so a pid that somebody else has by now is not signalled.
        self.tree()
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
        left = [process for process in self._seen if process.is_running()]  # it compares starts; waiting does not
        _, alive = psutil.wait_procs(left, timeout=within or STOP_DEADLINE)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=STOP_DEADLINE)
        self._child.wait(timeout=STOP_DEADLINE)
        self._child = None


def process_cpu(process: psutil.Process) -> float:
    """Seconds of CPU of all threads of a process, plus those of its reaped children.

    The process' CPU clock is what utime + stime in /proc are cut from, but in nanoseconds in place of ticks of
    10 ms; for a transfer of a tenth of a second that is the difference between a figure and a guess.
    """
    clock = (~process.pid << 3) | 2  # what clock_getcpuclockid(3) answers; part of the kernel's stable interface
    times = process.cpu_times()
    return time.clock_gettime_ns(clock) / 1e9 + float(times.children_user + times.children_system)


def tree_pss(processes: Sequence[psutil.Process]) -> int:
    """Bytes of memory of all these processes, each page shared with others counted in part (PSS).

    BenchError if one has ended.
    """
    total = 0
    for process in processes:
        try:
            total += parse_pss(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
        except OSError as error:
            raise BenchError(f"the memory of process {process.pid} cannot be read: {error}") from error
    return total


def parse_pss(rollup: str) -> int:
    """Bytes that ``/proc/PID/smaps_rollup`` names as Pss. BenchError if it names none."""
    for line in rollup.splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    raise BenchError("no Pss in smaps_rollup")


def machine_busy() -> float:
    """Seconds of CPU that all of the machine has used since it started, time stolen by its host included."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = ticks
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


def own_cpu() -> float:
    """Seconds of CPU of this script and of its children that have ended (wrk)."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def allow_open_files() -> int:
    """Raise this process' limit of open files as far as it may, for what it starts as well; what it is now."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def free_udp_address(host: str = "127.0.0.1") -> str:
    """A UDP address nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def free_address(host: str = "127.0.0.1") -> str:
    """A TCP address nobody listens on, below the range that outgoing connections take their ports from.

    The load makes thousands of connections per second: a port in that range may be gone when it is bound.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = random.sample(range(max(1024, first - 12000), first), 50) if first > 2048 else [0] * 50
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return f"{host}:{probe.getsockname()[1]}"
    raise BenchError(f"no free port found on {host}")


def split_address(address: str) -> tuple[str, int]:
    """``host:port`` as connect() takes it."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def connect(address: str, timeout: float) -> socket.socket:
    """A connection to ``host:port`` or to the unix socket at a path. OSError if there is none to be had."""
    if not address.startswith("/"):
        return socket.create_connection(split_address(address), timeout=timeout)
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.settimeout(timeout)
        peer.connect(address)
    except BaseException:
        peer.close()
        raise
    return peer


def accepts(address: str) -> bool:
    """True if something listens on a TCP address or a unix socket's path."""
    try:
        with connect(address, 1):
            return True
    except OSError:
        return False


def answers(address: str, host: str = "bench.example") -> bool:
    """True if GET / at an HTTP address is answered with 200."""
    connection = http.client.HTTPConnection(*split_address(address), timeout=2)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def heed_signals() -> None:
    """SIGTERM and Ctrl-C end a run alike, by a KeyboardInterrupt: all that was started is stopped on the way out."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell that started this in the background has it, and the programs that it starts, ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

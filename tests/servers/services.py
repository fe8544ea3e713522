"""The servers that rules ask: memcached, Redis, each a process of its own on a free port, which tests stop and freeze.

    redis = servers.daemon(Redis)          started, answering; stopped by the fixture
    redis.address, redis.port, redis.pid, redis.log()
    redis.stop(); redis.start()            away, and back at the same address, empty
    with redis.frozen(): ...               SIGSTOP: connections are taken by the kernel, and nobody answers
    way = servers.detour(redis.address)    way.address leads to it, way.delay seconds late

A kind of server is a subclass of :class:`Daemon` with ``argv()`` and ``answers()``, and perhaps ``env()``; files that
it needs are written by ``prepare()``, which is called once, before the first start.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.servers.ports import free_port
from tests.servers.process import Process, alive_in_session, wait_until
from tests.servers.programs import program


class _Program(Process):
    """What runs: a process with its daemon's name."""

    def __init__(self, daemon: Daemon) -> None:
        self.name = daemon.name
        self.stop_signal = daemon.stop_signal
        super().__init__(daemon.argv(), daemon.directory, daemon.env())


class Daemon:
    """A server that is started, stopped and frozen. ``directory`` is its own, below the one that is given."""

    name = "daemon"
    stop_signal = signal.SIGTERM
    ready_deadline = 20.0

    def __init__(self, directory: Path, *args: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.args = args
        """Further arguments, at the end of the command line."""
        self.directory = directory / f"{self.name}-{self.port}"
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self._process: _Program | None = None
        self._before = ""
        self.prepare()
        self.start()

    # -- what a kind of server says ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Write files into ``self.directory``, once."""

    def argv(self) -> list[str]:
        """The command line of a server that stays in the foreground."""
        raise NotImplementedError

    def env(self) -> dict[str, str]:
        """Variables of its environment, beside the test's own."""
        return {}

    def answers(self) -> bool:
        """Whether it answers a question by now. OSError: not yet."""
        raise NotImplementedError

    # -- what a test does with it ------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """It was started, and has not ended."""
        return self._process is not None and self._process.running

    def log(self) -> str:
        """All that it wrote since it was first started."""
        return self._before + ("" if self._process is None else self._process.log())

    def start(self) -> None:
        """Start it and wait until it answers; again, at the same port, once it was stopped or killed."""
        assert not self.running, f"{self.name} runs already"
        self._before = self.log()
        self._process = _Program(self)
        self._process.wait_ready(self._is_up, self.ready_deadline)

    def stop(self) -> None:
        """Stop it, frozen or not; nothing of it is left. Once more does nothing."""
        if self._process is not None and self._process.running:
            self.thaw()
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL: its connections are reset or closed by the kernel."""
        self._running().kill()

    def freeze(self) -> None:
        """SIGSTOP to all of its processes: what is asked from now on waits in the kernel."""
        for process in alive_in_session(self.pid):
            process.suspend()
        wait_until(
            lambda: all(process.status() == psutil.STATUS_STOPPED for process in alive_in_session(self.pid)),
            10,
            f"{self.name} is frozen",
        )

    def thaw(self) -> None:
        """SIGCONT: it goes on."""
        for process in alive_in_session(self.pid):
            process.resume()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It is frozen for the block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def connections(self) -> int:
        """How many it has now, at its own port."""
        return sum(
            1
            for process in alive_in_session(self.pid)
            for one in process.net_connections("tcp")
            if one.laddr and one.laddr.port == self.port and one.status == psutil.CONN_ESTABLISHED
        )

    def _is_up(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def _running(self) -> _Program:
        assert self._process is not None
        return self._process

    def converse(self, question: bytes, end: bytes = b"\r\n", deadline: float = 10.0) -> bytes:
        """Ask at its port over TCP, on a connection of its own, and read until the answer ends with ``end``."""
        with socket.create_connection(("127.0.0.1", self.port), deadline) as sock:
            sock.sendall(question)
            answer = b""
            while not answer.endswith(end):
                data = sock.recv(65536)
                if not data:
                    raise ConnectionError(f"{self.name} closed after {answer!r}")
                answer += data
            return answer


class Detour:
    """A way to a server over TCP that takes its time: what the server says arrives ``delay`` seconds later."""

    def __init__(self, address: str) -> None:
        self._to = address.rpartition(":")
        self.delay = 0.0
        self.made = 0
        """Connections so far."""
        self._open: list[socket.socket] = []
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self._listener.getsockname())
        self._threads = [threading.Thread(target=self._accept, name=f"detour {self.address}", daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            here, _ = self._listener.accept()
            if self._stopping.is_set():
                here.close()
                return
            self.made += 1
            try:
                there = socket.create_connection((self._to[0], int(self._to[2])), 10)
            except OSError:
                here.close()
                continue
            there.settimeout(None)
            self._open += here, there
            for ends in ((here, there, False), (there, here, True)):
                thread = threading.Thread(target=self._carry, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket, late: bool) -> None:
        """Until one of both ends."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if late and self.delay:
                    self._stopping.wait(self.delay)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Close everything."""
        self._stopping.set()
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname(), 10):
            self._threads[0].join(10)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), f"a detour to {''.join(self._to)} does not end"
        for sock in self._open:
            sock.close()


class Memcached(Daemon):
    """memcached with 64 MB and two threads, nothing in it."""

    name = "memcached"
    stop_signal = signal.SIGKILL  # SIGTERM takes it a second, and it has nothing to save

    def argv(self) -> list[str]:
        # Root needs -u; for others it means nothing.
        return [program("memcached"), "-l", "127.0.0.1", "-p", str(self.port), "-t", "2", "-u", "root", *self.args]

    def answers(self) -> bool:
        return self.converse(b"version\r\n").startswith(b"VERSION")

    def get(self, key: str) -> bytes | None:
        """An item's value."""
        head, _, rest = self.converse(b"get %b\r\n" % key.encode(), b"END\r\n").partition(b"\r\n")
        return rest[: int(head.split()[3])] if head.startswith(b"VALUE") else None

    def set(self, key: str, value: bytes) -> None:
        """Put an item."""
        question = b"set %b 0 0 %d\r\n%b\r\n" % (key.encode(), len(value), value)
        assert self.converse(question) == b"STORED\r\n"


class Redis(Daemon):
    """redis-server in memory alone, nothing in it; ``socket`` is its unix socket."""

    name = "redis"

    @property
    def socket(self) -> str:
        """Its unix socket's path."""
        return str(self.directory / "redis.sock")

    def argv(self) -> list[str]:
        fixed = ["--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", self.socket]
        memory = ["--save", "", "--appendonly", "no", "--dir", str(self.directory), "--daemonize", "no"]
        return [program("redis-server"), *fixed, *memory, *self.args]

    def answers(self) -> bool:
        return self.converse(b"PING\r\n") in (b"+PONG\r\n", b"-NOAUTH Authentication required.\r\n")

    def command(self, *words: bytes | str) -> bytes:
        """One command; the answer as it is on the wire, of commands that answer with one line or one string."""
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        question = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock, sock.makefile("rwb") as stream:
            stream.write(question)
            stream.flush()
            line = stream.readline()
            if line.startswith(b"$") and line != b"$-1\r\n":
                line += stream.read(int(line[1:]) + 2)
            return line

    def get(self, key: str) -> bytes | None:
        """A string."""
        answer = self.command("GET", key)
        return None if answer == b"$-1\r\n" else answer.partition(b"\r\n")[2][:-2]

    def set(self, key: str, value: bytes) -> None:
        """Put a string."""
        assert self.command("SET", key, value) == b"+OK\r\n"


class Nx27017(Daemon):
    """A server that speaks MongoDB's protocol and keeps all in memory (NX-27017 on SQLite); not MongoDB itself."""

    name = "nx27017"

    def options(self) -> list[str]:
        """(It may run once for each file of its pid.)"""
        return ["--db", "memory", "-p", str(self.port), "--pid-file", str(self.directory / "nx27017.pid")]

    def argv(self) -> list[str]:
        return [sys.executable, "-c", "from nx_27017 import main; main()", *self.options()]

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 5):
            return True

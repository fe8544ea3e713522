"""A scripted Emperor: the command socket of uWSGI 2.1 (a datagram socket), and what is done for each command.

No uWSGI that is packaged today has ``emperor-command-socket``, so its side of the protocol is played here: a command is
a uwsgi packet whose header counts for nothing, with the variables ``cmd`` and ``vassal``.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests.servers.process import wait_until
from tests.servers.wire import unpack, where


class Emperor:
    """Listens at ``address`` (UDP or unix datagrams); ``spawn(vassal)`` is called in its thread for each command."""

    def __init__(self, address: str = "127.0.0.1:0", spawn: Callable[[str], None] = lambda vassal: None) -> None:
        family, sockaddr = where(address)
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        self._sock.bind(sockaddr)
        self.address = "{}:{}".format(*self._sock.getsockname()) if family == socket.AF_INET else address
        self.spawned: list[str] = []
        """The vassals that it was told to start, in order."""
        self._spawn = spawn
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._serve, name=f"emperor {self.address}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            command = self._sock.recv(4096)
            if not command:
                return
            try:
                variables = dict(unpack(command[4:]))
                assert variables[b"cmd"] == b"spawn", variables
                vassal = variables[b"vassal"].decode()
                self.spawned.append(vassal)
                self._spawn(vassal)
            except BaseException as error:  # noqa: BLE001 (raised again by stop(), in the test's own thread)
                self._errors.append(error)

    def wait_for(self, count: int, deadline: float = 5.0) -> list[str]:
        """Wait until it was told so many times; the vassals."""
        wait_until(lambda: len(self.spawned) >= count, deadline, f"{count} commands, not {self.spawned}")
        return self.spawned

    def stop(self) -> None:
        """Close it, and raise what went wrong."""
        with socket.socket(self._sock.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._sock.getsockname())
        self._thread.join(10)
        assert not self._thread.is_alive(), "starting a vassal does not end"
        self._sock.close()
        if self.address.startswith("/"):
            Path(self.address).unlink(missing_ok=True)
        if self._errors:
            raise AssertionError("the scripted Emperor failed") from self._errors[0]

    def __enter__(self) -> Emperor:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

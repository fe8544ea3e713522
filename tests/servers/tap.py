"""A tap: datagram sockets that keep whatever is sent to them, for tests that look at the very bytes."""

from __future__ import annotations

import selectors
import socket
import threading
from pathlib import Path
from types import TracebackType

from tests.servers.process import wait_until
from tests.servers.wire import unpack, where


class Tap:
    """Listens at ``addresses`` (UDP or unix datagrams). ``datagrams`` are all that came, in order.

    A thread reads them, since a unix socket holds ten of them and uWSGI drops what does not fit.
    """

    def __init__(self, *addresses: str) -> None:
        self.datagrams: list[bytes] = []
        self.addresses: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        for address in addresses or ("127.0.0.1:0",):
            family, sockaddr = where(address)
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.bind(sockaddr)
            self._sockets.append(sock)
            self._selector.register(sock, selectors.EVENT_READ)
            self.addresses.append("{}:{}".format(*sock.getsockname()) if family == socket.AF_INET else address)
        self._wake, waking = socket.socketpair()
        self._sockets += [self._wake, waking]
        self._waking = waking
        self._selector.register(waking, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read, name=f"tap {self.addresses}", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The first address."""
        return self.addresses[0]

    def _read(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._waking:
                    return
                assert isinstance(key.fileobj, socket.socket)
                self.datagrams.append(key.fileobj.recv(65536))

    def of(self, key: str, command: int | None = None) -> list[bytes]:
        """The announcements of a key (those that come: ``command`` 0, those that go: 1)."""
        wanted = (b"key", key.encode())
        return [data for data in list(self.datagrams) if wanted in unpack(data[4:]) and command in (None, data[3])]

    def wait_for(self, key: str, count: int = 1, command: int | None = None, deadline: float = 15.0) -> list[bytes]:
        """Wait until there are so many of them."""
        wait_until(lambda: len(self.of(key, command)) >= count, deadline, f"{count} announcements of {key}")
        return self.of(key, command)

    def stop(self) -> None:
        """Listen no more."""
        self._wake.send(b"x")
        self._thread.join(10)
        assert not self._thread.is_alive(), "the tap does not stop"
        self._selector.close()
        for sock in self._sockets:
            sock.close()
        for address in self.addresses:
            if address.startswith("/"):
                Path(address).unlink(missing_ok=True)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

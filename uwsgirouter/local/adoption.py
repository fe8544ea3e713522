"""A connection from the router that may carry the client's: the node's side of descriptor passing.

One idea: an object that an application server takes for its connection. It reads the request from the router, and
writes the response to the client itself when the router passed the client's descriptor, else to the router. It knows
nothing of gunicorn, and it looks for a descriptor only at the first read, so whatever limits that read limits it too.

The rules (docs/descriptor-passing.md): the router learns of the adoption by the end of our direction without a byte;
the request's last byte stays in the kernel until the response is complete, so that dying, or failing, resets the
router's connection instead of ending it. Invariants: the descriptor's flags are the router's as well and are never
changed; every descriptor that came is closed exactly once, and the client's before the last byte is read.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from _socket import socket as RawSocket
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any, BinaryIO

from uwsgirouter.errors import ProtocolError
from uwsgirouter.local.descriptors import CONTROL, UnusableDescriptor, claim
from uwsgirouter.protocol.packet import HEADER_SIZE, decode_header, scan

__all__ = ["AdoptingSocket", "Stage"]

SENDFILE_MOST = 1 << 30
"""Bytes of one sendfile(2); some kernels take no more than 2 GB."""

_PEEK = socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC
_SEND = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_NO_SENDFILE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))


class Stage(Enum):
    """Whose connection it is."""

    NEW = "nothing was read: a descriptor may come"
    PLAIN = "no descriptor came: the router relays the response"
    ADOPTED = "the response goes to the client"
    BROKEN = "the response cannot be completed"
    CLOSED = "closed"


class AdoptingSocket:
    """The accepted connection ``router``, or the client's once its descriptor came with the request.

    ``patience``: seconds that the client may take no byte, or the router send none; None: for ever. ``warn`` is given a
    line of text when a descriptor is of no use. Methods raise OSError as a socket's do.
    """

    def __init__(self, router: socket.socket, patience: float | None, warn: Callable[[str], object]) -> None:
        self._router = router
        self._patience = patience
        self._warn = warn
        self._client: RawSocket | None = None
        self._packet = b""
        """What was read of the packet and not handed on yet."""
        self._unread = 0
        """Bytes of the request that the kernel still holds; at least its last one."""
        self._last_shown = False
        """The last byte was handed on all the same, by peeking."""
        self._sent = 0
        self.stage = Stage.NEW

    @property
    def begun(self) -> bool:
        """Response bytes went to the client."""
        return self._sent > 0

    @property
    def plain(self) -> socket.socket | None:
        """The router's connection when no descriptor came with the request."""
        return self._router if self.stage is Stage.PLAIN else None

    # -- reading ------------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Bytes of the request; empty at its end."""
        if self.stage is Stage.NEW:
            self._look()
        if self.stage is Stage.PLAIN:
            return self._router.recv(size, flags)
        if self.stage is Stage.CLOSED:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if flags:
            raise OSError(errno.EOPNOTSUPP, "reading with flags from an adopted connection")
        if self._packet:
            data, self._packet = self._packet[:size], self._packet[size:]
            return data
        return self._receive_body(size)

    def _receive_body(self, size: int) -> bytes:
        if self._unread > 1:
            data = self._router.recv(min(size, self._unread - 1))
            self._unread -= len(data)
        elif self._last_shown or not size:
            return b""
        else:
            data = self._router.recv(1, socket.MSG_PEEK)
            self._last_shown = True
        if not data and size:
            raise ConnectionResetError(errno.ECONNRESET, "the router's connection ended inside the body")
        return data

    def _look(self) -> None:
        """Wait for the first byte and see what came with it. It is only peeked at: every byte is still to be read."""
        _, control, flags, _ = self._router.recvmsg(1, CONTROL, _PEEK)
        self.stage = Stage.PLAIN
        try:
            client = claim(control, bool(flags & socket.MSG_CTRUNC))
        except UnusableDescriptor as error:
            self._warn(f"{error} came with a request in the place of its client's connection: the router has to relay")
            return
        if client is not None:
            try:
                self._adopt(client)
            except BaseException:
                client.close()
                raise

    def _adopt(self, client: RawSocket) -> None:
        """Read the packet, all but the request's last byte, and tell the router."""
        router = self._router
        router.settimeout(self._patience)
        # Reading three bytes first: the fourth is the last one of a packet without variables.
        packet = self._exactly(HEADER_SIZE - 1)
        packet += self._exactly(decode_header(packet + b"\0")[1])
        packet += self._some(1, socket.MSG_PEEK)
        length = _body_length(packet)
        if length:
            self._exactly(1)
        self._packet, self._unread, self._last_shown = packet, length or 1, not length
        router.shutdown(socket.SHUT_WR)
        self._client = client
        self.stage = Stage.ADOPTED

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self._some(size - len(data))
        return data

    def _some(self, size: int, flags: int = 0) -> bytes:
        data = self._router.recv(size, flags)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the router's connection ended inside the packet")
        return data

    # -- writing ------------------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        """How many bytes were taken, at least one."""
        if self._is_the_routers:
            return self._router.send(data, flags)
        return self._write(lambda client: client.send(data, flags | _SEND))

    def sendall(self, data: Any, flags: int = 0) -> None:
        """All of it; the patience counts anew with each part that is taken."""
        if self._is_the_routers:
            self._router.sendall(data, flags)
            return
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self.send(rest, flags) :]

    def sendmsg(self, buffers: Iterable[Any], ancdata: Any = (), flags: int = 0) -> int:
        """How many bytes of the buffers were taken."""
        if self._is_the_routers:
            return self._router.sendmsg(buffers, ancdata, flags)
        parts = list(buffers)
        return self._write(lambda client: client.sendmsg(parts, ancdata, flags | _SEND))

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:
        """How many bytes of the file were sent: ``count``, or as many as there are after ``offset``."""
        if self._is_the_routers:
            return self._router.sendfile(file, offset, count)
        total = 0
        while count is None or total < count:
            most = SENDFILE_MOST if count is None else min(SENDFILE_MOST, count - total)
            moved = self._write(partial(_send_part, file.fileno(), offset + total, most))
            if not moved:
                break
            total += moved
        return total

    def _write(self, call: Callable[[RawSocket], int]) -> int:
        """Make the call, again whenever the client has room. What fails here once cannot be completed."""
        client = self._client
        if client is None or self.stage is not Stage.ADOPTED:
            raise BrokenPipeError(errno.EPIPE, "the response was broken off")
        try:
            while True:
                try:
                    count = call(client)
                except BlockingIOError:
                    self._wait_for_room(client)
                else:
                    self._sent += count
                    return count
        except BaseException:
            self.stage = Stage.BROKEN
            raise

    def _wait_for_room(self, client: RawSocket) -> None:
        """Poll, because the descriptor does not block and must not be made to. (Looked up here: gevent replaces it.)"""
        poll = select.poll()
        poll.register(client.fileno(), select.POLLOUT)
        if not poll.poll(None if self._patience is None else self._patience * 1000):
            raise TimeoutError(errno.ETIMEDOUT, f"the client took nothing for {self._patience:g} s")

    @property
    def _is_the_routers(self) -> bool:
        """No descriptor came, so far or at all."""
        return self.stage is Stage.NEW or self.stage is Stage.PLAIN

    # -- ends ---------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The response is complete: leave the client to the router. Does nothing when it is not, or is plain."""
        if self.stage is not Stage.ADOPTED:
            return
        self.stage = Stage.CLOSED
        assert self._client is not None
        self._client.close()
        try:
            while self._unread > 0 and (data := self._router.recv(min(self._unread, 65536))):
                self._unread -= len(data)
        except OSError:
            pass  # the router is gone, and with it everybody who could want to know
        finally:
            self._router.close()

    def fail(self) -> None:
        """The response cannot be completed: nothing more is written to the client."""
        if self.stage is Stage.ADOPTED:
            self.stage = Stage.BROKEN

    def close(self) -> None:
        """Close what is open. Unless the response was finished the router's connection is reset: a byte is unread."""
        self.stage = Stage.CLOSED
        if self._client is not None:
            self._client.close()
        self._router.close()

    def shutdown(self, how: int) -> None:
        """For the router's connection; an adopted one is the router's to end, after the last byte."""
        if self.stage is Stage.CLOSED:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self._is_the_routers:
            self._router.shutdown(how)

    # -- what else is asked of a socket -------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor of the connection that the response goes to; -1 when closed."""
        return self._router.fileno() if self._client is None else self._client.fileno()

    def setblocking(self, flag: bool) -> None:
        """For the router's connection. An adopted one waits for its peers by itself, ``patience`` seconds."""
        if self._is_the_routers:
            self._router.setblocking(flag)

    def settimeout(self, seconds: float | None) -> None:
        """Likewise."""
        if self._is_the_routers:
            self._router.settimeout(seconds)

    def gettimeout(self) -> float | None:
        """Seconds a read or write may take."""
        return self._router.gettimeout() if self._is_the_routers else self._patience

    def getpeername(self) -> Any:
        """The address of who is at the other end."""
        return (self._client or self._router).getpeername()

    def getsockname(self) -> Any:
        """The address of this end."""
        return (self._client or self._router).getsockname()


def _body_length(packet: bytes) -> int:
    """Bytes of body behind the packet. What cannot be read has none; the parser will say what is wrong with it."""
    try:
        return max(scan(packet, len(packet))[1], 0)
    except ProtocolError:
        return 0


def _send_part(file: int, offset: int, count: int, client: RawSocket) -> int:
    """Bytes of the file that were taken, 0 at its end."""
    try:
        return os.sendfile(client.fileno(), file, offset, count)
    except OSError as error:
        if error.errno not in _NO_SENDFILE:
            raise
    return client.send(os.pread(file, min(count, 65536), offset), _SEND)

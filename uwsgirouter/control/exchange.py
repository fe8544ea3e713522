"""One request over one connection: send and read at the same time.

One idea: the answer may come while the body is still going out, and a node that has answered need not take
the rest, so both directions run from one poll loop. It knows sockets and time, not uwsgi: the packet is
bytes to it, the body a file, the response is judged by :class:`~uwsgirouter.control.response.Response`. At
most 256 KiB of body are held.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import BinaryIO

from uwsgirouter.control.base import Exit, Failure
from uwsgirouter.control.response import Response

BLOCK = 1 << 18


class Exchange:
    """Send ``packet`` and ``body``, read the response; ``write`` is given the body as it comes.

    ``on_head`` is called once per feed that ended a head, before the body bytes behind it are written.
    ``timeout`` is seconds without a byte in either direction.
    """

    def __init__(
        self,
        connection: socket.socket,
        packet: bytes,
        body: BinaryIO | None,
        response: Response,
        write: Callable[[bytes], None],
        timeout: float,
    ) -> None:
        self._connection = connection
        self._unsent = memoryview(packet)
        self._body = body
        self._response = response
        self._write = write
        self._timeout = timeout
        self._sent = 0
        self._sending = True

    def run(self) -> None:
        """Until the response is whole. Raises :class:`Failure` with the code of what went wrong."""
        self._connection.setblocking(False)
        poll = select.poll()
        poll.register(self._connection, select.POLLIN | select.POLLOUT)
        while not self._response.complete:
            if not self._sending:
                poll.modify(self._connection, select.POLLIN)
            events = poll.poll(self._timeout * 1000)
            if not events:
                raise Failure(Exit.TIMEOUT, f"nothing for {self._timeout:g} s: {self._progress()}")
            ready = events[0][1]
            if ready & ~select.POLLOUT and self._receive():
                continue  # the answer first: it may make the rest of the body pointless
            if self._sending and ready & select.POLLOUT:
                self._send()

    def _receive(self) -> bool:
        """Read once; true when bytes came (or the end)."""
        try:
            data = self._connection.recv(BLOCK)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Failure(Exit.RESET, f"{error.strerror}: {self._progress()}") from None
        if data:
            self._write(self._response.feed(data))
        else:
            self._response.end()
        return True

    def _send(self) -> None:
        if not self._unsent and not self._refill():
            self._sending = False
            return
        try:
            size = self._connection.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            # The node takes no more. Its answer may be waiting; if none is, the read tells what happened.
            self._sending = False
            return
        self._sent += size
        self._unsent = self._unsent[size:]

    def _refill(self) -> bool:
        self._unsent = memoryview(self._body.read(BLOCK) if self._body is not None else b"")
        return bool(self._unsent)

    def _progress(self) -> str:
        if self._response.part.name == "HEAD" and self._response.progress().startswith("0 "):
            return f"{self._sent} bytes sent, no answer"
        return f"{self._sent} bytes sent, {self._response.progress()}"

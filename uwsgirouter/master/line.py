"""An attendant's end of the channel to its master.

One idea: a process that works for the master has one descriptor through which it says that it is ready, tells what it
found, and learns that the master is gone (its end of file). It runs in the attendant, so its sends may wait. It knows
nothing of what is told. Messages are those of protocol/messages.py; ``ready`` and ``log`` are its own.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
from collections.abc import Iterable
from typing import NoReturn

from uwsgirouter.errors import ProtocolError
from uwsgirouter.master import process
from uwsgirouter.protocol.messages import Message, MessageReader, encode_message

READ_SIZE = 1 << 16
FIRST_PASSED = 3
"""Number of the first descriptor that an executed program gets beside the standard ones."""


class Line:
    """The channel, seen from the attendant."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = MessageReader()
        self.log_moved = False
        """The master has opened its log again; set here, and taken back by whoever wants to know."""

    def fileno(self) -> int:
        """For a poll of one's own: readable means that :meth:`hear` will not wait."""
        return self.sock.fileno()

    def ready(self) -> None:
        """Tell the master that all that must be done before others start is done. Raises OSError without a master."""
        self.tell("ready")

    def tell(self, *items: object) -> None:
        """Send one message; waits while the master is busy. Raises OSError when there is no master."""
        self.sock.sendall(encode_message(*items))

    def hear(self, seconds: float | None) -> list[Message] | None:
        """What the master said within ``seconds`` (None: however long it takes); None when it is gone."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(None if seconds is None else max(0, round(seconds * 1000))):
            return []
        try:
            data, descriptors, _, _ = socket.recv_fds(self.sock, READ_SIZE, 1)
            messages = self._reader.feed(data)
        except (OSError, ProtocolError):
            return None
        if not data:
            return None
        for descriptor in descriptors:
            process.redirect_log(descriptor)
            self.log_moved = True
        return [message for message in messages if message[0] != "log"]

    def keep(self) -> None:
        """Wait, doing nothing, until the master is gone."""
        while self.hear(None) is not None:
            pass

    def close(self) -> None:
        """Let go: the master sees the end."""
        self.sock.close()


def execute(argv: list[str], environment: dict[str, str], descriptors: Iterable[int]) -> NoReturn:
    """Become another program, with these descriptors open in it from 3 on. Raises OSError when that cannot be."""
    wanted = list(descriptors)
    beyond = FIRST_PASSED + len(wanted)
    for number, copy in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, beyond) for fd in wanted], FIRST_PASSED):
        os.dup2(copy, number)
    process.follow_parent(signal.SIGTERM)
    os.execve(argv[0], argv, environment)

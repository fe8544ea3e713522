"""An application server as our child: started, signalled, and its end seen; and the door at which it is to answer.

One idea: it leads a process group of its own, so that Ctrl-C in a terminal reaches us alone, who know what comes
first; whoever is left of the group at its end goes with it; and the kernel sends it a TERM when we are killed. It must
not know who is told of the child.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterable, Sequence

from uwsgirouter.control.base import Exit, Failure
from uwsgirouter.settings.address import Address

_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
CONNECT_WITHIN = 1.0
"""Seconds; the child is on this machine."""


class Child:
    """``command`` is run with the signals in ``mask`` blocked. Raises :class:`Failure` when it cannot be started."""

    def __init__(self, command: Sequence[str], mask: Iterable[int]) -> None:
        self.name = command[0]
        parent, libc = os.getpid(), ctypes.CDLL(None)

        def become() -> None:
            os.setpgid(0, 0)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before the kernel was asked
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        # A group in the background that reads the terminal is stopped for it.
        stdin = subprocess.DEVNULL if os.isatty(0) else None
        try:
            # No other thread runs yet, so what runs between fork and exec is safe.
            self._process = subprocess.Popen(command, stdin=stdin, preexec_fn=become)
        except FileNotFoundError as error:
            raise Failure(Exit.NO_COMMAND, f"cannot run {error.filename}: {error.strerror}") from None
        except OSError as error:
            raise Failure(Exit.NOT_RUN, f"cannot run {self.name}: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """Its process; the number of its group, too."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Looks only: its number stays its own until :meth:`bury`."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def signal(self, number: int) -> None:
        """To the child alone: who leads several processes knows what they are to be told.

        One that is stopped (by a debugger, by a shell) goes on: it would never hear that it is to end.
        """
        os.kill(self.pid, number)
        if number in _ENDING:
            os.kill(self.pid, signal.SIGCONT)

    def bury(self) -> int:
        """It has ended: end what it left behind, and give its exit code; a signal that ended it is negative."""
        try:
            os.killpg(self.pid, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left
        return self._process.wait()

    def kill(self) -> None:
        """At once, with its group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


class Door:
    """Where the child is to answer.

    That somebody can connect says little: gunicorn listens before it loads the application. So a connection is made
    that says nothing and is closed for writing; who takes it closes it, and that is the sign.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._waiting: socket.socket | None = None

    @property
    def is_connected(self) -> bool:
        """Somebody listens, and has not taken our connection yet."""
        return self._waiting is not None

    def answers(self) -> bool:
        """Whether somebody has taken our connection by now. One look; asked again and again."""
        try:
            if self._waiting is None:
                self._waiting = self._connect()
                self._waiting.shutdown(socket.SHUT_WR)
            poll = select.poll()
            poll.register(self._waiting, select.POLLIN)
            if not poll.poll(0):
                return False
            self._waiting.recv(1)
        except OSError:  # refused; or the listener was closed with our connection in its queue
            self.close()
            return False
        self.close()
        return True

    def is_open(self) -> bool:
        """Whether nobody refuses a connection. One that takes long to be had is no refusal: it may be busy."""
        try:
            self._connect().close()
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            pass
        return True

    def _connect(self) -> socket.socket:
        if not self.address.is_unix:
            loopback = "::1" if self.address.host == "::" else "127.0.0.1"
            host = loopback if self.address.is_wildcard else self.address.host
            return socket.create_connection((host, self.address.port), CONNECT_WITHIN)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_WITHIN)
            connection.connect(self.address.sockaddr)
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Let go of the connection that waits."""
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

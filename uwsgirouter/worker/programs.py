"""Programs that rules have run in place of a node (CGI): a server of this worker for this worker alone.

One idea: to a session a program is a node. It connects to a socket of its own worker, sends the body and reads an
answer in HTTP, with the timeouts, the back pressure and the ends of any other node; here, in a greenlet for each
connection, that becomes a process with pipes (worker/running.py). It knows no session: a rule leaves its
:class:`Program` here and gets a token, which the session sends first. Invariants: nobody but this process is answered
(the kernel says who connects); a token is good once, and lasts as long as its request.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any
from weakref import WeakValueDictionary

import gevent
from gevent import socket as cooperative
from gevent.lock import BoundedSemaphore

from uwsgirouter.log import Log, Throttle
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.program import Program
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.peers import hung_up
from uwsgirouter.worker.running import Limits, Run

TOKEN = 16
"""Bytes of a token."""
PATIENCE = 10.0
"""Seconds that a request waits for another one's program to end, when there are as many as there may be."""
LINES_PER_SECOND = 10
"""Of what programs write to their standard error, lines that go to the log."""
BACKLOG = 4096
REST = 0.1
"""Seconds before another try when a connection cannot be accepted."""


class Programs:
    """Those of one worker."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._limits = Limits(settings.seconds("cgi-timeout"), settings.number("cgi-output"))
        self._most = settings.number("cgi-processes")
        self._turns = BoundedSemaphore(self._most)
        self._waiting: WeakValueDictionary[bytes, Program] = WeakValueDictionary()
        self._listener: Any = None
        self._accepting: Any = None
        self._address = ""
        self._runs: set[Run] = set()
        self._tell = Throttle(log.say, LINES_PER_SECOND)

    def take(self, program: Program) -> tuple[str, bytes]:
        """The address where it is run, and what is to be sent there first. Raises OSError."""
        if self._listener is None:
            self._listen()
        token = os.urandom(TOKEN)
        self._waiting[token] = program
        return self._address, token

    def close(self) -> None:
        """The worker leaves: end what still runs."""
        if self._listener is not None:
            self._accepting.kill(block=False)
            self._listener.close()
            self._listener = None
        for run in list(self._runs):
            run.kill()

    def _listen(self) -> None:
        address = f"@uwsgirouter-programs-{os.getpid()}-{os.urandom(8).hex()}"
        listener = cooperative.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(parse_peer(address).sockaddr)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listener, self._address = listener, address
        self._accepting = gevent.spawn(self._accept, listener)

    def _accept(self, listener: Any) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if listener is not self._listener:
                    return
                self._say(f"programs: {error.strerror}")
                gevent.sleep(REST)
                continue
            gevent.spawn(self._serve, connection)

    def _serve(self, connection: Any) -> None:
        try:
            if _is_own(connection):
                self._run(connection)
        except OSError:
            pass  # the session is gone, or ended before it said what it wants
        finally:
            connection.close()

    def _run(self, connection: Any) -> None:
        token = b""
        while len(token) < TOKEN:
            data = connection.recv(TOKEN - len(token))
            if not data:
                return
            token += data
        program = self._waiting.pop(token, None)
        if program is None:
            return
        if not self._turns.acquire(timeout=PATIENCE):
            program.failure = Cause.CGI_BUSY, f"{self._most} programs run already, {program.name} does not"
            return
        try:
            if not hung_up(connection):
                self._run_now(program, connection)
        finally:
            self._turns.release()

    def _run_now(self, program: Program, connection: Any) -> None:
        run = Run(program, connection, self._limits, self._say)
        self._runs.add(run)
        try:
            run.run()
        finally:
            self._runs.discard(run)

    def _say(self, text: str) -> None:
        self._tell(text, time.monotonic())


def _is_own(connection: Any) -> bool:
    """Whether this process is at the other end."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return bool(struct.unpack("3i", peer)[0] == os.getpid())

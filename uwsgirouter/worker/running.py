"""One run of a program: a process in a group of its own, its three pipes, and an answer on a connection.

One idea: a greenlet takes the program's output to the connection, one the body to the program, one its standard error
to the log, each as fast as the reader takes it; whatever ends the run ends the process group. It knows CGI's head
(protocol/cgi.py) and no session. Invariants: the answer's last chunk goes out only for a body that is whole; every
process that was started is reaped, and its group killed before its number can be another's; after :meth:`Run.run` no
descriptor, process or greenlet of it is left.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import gevent
from gevent.event import Event
from gevent.os import nb_read

from uwsgirouter.errors import ProtocolError, RouterError
from uwsgirouter.protocol.answers import Cause
from uwsgirouter.protocol.cgi import LAST_CHUNK, Head, HeadReader, chunk
from uwsgirouter.rules.program import Program
from uwsgirouter.worker.peers import hung_up

READ = 65536
LINE_MOST = 512
"""Bytes of a line of standard error in the log."""
KILL_AFTER = 1.0
"""Seconds between a request to end (SIGTERM) and the end (SIGKILL), and those that the rest of a group has when the
program itself has ended."""
SETTLE = 0.25
"""Seconds in which a program that has closed its output most often ends; then it is known how."""
LOOK = 0.25
"""Seconds between two looks whether the client, which has ended its own direction, is still there."""
GONE_AFTER = 3.0
"""Seconds without output after which a client that has ended its direction is taken for gone."""
BREATH = 0.01
"""Seconds of rest after each :data:`READ` bytes of standard error."""

_SHELL = b"/bin/sh"
_LAUNCH = b'cd -- "$0" && unset OLDPWD && exec "$@"'
_DEFAULT = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
"""Signals that a worker ignores or handles, and a program should not."""
_SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN))


class Limits(NamedTuple):
    """``time`` in seconds for the whole run, ``output`` in bytes of body (0: no limit)."""

    time: float
    output: int


class RunFailed(RouterError):
    """No answer, or no whole one."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


class Run:
    """See the module. ``say`` gets lines for the log."""

    def __init__(self, program: Program, connection: Any, limits: Limits, say: Callable[[str], None]) -> None:
        self._program = program
        self._connection = connection
        self._limits = limits
        self._say = say
        self._pid = 0
        self._over = Event()
        """The program itself has ended; it is a zombie until its group is killed."""
        self._turn = Event()
        """The answer is out, or cannot be, or nobody wants it."""
        self._is_gone = False
        self._is_answered = False
        self._moved = 0.0
        """Monotonic time of the last output."""
        self._watcher: Any = None
        self._grace: Any = None
        self._pidfd = -1
        self._pipes: list[int] = []
        """Our ends that are open: standard input, output and error."""

    def run(self) -> None:
        """Run it to its end. What went wrong is in ``program.failure`` before the connection is closed."""
        until = time.monotonic() + self._limits.time
        try:
            stdin, stdout, stderr = self._spawn()
        except RunFailed as error:
            self._fail(error)
            return
        greenlets = [gevent.spawn(self._feed, stdin), gevent.spawn(self._answer, stdout)]
        errors = gevent.spawn(self._read_errors, stderr)
        if not self._turn.wait(self._limits.time) and self._program.failure is None:
            self._fail(RunFailed(Cause.CGI_TIMEOUT, f"it ran for {self._limits.time:g} seconds"))
        gevent.killall(greenlets)
        self._connection.close()
        if self._is_answered:
            self._live_on(stdout, until)
        self._end(errors)

    def _fail(self, error: RunFailed) -> None:
        self._program.failure = error.cause, f"{self._program.name}: {error}"

    def _live_on(self, stdout: int, until: float) -> None:
        """The answer is out; the program may go on until its time is over."""
        draining = gevent.spawn(self._drain, stdout)
        self._over.wait(max(0.0, until - time.monotonic()))
        gevent.killall([draining])

    def kill(self) -> None:
        """End the whole group, now."""
        if self._pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    # -- its beginning and its end -----------------------------------------------------------------------------------

    def _spawn(self) -> list[int]:
        """Start it; our ends of its standard input, output and error."""
        program = self._program
        theirs: list[int] = []
        command: list[bytes] = [_SHELL, b"-c", _LAUNCH, program.directory, *program.arguments]
        try:
            for index in range(3):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                own, other = (writer, reader) if index == 0 else (reader, writer)
                self._pipes.append(own)
                theirs.append(other)
                os.set_blocking(own, False)
            self._pid = os.posix_spawn(
                _SHELL,
                command,
                program.environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(theirs)],
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT,
            )
        except OSError as error:
            self._close_all()
            cause = Cause.OVERLOAD if error.errno in _SCARCE else Cause.CGI_FAILED
            raise RunFailed(cause, f"it cannot be started: {error.strerror}") from None
        finally:
            for end in theirs:
                os.close(end)
        self._watch()
        return list(self._pipes)

    def _watch(self) -> None:
        loop = gevent.get_hub().loop
        self._grace = loop.timer(KILL_AFTER)
        try:
            self._pidfd = os.pidfd_open(self._pid)
            self._watcher = loop.io(self._pidfd, 1)
        except OSError:  # an old kernel, or no descriptor left
            self._watcher = loop.timer(0.02, 0.02)
        self._watcher.start(self._look)

    def _look(self) -> None:
        """Whether it has ended, without reaping it: its number stays its own."""
        try:
            ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # a script of the operator's waits for children of its own, and got this one
            ended = True
        if ended:
            self._watcher.stop()
            self._over.set()
            self._grace.start(self.kill)

    def _end(self, errors: Any) -> None:
        """The program and its group end now, if they have not."""
        if not self._over.is_set():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGTERM)
            self._over.wait(KILL_AFTER)
        self.kill()
        self._over.wait()
        gevent.killall([errors])
        self._close_all()
        for watcher in (self._watcher, self._grace):
            watcher.stop()
            watcher.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        pid, self._pid = self._pid, 0
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def _close(self, end: int) -> None:
        if end in self._pipes:
            self._pipes.remove(end)
            os.close(end)

    def _close_all(self) -> None:
        for end in list(self._pipes):
            self._close(end)

    # -- its output --------------------------------------------------------------------------------------------------

    def _answer(self, stdout: int) -> None:
        """Send what it writes."""
        try:
            self._send(stdout)
            self._is_answered = True
        except RunFailed as error:
            self._fail(error)
        except OSError:
            self._is_gone = True
        self._turn.set()

    def _send(self, stdout: int) -> None:
        """Raises :class:`RunFailed` when there is no answer, or no whole one; OSError when nobody wants it."""
        reader = HeadReader()
        head = None
        while head is None:
            data = nb_read(stdout, READ)
            if not data:
                raise RunFailed(Cause.CGI_FAILED, f"it {self._fate()} without an answer")
            try:
                head = reader.feed(data)
            except ProtocolError as error:
                raise RunFailed(Cause.CGI_FAILED, str(error)) from None
        self._connection.sendall(head.encode())
        self._send_body(stdout, head, reader.rest)
        self._connection.sendall(LAST_CHUNK)

    def _send_body(self, stdout: int, head: Head, data: bytes) -> None:
        """Up to the length that the head says, or to the end of the output."""
        size, length, most = 0, head.length, self._limits.output
        is_wanted = self._program.environment.get(b"REQUEST_METHOD") != b"HEAD"
        while True:
            if length is not None:
                data = data[: length - size]
            size += len(data)
            if most and size > most:
                raise RunFailed(Cause.CGI_FAILED, f"it wrote more than cgi-output = {most} bytes")
            if data and is_wanted:
                self._connection.sendall(chunk(data))
                self._moved = time.monotonic()
                gevent.sleep(0)
            if size == length:
                return
            data = nb_read(stdout, READ)
            if not data:
                break
        if length is not None and is_wanted:
            raise RunFailed(Cause.CGI_FAILED, f"it said {length} bytes and wrote {size}")
        if self._was_killed():
            raise RunFailed(Cause.CGI_FAILED, f"it {self._fate()} in the middle of its answer")

    def _drain(self, stdout: int) -> None:
        while nb_read(stdout, READ):
            gevent.sleep(BREATH)

    def _was_killed(self) -> bool:
        """Whether a signal ended it: what it wrote may be half of what it would have."""
        if not self._over.wait(SETTLE):
            return False
        status = self._status()
        return status is not None and status.si_code != os.CLD_EXITED

    def _fate(self) -> str:
        """What became of it, for the log."""
        if not self._over.wait(SETTLE):
            return "closed its output"
        status = self._status()
        if status is None:
            return "ended"
        if status.si_code == os.CLD_EXITED:
            return f"ended with status {status.si_status}"
        return f"was killed by signal {status.si_status}"

    def _status(self) -> Any:
        try:
            return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None

    # -- its input and its errors ------------------------------------------------------------------------------------

    def _feed(self, stdin: int) -> None:
        """The request's body, and then the client's end, if it comes."""
        left = self._program.length
        try:
            while left > 0 and (data := self._connection.recv(min(READ, left))):
                left -= len(data)
                if not self._write(stdin, data):
                    break
            self._close(stdin)
            while self._connection.recv(READ):
                pass  # the rest is thrown away
            self._wait_for_the_client()
        except OSError:
            pass
        self._is_gone = True
        self._turn.set()

    def _wait_for_the_client(self) -> None:
        """It has ended its direction: as a rule it is gone, which nobody can tell from one that waits for more."""
        self._moved = time.monotonic()
        while not hung_up(self._connection):
            if time.monotonic() - self._moved > GONE_AFTER:
                self._fail(
                    RunFailed(Cause.CGI_TIMEOUT, f"its client has ended, and it said nothing for {GONE_AFTER:g} s")
                )
                return
            gevent.sleep(LOOK)

    def _write(self, stdin: int, data: bytes) -> bool:
        """Whether it takes its input. Raises OSError when the client is gone meanwhile."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(stdin, view) :]
            except BlockingIOError:
                self._wait_to_write(stdin)
            except OSError:
                return False  # it has closed it
        return True

    def _wait_to_write(self, stdin: int) -> None:
        hub = gevent.get_hub()
        watcher = hub.loop.io(stdin, 2)
        try:
            with gevent.Timeout(LOOK, False):
                hub.wait(watcher)
        finally:
            watcher.stop()
            watcher.close()
        if hung_up(self._connection):
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _read_errors(self, stderr: int) -> None:
        """To the log, line by line."""
        held = b""
        try:
            while data := nb_read(stderr, READ):
                *lines, held = (held + data).split(b"\n")
                for line in lines:
                    self._complain(line)
                if len(held) > LINE_MOST:
                    self._complain(held)
                    held = b""
                if len(data) == READ:
                    gevent.sleep(BREATH)
        finally:
            self._complain(held)

    def _complain(self, line: bytes) -> None:
        if line.strip():
            text = line[:LINE_MOST].decode("utf-8", "backslashreplace").rstrip("\r")
            self._say(f"{self._program.name}: {text}")

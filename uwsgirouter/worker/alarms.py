"""Alarms that rules raise: a line of the log, a command, a signal, a datagram.

One idea: raising one never waits. A command gets the text on its standard input (it is in the pipe before the
command runs) and its own process group; there are :data:`COMMANDS_MOST` at once, and one that lasts is killed. The
same text is told once in ``alarm-freq`` seconds.
Invariant: every command that was started is reaped, or killed with this process's end.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from uwsgirouter.log import Log, Throttle
from uwsgirouter.settings.alarming import AlarmKind, AlarmSpec, alarms
from uwsgirouter.settings.settings import Settings

COMMANDS_MOST = 4
"""Commands of one worker that run at once; an alarm that comes then is told in the log only."""
COMMAND_TIME = 60.0
"""Seconds that a command may take."""
_SHELL = "/bin/sh"
_DEFAULT = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""Signals that a worker ignores or handles, and a command should not."""


class Alarms:
    """The alarms of one worker. ``raise_signal(number)`` raises a signal for the scripts."""

    def __init__(self, settings: Settings, log: Log, raise_signal: Callable[[int], None]) -> None:
        self._specs = alarms(settings)
        self._pause = settings.seconds("alarm-freq")
        self._most = settings.number("alarm-msg-size")
        self._log = log
        self._say = Throttle(log.say, 1)
        self._signal = raise_signal
        self._last: dict[str, tuple[bytes, float]] = {}
        self._commands: dict[int, float] = {}
        """Process to the monotonic time at which it is killed."""
        self._socket: dict[socket.AddressFamily, socket.socket] = {}
        self._ways: dict[AlarmKind, Callable[[AlarmSpec, bytes], None]] = {
            AlarmKind.LOG: self._to_log,
            AlarmKind.COMMAND: self._to_command,
            AlarmKind.SIGNAL: self._to_signal,
            AlarmKind.UDP: self._to_address,
        }
        self._addresses = {spec.name: _resolved(spec) for spec in self._specs.values() if spec.address is not None}

    def tell(self, name: str, text: bytes, now: float | None = None) -> None:
        """Raise the alarm of that name; without one, the log says so. ``now`` is monotonic seconds. Does not wait."""
        now = time.monotonic() if now is None else now
        spec = self._specs.get(name)
        if spec is None:
            self._say(f"a rule raises the alarm {name!r}, which is not configured", now)
            return
        text = text[: self._most]
        last, when = self._last.get(name, (b"", -self._pause))
        if last == text and now - when < self._pause:
            return
        self._last[name] = (text, now)
        try:
            self._ways[spec.kind](spec, text)
        except OSError as error:
            self._say(f"alarm {name}: {error}", now)

    def tick(self, now: float | None = None) -> None:
        """Called every second: reap commands that ended, kill those that last."""
        now = time.monotonic() if now is None else now
        for pid, until in list(self._commands.items()):
            if not self._reap(pid) and now >= until:
                self._say(f"an alarm's command ran over {COMMAND_TIME:.0f} seconds: killed", now)
                _kill(pid)
                self._reap(pid)

    def close(self) -> None:
        """Kill what still runs."""
        for pid in list(self._commands):
            _kill(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._commands = {}
        for sender in self._socket.values():
            sender.close()
        self._socket = {}

    # -- the ways -----------------------------------------------------------------------------------------------------

    def _to_log(self, spec: AlarmSpec, text: bytes) -> None:
        prefix = f"{spec.text} " if spec.text else ""
        self._log.line(f"ALARM: {prefix}{text.decode('utf-8', 'surrogateescape')}")

    def _to_signal(self, spec: AlarmSpec, text: bytes) -> None:
        self._signal(spec.number)

    def _to_address(self, spec: AlarmSpec, text: bytes) -> None:
        family, target = self._addresses[spec.name] or (None, None)
        if family is None:
            raise OSError(f"nobody knew {spec.address.text if spec.address else ''} when the worker started")
        sender = self._socket.get(family)
        if sender is None:
            sender = self._socket[family] = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sender.sendto(text, target or ())

    def _to_command(self, spec: AlarmSpec, text: bytes) -> None:
        self.tick()
        if len(self._commands) >= COMMANDS_MOST:
            raise OSError(f"{COMMANDS_MOST} commands run already, so {spec.text} does not for {text[:200]!r}")
        with _filled(text) as reader:
            pid = os.posix_spawn(
                _SHELL,
                [_SHELL, "-c", spec.text],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)],
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT,
            )
        self._commands[pid] = time.monotonic() + COMMAND_TIME

    def _reap(self, pid: int) -> bool:
        """Whether the command is over."""
        try:
            over = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:  # a script waits for children of its own, and got this one
            over = True
        if over:
            del self._commands[pid]
        return over


@contextmanager
def _filled(text: bytes) -> Iterator[int]:
    """The end of a pipe that has ``text`` in it (a pipe takes 64 KB, an alarm has 32 at most), and then ends."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.write(writer, text)
        os.close(writer)
        writer = -1
        os.set_blocking(reader, True)
        yield reader
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _kill(pid: int) -> None:
    """The command and what it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _resolved(spec: AlarmSpec) -> tuple[socket.AddressFamily, tuple[object, ...]] | None:
    """Looked up once, when the worker starts; None: nobody knows it."""
    assert spec.address is not None
    try:
        found = socket.getaddrinfo(spec.address.host, spec.address.port, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    return found[0][0], found[0][4]

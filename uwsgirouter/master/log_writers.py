"""Where the logger's lines end up: files, sockets, a syslog, the error log.

One idea: whatever a destination does (a full disk, nobody who listens, a file that was renamed), its lines are written
or counted, the operator hears of it now and then, and the next message is tried anew. Nothing here ends the process.
Invariant: a file has whole lines; what a full disk tore is completed before anything else is written.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from typing import Protocol

from uwsgirouter.settings.logging import Kind, Logger

MODE = 0o640
TELL_EACH = 5.0
"""Seconds between two lines about what was lost."""
RETRY_EACH = 1.0
"""Seconds between two attempts to open a destination."""
DATAGRAM_MOST = 65000
SYSLOG_MOST = 8192
"""Bytes of a line that a datagram carries; the rest is cut."""
_INFO = 6
_DAEMON_NOTICE = 29
"""What uWSGI's rsyslog says: the facility daemon, the severity notice."""
_DESCRIPTOR = 2
_END = ord("\n")

Say = Callable[[str], None]


class Writer(Protocol):
    """One destination."""

    def write(self, data: bytes) -> None:
        """Whole lines."""

    def look(self, now: float) -> None:
        """Called about once a second."""

    def reopen(self) -> None:
        """Whoever rotates logs has renamed them."""

    def close(self) -> None:
        """The logger leaves."""


class Losses:
    """Counts lines that did not get anywhere, and tells of them."""

    def __init__(self, label: str, say: Say) -> None:
        self.label = label
        self.lines = 0
        """All of them."""
        self._say = say
        self._told = 0
        self._tell_at = 0.0
        self._why = ""

    def add(self, error: OSError, count: int) -> None:
        """So many lines are lost, because of ``error``."""
        self.lines += count
        self._why = error.strerror or str(error)
        self.tell(time.monotonic())

    def tell(self, now: float) -> None:
        """Say what was lost since it was said last, if that is long enough ago."""
        if self._told < self.lines and now >= self._tell_at:
            self._say(f"access log {self.label}: {self._why}; {self.lines - self._told} lines are lost")
            self._told, self._tell_at = self.lines, now + TELL_EACH

    def end(self) -> None:
        """Say the rest."""
        self._tell_at = 0.0
        self.tell(time.monotonic())


class LogFile:
    """A descriptor that appends to a path. Opening waits for nobody (a FIFO without a reader is an error)."""

    def __init__(self, path: str) -> None:
        """Raises OSError."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self.descriptor = os.open(path, flags, MODE)
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino)
        self.is_regular = stat.S_ISREG(status.st_mode)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


def open_file(path: str, user: int | None, group: int | None) -> LogFile:
    """The same, for whom the process becomes later. Raises OSError."""
    file = LogFile(path)
    if os.geteuid() == 0 and (user is not None or group is not None):
        os.fchown(file.descriptor, -1 if user is None else user, -1 if group is None else group)
    return file


class FileWriter:
    """Appends to ``path``. ``maxsize``: bytes after which it is renamed to ``backup`` (empty: with the time behind it).

    ``follows_name``: when somebody else renamed it, the name is opened again.
    """

    def __init__(self, path: str, maxsize: int, backup: str, follows_name: bool, say: Say) -> None:
        self._path = path
        self._maxsize = maxsize
        self._backup = backup
        self._follows_name = follows_name
        self._say = say
        self.losses = Losses(path, say)
        self._file: LogFile | None = None
        self._rest = b""
        """The rest of a line that a full disk has torn."""
        self._open_at = 0.0
        self._open()

    def write(self, data: bytes) -> None:
        """Append lines."""
        if self._file is None and time.monotonic() >= self._open_at:
            self._open()
        if self._file is None:
            self.losses.lines += data.count(b"\n")
            return
        rest, self._rest = self._rest, b""
        payload = rest + data
        done, error = self._put(self._file.descriptor, payload)
        self._file.size += done
        if error is not None:
            self._keep_torn(payload, done, len(rest), error)
        elif self._maxsize and self._file.size > self._maxsize and self._file.is_regular:
            self._rotate(self._file)

    def _put(self, descriptor: int, payload: bytes) -> tuple[int, OSError | None]:
        """Bytes written, and why not all of them."""
        done = 0
        try:
            while done < len(payload):
                done += os.write(descriptor, payload[done:] if done else payload)
        except OSError as error:
            return done, error
        return done, None

    def _keep_torn(self, payload: bytes, done: int, rest: int, error: OSError) -> None:
        """A line that was begun (now, or before: ``rest`` bytes of it) is ended later; those behind it are lost."""
        is_torn = payload[done - 1] != _END if done else bool(rest)
        end = payload.find(b"\n", done) + 1 if is_torn else done
        self._rest = payload[done:end]
        self.losses.add(error, payload.count(b"\n", end))

    def look(self, now: float) -> None:
        """Tell what was lost; see whether the file still has its name."""
        self.losses.tell(now)
        if self._file is None:
            if now >= self._open_at:
                self._open()
        elif self._follows_name and self._is_renamed(self._file):
            self.reopen()

    def _is_renamed(self, file: LogFile) -> bool:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != file.identity

    def reopen(self) -> None:
        """Open the name again, whatever file it is now; when that cannot be, the old one stays."""
        before = self._file
        self._finish_torn()
        self._open()
        if before is not None and self._file is not before:
            before.close()

    def _finish_torn(self) -> None:
        """Before another file is begun: the torn line has its end where its beginning is, if that can be."""
        if self._file is not None and self._rest:
            self._put(self._file.descriptor, self._rest)
        self._rest = b""

    def _open(self) -> None:
        self._open_at = time.monotonic() + RETRY_EACH
        try:
            self._file = LogFile(self._path)
        except OSError as error:
            old = "; the old file stays" if self._file is not None else ""
            self._say(f"cannot open the access log {self._path}: {error.strerror}{old}")

    def _rotate(self, file: LogFile) -> None:
        """It is large enough. One that another logger (of the generation before) has renamed is only opened again."""
        if self._is_renamed(file):
            self.reopen()
            return
        backup = self._backup or unused(f"{self._path}.{int(time.time())}")
        try:
            os.rename(self._path, backup)
        except OSError as error:
            self._say(f"cannot rename the access log {self._path} to {backup}: {error.strerror}")
            file.size = 0  # it is tried again after as many bytes
            return
        self.reopen()
        self._say(f"access log {self._path}: {file.size} bytes, renamed to {backup}")

    def close(self) -> None:
        """Let go."""
        self.losses.end()
        if self._file is not None:
            self._finish_torn()
            self._file.close()


def unused(path: str) -> str:
    """``path``, or the first of ``path.1``, ``path.2``, ... that is not there."""
    found, number = path, 0
    while os.path.exists(found):
        number += 1
        found = f"{path}.{number}"
    return found


class StdioWriter:
    """The error log: descriptor 2, whatever that is at the moment."""

    def __init__(self, say: Say) -> None:
        self.losses = Losses("stdio", say)

    def write(self, data: bytes) -> None:
        """Append lines."""
        done = 0
        try:
            while done < len(data):
                done += os.write(_DESCRIPTOR, data[done:])
        except OSError as error:
            self.losses.add(error, data.count(b"\n", done))

    def look(self, now: float) -> None:
        """Tell what was lost."""
        self.losses.tell(now)

    def reopen(self) -> None:
        """The master has done it."""

    def close(self) -> None:
        """Nothing of ours."""


class DatagramWriter:
    """A datagram a line, to a unix socket or over UDP; ``frame`` makes it of the line, which has no end."""

    def __init__(self, logger: Logger, frame: Callable[[bytes], bytes], say: Say) -> None:
        self._logger = logger
        self._frame = frame
        self.losses = Losses(logger.label, say)
        self._sock: socket.socket | None = None
        self._target: object = None
        self._open_at = 0.0

    def write(self, data: bytes) -> None:
        """Send lines."""
        lines = data.split(b"\n")[:-1]
        for index, line in enumerate(lines):
            try:
                self._send(line)
            except BlockingIOError as error:
                self.losses.add(error, 1)
            except OSError as error:
                self.losses.add(error, len(lines) - index)
                self._let_go()
                return

    def _send(self, line: bytes) -> None:
        if self._sock is None:
            now = time.monotonic()
            if now < self._open_at:
                raise ConnectionRefusedError(111, "Connection refused")
            self._open_at = now + RETRY_EACH
            self._open()
        assert self._sock is not None
        self._sock.sendto(self._frame(line), self._target)  # type: ignore[call-overload]

    def _open(self) -> None:
        logger = self._logger
        if logger.path:
            self._sock, self._target = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), logger.path
        else:
            found = socket.getaddrinfo(logger.host, logger.port, type=socket.SOCK_DGRAM)
            self._sock, self._target = socket.socket(found[0][0], socket.SOCK_DGRAM), found[0][4]
        self._sock.setblocking(False)

    def _let_go(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def look(self, now: float) -> None:
        """Tell what was lost."""
        self.losses.tell(now)

    def reopen(self) -> None:
        """Whoever listens may have begun anew."""
        self._let_go()

    def close(self) -> None:
        """Let go."""
        self.losses.end()
        self._let_go()


def writer_of(logger: Logger, follows_names: bool, say: Say) -> Writer:
    """What writes to ``logger``."""
    if logger.kind is Kind.FILE:
        return FileWriter(logger.path, logger.maxsize, logger.backup, follows_names, say)
    if logger.kind is Kind.STDIO:
        return StdioWriter(say)
    return DatagramWriter(logger, frame_of(logger), say)


def frame_of(logger: Logger) -> Callable[[bytes], bytes]:
    """How a line becomes a datagram."""
    prefix = logger.prefix.encode("utf-8", "surrogateescape")
    if logger.kind is Kind.SOCKET:
        return lambda line: (prefix + line)[:DATAGRAM_MOST] + b"\n"
    if logger.kind is Kind.SYSLOG:
        priority, name = logger.facility * 8 + _INFO, logger.name
    else:
        priority, name = _DAEMON_NOTICE, logger.name or f"{socket.gethostname()} uwsgirouter"

    def frame(line: bytes) -> bytes:
        head = f"<{priority}>{time.ctime()[4:19]} {name}: "
        return (head.encode("utf-8", "surrogateescape") + line)[:SYSLOG_MOST]

    return frame

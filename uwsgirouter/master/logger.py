"""The logger: the process that writes the access log, so that no worker ever waits for a disk.

One idea: workers send whole lines, many in one message; each message is written as it came. It stays until the last
who can send is gone, whoever else has left: a stop, a reload, or the master's death loses no line. It must not know
what a line says. Invariant: it waits for nothing but its messages and the files it writes to.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Callable, Sequence

from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import process
from uwsgirouter.master.duty import Duty
from uwsgirouter.master.handover import Keep, Rows, inherited_socket
from uwsgirouter.master.line import Line
from uwsgirouter.master.log_writers import Writer, open_file, writer_of
from uwsgirouter.settings.logging import Kind, Logger, is_on, loggers
from uwsgirouter.settings.settings import Settings

NAME = "logger"
SLACK = 5.0
"""Seconds that it gets beside those of the workers' sessions."""
MESSAGE_MOST = 1 << 18
"""Bytes of a message; workers send less."""
SEND_BUFFER = 1 << 20
"""Bytes that the kernel is asked to hold; it may allow less."""
LOOK_EACH = 1.0
"""Seconds between two looks at the files."""
DONE = 0


class LogChannel:
    """Both ends of the way from a generation's workers to its logger: ``writer`` is theirs, ``reader`` the logger's.

    The master keeps both, so that what is under way outlives a logger that was killed.
    """

    def __init__(self, ends: tuple[socket.socket, socket.socket] | None = None) -> None:
        """``ends`` are there already, else they are made. Raises BootError."""
        try:
            self.writer, self.reader = ends or socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise BootError(f"no channel for the access log: {error.strerror}") from error
        if self.writer.fileno() >= 0:  # not in the trial of an upgrade
            self.writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def handed(self, keep: Keep) -> Rows:
        """For the master that takes the place of this one."""
        return {"writer": keep(self.writer.fileno()), "reader": keep(self.reader.fileno())}

    @classmethod
    def inherited(cls, rows: Rows) -> LogChannel:
        """The inverse."""
        return cls((inherited_socket(rows["writer"]), inherited_socket(rows["reader"])))

    def close(self) -> None:
        """The generation is over: the logger leaves when its workers have left."""
        self.writer.close()
        self.reader.close()


def log_channel(settings: Settings, user: int | None, group: int | None) -> LogChannel | None:
    """The channel for the access log that ``settings`` want; None without one. Raises BootError if it cannot be."""
    if not is_on(settings):
        return None
    for logger in loggers(settings):
        if logger.kind is Kind.FILE:
            try:
                open_file(logger.path, user, group).close()
            except OSError as error:
                raise BootError(f"cannot open the access log {logger.path}: {error.strerror}") from error
    return LogChannel()


def logger_duty(settings: Settings, channel: LogChannel) -> Duty:
    """The process of one generation."""
    mercy = settings.seconds("reload-mercy") + SLACK

    def body(line: Line) -> int:
        return write_logs(loggers(settings), settings.flag("log-reopen"), channel.reader, line, Log(NAME), mercy)

    return Duty(NAME, body, outlives=True, mercy=mercy, inherits=(channel.reader,))


def write_logs(
    destinations: Sequence[Logger],
    follows_names: bool,
    reader: socket.socket,
    line: Line,
    log: Log,
    mercy: float,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Write what comes until nobody is left who could send; ``mercy`` seconds when the master is gone."""
    # A stop of the router sends TERM to everybody; and the kernel would kill us with the master.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.follow_parent(0)
    writers = [writer_of(destination, follows_names, log.say) for destination in destinations]
    line.ready()
    watch = select.poll()
    watch.register(reader, select.POLLIN)
    watch.register(line, select.POLLIN)
    deadline, look_at = float("inf"), clock() + LOOK_EACH
    while clock() < deadline:
        ready = [descriptor for descriptor, _ in watch.poll(LOOK_EACH * 1000)]
        if line.fileno() in ready and not _hears(line, writers):
            watch.unregister(line)
            deadline = clock() + mercy
        if reader.fileno() in ready and not _write(reader, writers):
            break
        if clock() >= look_at:
            look_at = clock() + LOOK_EACH
            for writer in writers:
                writer.look(clock())
    for writer in writers:
        writer.close()
    return DONE


def _hears(line: Line, writers: Sequence[Writer]) -> bool:
    """Whether there is a master. Its word about its own log is one about the files here, too."""
    if line.hear(0) is None:
        return False
    if line.log_moved:
        line.log_moved = False
        for writer in writers:
            writer.reopen()
    return True


def _write(reader: socket.socket, writers: Sequence[Writer]) -> bool:
    """Whether anybody is left who can send."""
    try:
        data = reader.recv(MESSAGE_MOST, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    for writer in writers:
        writer.write(data)
    return bool(data)

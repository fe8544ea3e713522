"""The process itself: background, directory, users, limits, pid file, log file.

One idea: each function is one thing that a daemon does to its own process, and raises :class:`BootError` with a
sentence when the machine does not let it. Nothing here knows of workers or sockets.
"""

from __future__ import annotations

# Python and gevent load these when they are first needed, and then the rights to read them may be gone (an interpreter
# in somebody's home): names to resolve at a reload, keys in log lines, the hub of a worker.
import ctypes
import encodings.idna
import encodings.unicode_escape  # noqa: F401
import os
import pprint  # noqa: F401
import resource
import signal
from collections.abc import Iterable

from uwsgirouter.errors import BootError
from uwsgirouter.settings.settings import Settings

LOG_MODE = 0o640

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def set_environment(variables: Iterable[str]) -> None:
    """``env``: each NAME=value for this process and its children."""
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value


def enter_directory(path: str) -> None:
    """``chdir``."""
    if path:
        try:
            os.chdir(path)
        except OSError as error:
            raise BootError(f"chdir {path}: {error.strerror}") from error


def daemonize(path: str) -> None:
    """Go to the background with ``path`` as log: the caller's process ends here with status 0."""
    descriptor = open_log(path)
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    redirect_log(descriptor)


def open_log(path: str) -> int:
    """A descriptor that appends to ``path``."""
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, LOG_MODE)
    except OSError as error:
        raise BootError(f"cannot open the log {path}: {error.strerror}") from error


def redirect_log(descriptor: int) -> None:
    """Let standard output and error go to ``descriptor``, which is closed."""
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if descriptor > 2:
        os.close(descriptor)


def own_log(settings: Settings, user: int | None, group: int | None) -> None:
    """Let the user that we become write the log, so that it can be reopened later."""
    path = log_path(settings)
    if path and os.geteuid() == 0 and (user is not None or group is not None):
        os.chown(path, -1 if user is None else user, -1 if group is None else group)


def log_path(settings: Settings) -> str:
    """Where the log goes: a file, or empty for the standard error that we were given."""
    return settings.text("daemonize") or settings.text("logto")


def limit_descriptors(most: int | None) -> None:
    """``max-fd``: the number of descriptors that each process may open."""
    if most is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, hard)))
    except (OSError, ValueError):
        raise BootError(f"max-fd = {most}: the hard limit is {hard}") from None


def drop_privileges(user: int | None, group: int | None) -> None:
    """Become ``user`` and ``group`` for good; the other groups of the former user are left."""
    try:
        if group is not None:
            if os.geteuid() == 0:
                os.setgroups([])
            os.setgid(group)
        if user is not None:
            if os.geteuid() == 0 and group is None:
                os.setgroups([])
            os.setuid(user)
    except OSError as error:
        raise BootError(f"cannot become uid {user} gid {group}: {error.strerror}") from error


def follow_parent(number: int) -> None:
    """Have the kernel send this process the signal when its parent dies. A change of users undoes it."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)


def write_pid_file(path: str) -> None:
    """``pidfile``: the pid of the master."""
    if not path:
        return
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise BootError(f"pidfile {path}: {error.strerror}") from error


def remove_pid_file(path: str) -> None:
    """Remove the pid file, if it is still ours."""
    try:
        with open(path, encoding="ascii") as file:
            if file.read().strip() != str(os.getpid()):
                return
        os.unlink(path)
    except (FileNotFoundError, PermissionError):
        pass


def reset_signals() -> None:
    """A new process starts without the handlers of its parent."""
    signal.set_wakeup_fd(-1)
    for number in (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCHLD,
        signal.SIGWINCH,
        signal.SIGTTIN,
        signal.SIGTTOU,
    ):
        signal.signal(number, signal.SIG_DFL)

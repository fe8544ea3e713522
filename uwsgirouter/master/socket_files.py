"""The files of unix sockets: those that dead processes left, and one that nobody else may use.

One idea: a socket's file says nothing about whether somebody serves it, so it is asked; and a file is ours only while
it is the one that we made, whatever its name. It knows the kernel's calls, no configuration.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

PRIVATE = 0o600
BACKLOG = 64

Mark = tuple[int, int]
"""Device and inode: which file it is."""


def clear_stale(path: str, kind: socket.SocketKind) -> None:
    """Remove the socket file of a dead process. Raises OSError when somebody serves it, or it is no socket."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EADDRINUSE, f"{path} exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "another process serves it")


def listen_private(path: str, user: int | None, group: int | None) -> tuple[socket.socket, Mark]:
    """A stream socket at ``path`` that only its owner may connect to, and which file that is. Raises OSError.

    ``user`` and ``group``: whose it is to be, when we are root and become somebody else later.
    """
    clear_stale(path, socket.SOCK_STREAM)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o777 & ~PRIVATE)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if os.geteuid() == 0 and (user is not None or group is not None):
            os.chown(path, -1 if user is None else user, -1 if group is None else group)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        found = file_mark(path)
        if found is None:
            raise OSError(errno.ENOENT, "somebody removed it at once")
    except OSError:
        sock.close()
        raise
    return sock, found


def file_mark(path: str) -> Mark | None:
    """Which file is at ``path`` now; None when there is none that can be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove_marked(path: str, wanted: Mark) -> None:
    """Remove ``path`` if it is that very file still. Raises OSError when it cannot be removed."""
    if file_mark(path) == wanted:
        os.unlink(path)

"""Pipes for bulk transfers: the kernel moves pages from socket to socket through them, and no byte is copied here.

One idea: a pump that has moved a lot at full speed borrows a pipe and gives it back empty. It knows splice(2) and
descriptors, nothing of sessions. Invariant: a pipe in the pool is empty; one that is not is closed, never reused.
"""

from __future__ import annotations

import errno
import fcntl
import os

PIPE_BYTES = 1 << 20
"""What is asked of the kernel for a pipe; an unprivileged user may get less."""
POOL_MOST = 8
"""Empty pipes that are kept for the next transfer."""

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK if hasattr(os, "SPLICE_F_MOVE") else 0
_F_SETPIPE_SZ = 1031

AVAILABLE = bool(_FLAGS)
"""Whether this Python has splice(2)."""


class Pipe:
    """One pipe, and how many bytes are in it."""

    __slots__ = ("_reader", "_writer", "held")

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        try:
            fcntl.fcntl(self._writer, _F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # the user's share of pipe pages is used up: the default size works, too

    def fill(self, source: int, most: int) -> int:
        """Move what ``source`` has, at most ``most`` bytes; 0 at its end. Raises BlockingIOError, OSError."""
        count: int = os.splice(source, self._writer, most, flags=_FLAGS)
        self.held += count
        return count

    def empty(self, sink: int) -> None:
        """Move what is held to ``sink``. Raises BlockingIOError when it takes no more, OSError when it is gone."""
        while self.held:
            self.held -= os.splice(self._reader, sink, self.held, flags=_FLAGS)

    def take(self) -> bytes:
        """What is held, as bytes: for a sink that cannot be spliced to."""
        parts = []
        while self.held:
            part = os.read(self._reader, self.held)
            self.held -= len(part)
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Let go, with what is in it."""
        os.close(self._reader)
        os.close(self._writer)


_pool: list[Pipe] = []


def borrow() -> Pipe | None:
    """An empty pipe, or None when there is no splice or no descriptor left."""
    if _pool:
        return _pool.pop()
    if not AVAILABLE:
        return None
    try:
        return Pipe()
    except OSError:
        return None


def give_back(pipe: Pipe) -> None:
    """Keep an empty pipe for the next one; close any other."""
    if pipe.held or len(_pool) >= POOL_MOST:
        pipe.close()
    else:
        _pool.append(pipe)


def unsupported(error: OSError) -> bool:
    """Whether the kernel says that these two cannot be spliced."""
    return error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

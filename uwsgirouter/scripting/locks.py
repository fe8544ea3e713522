"""``uwsgi.lock`` and ``uwsgi.unlock``: one lock for all scripts of a router, in whichever process they run.

One idea: a lock on a file beside the caches is let go by the kernel when its holder dies; within a process a lock of
its own comes first. It waits by looking again, with :func:`time.sleep`, so that in a worker (where sleeping is
gevent's) only the caller waits.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


class UserLock:
    """The lock number 0, the only one. ``path`` is empty when nothing is shared: then it is this process's alone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._inner = threading.Lock()
        self._descriptor = -1

    def lock(self, number: int = 0, /) -> None:
        """Wait until it is ours."""
        self._check(number)
        self._inner.acquire()
        pause = _FIRST_PAUSE
        try:
            while not self._try():
                time.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
        except BaseException:
            self._inner.release()
            raise

    def unlock(self, number: int = 0, /) -> None:
        """Let go of it; without having it, nothing happens."""
        self._check(number)
        if not self._inner.locked():
            return
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._inner.release()

    def is_locked(self, number: int = 0, /) -> bool:
        """Whether anybody has it."""
        self._check(number)
        if self._inner.locked():
            return True
        if not self._path:
            return False
        with self._inner:
            free = self._try()
            self._close()
            return not free

    def _try(self) -> bool:
        if not self._path:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @staticmethod
    def _check(number: int) -> None:
        if number != 0:
            raise ValueError("Invalid lock number")

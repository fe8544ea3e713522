"""The snapshot's file: written as a whole or not at all, by one router, and never a reason not to start.

One idea: the bytes go to a file beside it, to the disk, and then take its name, so that whenever the machine stops the
file is the old one or the new one. A file that cannot be read, or is no snapshot, is a notice and an empty registry; it
is kept under another name before the first new one takes its place. It must not know what the bytes mean
(model/snapshot.py does).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable

from uwsgirouter.model.snapshot import BadSnapshot, Snapshot, decode_snapshot, encode_snapshot

SIZE_MAX = 1 << 28
"""Bytes of a file that is looked at: far more than a registry can need."""
MODE = 0o600
"""It names every node, and no one else has to know them."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What a file system says that has none."""


class InUse(OSError):
    """Another router writes the file."""


def save(path: str, snapshot: Snapshot, aside: bool = False) -> None:
    """Write ``snapshot``. Raises :class:`OSError`; ``path`` is then what it was before.

    ``aside``: what is there now could not be read, and is kept as ``path.bad``.
    """
    beside = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(beside, flags, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode_snapshot(snapshot))
            file.flush()
            os.fsync(file.fileno())
        if aside:
            _put_aside(path)
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _sync_directory(os.path.dirname(path) or ".")


def load(path: str, notice: Callable[[str], None]) -> Snapshot | None:
    """What was kept; None when there is no file (nothing to tell) or when it cannot be used (``notice`` says why)."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            data = file.read(SIZE_MAX + 1)
        if len(data) > SIZE_MAX:
            raise BadSnapshot(f"it has more than {SIZE_MAX} bytes")
        return decode_snapshot(data)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = error.strerror or str(error)
    except BadSnapshot as error:
        why = str(error)
    notice(f"subscription-snapshot = {path}: starting without nodes: {why}")
    return None


def lock(path: str) -> int | None:
    """Keep other routers from writing ``path``: a descriptor to keep open. Raises :class:`OSError`, :class:`InUse`.

    The lock is this process's alone (no child has it) and ends with it. None where the file system has no locks.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, MODE)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        if error.errno in _NO_LOCKS:
            return None
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise InUse(error.errno, f"another router (process {holder}) writes this file") from None
        raise
    return descriptor


def _holder(descriptor: int) -> str:
    """Whose lock it is, as far as the file says so (it may be no file)."""
    try:
        return os.pread(descriptor, 32, 0).strip().decode("ascii", "replace")
    except OSError:
        return "?"


def _open_without_waiting(path: str, flags: int) -> int:
    """A pipe in the place of the file would have us wait."""
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)


def _put_aside(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISREG(os.lstat(path).st_mode):
            os.rename(path, f"{path}.bad")


def _sync_directory(path: str) -> None:
    """Have the new name on the disk, too; what a file system cannot do is not asked twice."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

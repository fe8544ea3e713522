"""The snapshot's file: written as a whole or not at all, and never a reason not to start.

One idea: the bytes go to a file beside it, to the disk, and then take its name, so that whenever the machine stops the
file is the old one or the new one. A file that cannot be read, or is no snapshot, is a notice and an empty registry.
It must not know what the bytes mean (model/snapshot.py does).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from uwsgirouter.model.snapshot import BadSnapshot, Snapshot, decode_snapshot, encode_snapshot

SIZE_MAX = 1 << 28
"""Bytes of a file that is looked at: far more than a registry can need."""
MODE = 0o600
"""It names every node, and no one else has to know them."""


def save(path: str, snapshot: Snapshot) -> None:
    """Write ``snapshot``. Raises :class:`OSError`; ``path`` is then what it was before."""
    beside = f"{path}.{os.getpid()}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(encode_snapshot(snapshot))
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _sync_directory(os.path.dirname(path) or ".")


def load(path: str, notice: Callable[[str], None]) -> Snapshot | None:
    """What was kept; None when there is no file (nothing to tell) or when it cannot be used (``notice`` says why)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would have us wait
        with os.fdopen(descriptor, "rb") as file:
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


def _sync_directory(path: str) -> None:
    """Have the new name on the disk, too; what a file system cannot do is not asked twice."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

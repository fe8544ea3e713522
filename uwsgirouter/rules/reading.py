"""Reading a file that a rule names, whole and bounded.

One idea: what is read is a regular file of no more bytes than the caller takes, so neither a pipe nor a huge file holds
anybody up. A path with ``..`` in it is not opened at all, since what stands before or behind may come from a client.
Reading waits for the disk: it is done aside.
"""

from __future__ import annotations

import errno
import os
import stat

from uwsgirouter.protocol.answers import Cause
from uwsgirouter.rules.arguments import shown
from uwsgirouter.rules.base import Broken

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))


def read_file(path: bytes, most: int) -> tuple[bytes, os.stat_result]:
    """All of a file, and what is known of it. Raises :class:`Broken`: not there, or more than ``most`` bytes."""
    descriptor = _open(path)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise missing(path)
        pieces, size = [], 0
        while data := os.read(descriptor, min(1 << 20, most + 1 - size)):
            pieces.append(data)
            size += len(data)
            if size > most:
                raise Broken(f"{shown(path)} is larger than transformation-buffer = {most}", Cause.ANSWER_TOO_LARGE)
        return b"".join(pieces), about
    except OSError as error:
        raise Broken(f"{shown(path)}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _open(path: bytes) -> int:
    if not path or b".." in path.split(b"/"):
        raise missing(path)
    try:
        return os.open(path, _READ)
    except OSError as error:
        if error.errno in _SCARCE:
            raise Broken(f"{shown(path)}: {error.strerror}", Cause.OVERLOAD) from None
        raise missing(path) from None
    except ValueError:  # a NUL byte
        raise missing(path) from None


def missing(path: bytes) -> Broken:
    """There is no such file for us."""
    return Broken(f"{shown(path)}: no such file, or none that may be read", Cause.NO_FILE)

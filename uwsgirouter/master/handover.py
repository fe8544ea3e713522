"""The handover's file: what a master leaves to the program that takes its place in the same process.

One idea: the successor is another version, so what it gets are values of JSON with a version in front, in an anonymous
file, and descriptors that are named there by their numbers. What the values mean the parts know that gave them
(``handed`` and ``inherit`` of each); here is only how they travel. Invariants: a version that is not known is refused
before anything is acted upon; a descriptor that is handed over is inheritable only while the successor is started.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

from uwsgirouter.errors import BadHandover

VERSION = 1
"""Of the values. Raised when a successor could not understand an earlier one. What is only added needs no new one, but
whoever reads it must do without (``rows.get``), or the version before cannot be upgraded."""
Rows = dict[str, Any]
Keep = Callable[[int], int]
"""Notes a descriptor that the successor needs, and gives back its number; -1 for one that is closed."""


class Luggage:
    """The descriptors that a handover names."""

    def __init__(self) -> None:
        self.descriptors: set[int] = set()

    def __call__(self, descriptor: int) -> int:
        """Take one along."""
        if descriptor > 2:
            self.descriptors.add(descriptor)
        return descriptor

    def inheritable(self, wanted: bool) -> None:
        """Let the next program have them, or not."""
        for descriptor in self.descriptors:
            os.set_inheritable(descriptor, wanted)


def absent(descriptor: int) -> int:
    """For a handover that is only tried: no descriptor goes along."""
    return -1


def write_handover(rows: Rows) -> int:
    """An anonymous file with ``rows``: its descriptor. Raises OSError."""
    descriptor = os.memfd_create("uwsgirouter-handover", os.MFD_CLOEXEC)
    with open(os.dup(descriptor), "w", encoding="ascii") as file:
        json.dump({"version": VERSION, **rows}, file, separators=(",", ":"))
    return descriptor


def read_handover(descriptor: int) -> Rows:
    """What is in the file, which is closed. Raises :class:`BadHandover`."""
    try:
        with open(descriptor, encoding="ascii") as file:
            file.seek(0)
            rows = json.load(file)
    except (OSError, ValueError) as error:
        raise BadHandover(f"the handover of the running router cannot be read: {error}") from None
    version = rows.get("version") if isinstance(rows, dict) else None
    if version != VERSION:
        raise BadHandover(
            f"the running router hands over in version {version!r}, and this one understands {VERSION}: restart it"
        )
    return rows  # type: ignore[no-any-return]


def inherited_socket(descriptor: int) -> socket.socket:
    """A socket that was handed over; one that is closed for -1."""
    if descriptor < 0:
        sock = socket.socket()
        sock.close()
        return sock
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)

"""A duty: what an attendant of the master is for, before any process exists.

One idea: what a configuration needs beside its workers (scripts, names to resolve, an application) is a list of duties
that is made with its generation, at the time when errors can still be told to people. It starts nothing.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from uwsgirouter.master.line import Line
from uwsgirouter.master.sockets import Bound
from uwsgirouter.protocol.messages import Message

READY_WITHIN = 120.0
"""Seconds that an attendant has to become ready unless its duty says otherwise."""
MERCY = 5.0
"""Seconds between the order to leave and the end, unless the duty says otherwise."""


WORDS_MOST = 10_000
"""Words that wait for an attendant; one that does not take them is replaced."""


def _nothing(message: Message) -> None:
    """For a duty that has nothing to tell."""


def _unprepared() -> None:
    """For a duty that needs no more rights than it has."""


@dataclass(frozen=True, eq=False)
class Duty:
    """What an attendant is for. Made by the master when it prepares a generation; nothing runs yet.

    ``body`` runs in the forked child, with its end of the channel; what it returns is the exit status. It calls
    ``line.ready()`` when workers may rely on it (or ends with 0, when it is not lasting), and leaves when
    ``line.hear`` says None. ``hear`` gets the messages that it tells, in the master's loop.
    """

    name: str
    """What the log calls it, and the title unless that is given: ``uwsgirouter: NAME``."""
    body: Callable[[Line], int]
    hear: Callable[[Message], None] = _nothing
    title: str = ""
    lasting: bool = True
    """False: the work may be done, and then an end with status 0 is no loss."""
    program: bool = False
    """The body becomes another program (line.execute): USR1 tells it to open its log again."""
    sockets: tuple[Bound, ...] = ()
    """What of the generation's sockets it needs; the rest is closed in it."""
    user: int | None = None
    group: int | None = None
    ready_within: float = READY_WITHIN
    mercy: float = MERCY
    """Seconds that it has to leave once it was told to."""
    prepare: Callable[[], None] = _unprepared
    """Called in the child before it changes users."""
    optional: bool = False
    """Workers start without it, and that it cannot start is no reason to give anything up."""
    words: deque[Message] = field(default_factory=deque)
    """What is to be said to the attendant. One that starts gets none: it sees what the master saw at that moment."""
    outlives: bool = False
    """It leaves when it sees that the workers have left, and not before: its ``mercy`` is not cut short."""
    inherits: tuple[socket.socket, ...] = ()
    """Ends of channels that are its own; it gets no others."""
    rests: bool = False
    """It serves clients, so WINCH ends it (and HUP brings it back)."""

"""One attendant: what the master knows of a child that is no worker, and how that is written down for a successor.

One idea: plain state; what becomes of an attendant is decided by whoever has all of them (attendants.py). A successor
(master/succession.py) gets the same state with the duty of its own making; where it has none of that name, one that
only knows how the attendant ends.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import Enum

from uwsgirouter.master.duty import Duty
from uwsgirouter.master.handover import Keep, Rows, inherited_socket
from uwsgirouter.protocol.messages import MessageReader


class State(Enum):
    """Where an attendant is in its life."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "told to leave"


@dataclass(eq=False)
class Attendant:
    """One process."""

    pid: int
    duty: Duty
    generation: int
    sock: socket.socket
    reader: MessageReader
    since: float
    state: State = State.STARTING
    deadline: float | None = None
    reason: str = ""
    """Why it was killed, if it was."""
    log_moved: bool = False
    """There was a USR1 for it while it could not take one."""
    partial: bytes = b""
    """The rest of a message that the kernel did not take as a whole."""

    @property
    def label(self) -> str:
        """How the log names it."""
        return f"uwsgirouter {self.duty.name} (pid: {self.pid})"


@dataclass(frozen=True)
class Loss:
    """An attendant that ended although it should not have; ``was_ready`` is about its duty, not this process."""

    attendant: Attendant
    how: str
    was_ready: bool
    delay: float
    """Seconds until it may be started again."""


def row_of(attendant: Attendant, keep: Keep) -> Rows:
    """As values of JSON; ``keep`` notes the descriptor."""
    duty = attendant.duty
    return {
        "pid": attendant.pid,
        "duty": duty.name,
        "lasting": duty.lasting,
        "program": duty.program,
        "optional": duty.optional,
        "rests": duty.rests,
        "outlives": duty.outlives,
        "mercy": duty.mercy,
        "ready_within": duty.ready_within,
        "words": list(duty.words),
        "generation": attendant.generation,
        "sock": keep(attendant.sock.fileno()),
        "input": attendant.reader.rest.decode("latin-1"),
        "since": attendant.since,
        "state": attendant.state.name,
        "deadline": attendant.deadline,
        "reason": attendant.reason,
        "log_moved": attendant.log_moved,
        "partial": attendant.partial.decode("latin-1"),
    }


def silent_duty(row: Rows) -> Duty:
    """The duty of an attendant that only has to end some time."""
    return Duty(
        row["duty"],
        lambda line: 0,
        lasting=row["lasting"],
        program=row["program"],
        optional=row["optional"],
        rests=row["rests"],
        outlives=row.get("outlives", False),
        mercy=row["mercy"],
        ready_within=row["ready_within"],
    )


def attendant_of(row: Rows, duty: Duty, generation: int) -> Attendant:
    """The inverse."""
    reader = MessageReader()
    reader.feed(row["input"].encode("latin-1"))
    duty.words.extend(row["words"])
    return Attendant(
        row["pid"],
        duty,
        generation,
        inherited_socket(row["sock"]),
        reader,
        row["since"],
        State[row["state"]],
        row["deadline"],
        row["reason"],
        row["log_moved"],
        row["partial"].encode("latin-1"),
    )

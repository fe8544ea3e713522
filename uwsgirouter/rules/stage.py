"""How far a response is, and a file in place of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Piece:
    """A part of a file that is to be sent. Whoever takes it closes ``descriptor`` when it is sent or given up."""

    descriptor: int
    offset: int
    length: int


class Stage(Enum):
    """How far a response is."""

    NOTHING = "no status yet"
    PREPARED = "a status and perhaps headers; nothing is out"
    SENT = "the head is out"
    RAW = "no head goes out: raw bytes stand in its place, or nothing does (disableheaders)"
    ENDED = "all of it is out, whatever else may come is ignored"


OPEN = (Stage.NOTHING, Stage.PREPARED)
"""While nothing is out: another answer can be prepared."""

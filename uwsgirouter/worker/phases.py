"""The phases of a session: where it is between its first byte and its last (docs/life-of-a-request.md)."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where a session is."""

    PACKET = "reading the packet"
    BODY = "gathering the body"
    RULES = "its rules wait for something"
    MAP = "waiting to be told who serves the key"
    QUEUE = "waiting for a node that is not full"
    WAKE = "waiting for a vassal to start"
    CONNECT = "connecting to a node"
    WAIT = "waiting for the first byte"
    RELAY = "relaying the response"
    ANSWER = "sending an answer of the router's own"
    ADOPTED = "answered by the node on the client's own connection"
    LINGER = "answered; the client may still be sending"
    LINGER_RESET = "as LINGER, to be closed by a reset"
    CLOSED = "closed"


FINDING = (Phase.RULES, Phase.MAP, Phase.QUEUE, Phase.WAKE)
"""Those in which somebody will call the session back (worker/seeking.py)."""

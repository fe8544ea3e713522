"""A program that a rule wants run in place of a node (CGI), as rules and the worker know it.

One idea: a rule says what is to be run; the worker runs it (worker/programs.py) and says here why no answer came, if
none did. It knows no process. Invariant: ``failure`` is set before the answer ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from uwsgirouter.protocol.answers import Cause


@dataclass(eq=False)
class Program:
    """One run of a program."""

    arguments: tuple[bytes, ...]
    """Its path and arguments."""
    environment: Mapping[bytes, bytes]
    directory: bytes
    """Where it runs."""
    name: str
    """For logs."""
    length: int = 0
    """Bytes of the request's body, which it gets on its standard input."""
    failure: tuple[Cause, str] | None = None
    """Why there is no answer, or no whole one, and more for the log."""

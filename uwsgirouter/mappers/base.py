"""What a mapper is: a way from a request's key to the nodes that may serve it.

A mapper that knows at once has :meth:`Mapper.find`; one that must wait (a Python function, a name to be resolved) has
``ask`` as well, which a session calls in a greenlet of its own when ``find`` gave nothing.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from uwsgirouter.model.node import Node
from uwsgirouter.model.slot import NOBODY, Client


class Candidates(Protocol):
    """The nodes for one request: a slot of the table, or what a mapper made of the key."""

    def next(self, client: Client = NOBODY) -> Node | None:
        """The node for a new request of ``client``; None when none is up."""

    def next_except(self, tried: Container[Node], client: Client = NOBODY) -> Node | None:
        """Another one that is up, not one of ``tried``."""

    def last_resort(self, tried: Container[Node]) -> Node | None:
        """One that is down, not one of ``tried``."""


class Mapper(Protocol):
    """One way to find nodes; only one is used in a configuration."""

    def find(self, key: bytes) -> Candidates | None:
        """The nodes for ``key`` (never empty bytes), or None when there are none. Does not yield.

        Raises :class:`~uwsgirouter.errors.BadKey`, :class:`~uwsgirouter.errors.BadTarget`.
        """


class AskingMapper(Mapper, Protocol):
    """A mapper that may have to wait."""

    def ask(self, key: bytes, tried: Container[Node]) -> Candidates | None:
        """As :meth:`find`, and better some node that is not in ``tried``. May yield, may raise anything."""

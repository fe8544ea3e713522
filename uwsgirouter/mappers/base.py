"""What a mapper is: a way from a request's key to the slot whose nodes may serve it."""

from __future__ import annotations

from typing import Protocol

from uwsgirouter.model.slot import Slot


class Mapper(Protocol):
    """One way to find nodes; only one is used in a configuration."""

    def find(self, key: bytes) -> Slot | None:
        """The slot for ``key`` (never empty bytes), or None when there is none."""

"""Use one key for every request: ``fastrouter-force-key``. Pure; what it costs, only its users pay."""

from __future__ import annotations

from collections.abc import Container
from typing import cast

from uwsgirouter.mappers.base import AskingMapper, Candidates, Mapper
from uwsgirouter.model.node import Node


class FixedKeyMapper:
    """Asks ``mapper`` for ``forced``, whatever the key."""

    def __init__(self, mapper: Mapper, forced: bytes) -> None:
        self._mapper = mapper
        self._forced = forced

    def find(self, key: bytes) -> Candidates | None:
        """The nodes of the forced key."""
        return self._mapper.find(self._forced)


class AskingFixedKeyMapper(FixedKeyMapper):
    """The same for a mapper that may have to wait."""

    def ask(self, key: bytes, tried: Container[Node]) -> Candidates | None:
        """The nodes of the forced key. May yield, may raise anything."""
        return cast(AskingMapper, self._mapper).ask(self._forced, tried)

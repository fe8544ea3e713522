"""A generation: one configuration with its sockets, and the workers that run it.

One idea: a reload makes a whole new generation beside the old one and swaps only when all of its workers are ready,
so whatever fails on the way leaves the old one as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uwsgirouter.master.duty import Duty
from uwsgirouter.master.names import Names
from uwsgirouter.master.sockets import Endpoints
from uwsgirouter.settings.address import Address
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.master.logger import LogChannel
    from uwsgirouter.model.metrics import Metrics
    from uwsgirouter.rules.limit_memory import LimitMemory
    from uwsgirouter.rules.table import Table


@dataclass
class Generation:
    """Number ``index``: the settings, what they bind, the nodes they name, how many workers they want."""

    index: int
    settings: Settings
    endpoints: Endpoints
    names: Names
    target: int
    rules: Table | None = None
    """The internal routing, built before the workers are forked."""
    limits: LimitMemory | None = None
    """What rules count requests in; it is the same over reloads."""
    metrics: Metrics | None = None
    """The numbers that rules change; they are the same over reloads."""
    frozen: str = ""
    """Why no further process can be started for it (after an upgrade); those that are there go on."""
    access: LogChannel | None = None
    """The way of the access log's lines from the workers to the logger."""
    duties: list[Duty] = field(default_factory=list)
    """What its attendants do; they are ready before its workers start."""

    def end(self) -> None:
        """No process of it is started any more."""
        if self.access is not None:
            self.access.close()

    @property
    def announced(self) -> bool:
        """Whether nodes come by announcement."""
        return bool(self.endpoints.servers)

    @property
    def static(self) -> list[Address]:
        """The nodes of ``fastrouter-to`` or ``fastrouter-use-socket``, names replaced by what they mean now."""
        return self.names.addresses("fastrouter-to")

    @property
    def fallback(self) -> list[Address]:
        """The nodes of ``fastrouter-fallback``, likewise."""
        return self.names.addresses("fastrouter-fallback")

    @property
    def emperor(self) -> Address | None:
        """The command socket of the Emperor that starts vassals."""
        return next(iter(self.names.addresses("fastrouter-emperor-socket")), None)

    @property
    def resubscribe(self) -> list[Address]:
        """The subscription servers of other routers that hear of our nodes."""
        return self.names.addresses("fastrouter-resubscribe")

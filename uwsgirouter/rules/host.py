"""What the process that runs rules gives them: a log, names, and whatever lies outside a request.

One idea: rules know the world only through this protocol; the worker implements it (worker/rule_host.py), tests have
their own. Calls that may wait are only made by parts that said so (``waits``), and then in a greenlet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from uwsgirouter.cache.caches import Caches
from uwsgirouter.model.buckets import Buckets
from uwsgirouter.model.holds import Holds
from uwsgirouter.model.metrics import Metrics
from uwsgirouter.rules.program import Program
from uwsgirouter.rules.service import Service

C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True)
class Waiting:
    """How requests of a key wait for others of it to end: ``places`` in the line, for all workers, ``patience`` in
    seconds.
    """

    limit: bytes
    most: int
    places: int
    patience: int


class Host(Protocol):
    """The process around the rules."""

    worker: int
    """Its number, from 1."""
    pid: int
    pages: bool
    """Whether failures have pages of the router's own (fastrouter-error-pages)."""
    names_requests: bool
    """Whether each line of the log says whose it is (request-id)."""

    @property
    def caches(self) -> Caches | None:
        """The caches of this process, None when there are none."""

    @property
    def metrics(self) -> Metrics | None:
        """The metrics that all workers share, None when none is configured."""

    @property
    def buckets(self) -> Buckets | None:
        """What ``limit`` counts with, over all workers; None when no rule does."""

    @property
    def holds(self) -> Holds | None:
        """What ``concurrency`` counts with, over all workers; None when no rule does."""

    def stand(self, waiting: Waiting, key: bytes) -> int:
        """Stand in the line of ``key`` until one of its requests ends: as :meth:`Holds.take`. May wait."""

    def aside(self, call: Callable[[], T]) -> T:
        """Run ``call`` in a thread, and wait for it: for what takes long and needs no more than the processor. May
        wait.
        """

    def ask(self, service: Service[C], call: Callable[[C], T], once: bool = False) -> T:
        """``call(connection)`` with a connection of another server, in one of its threads. May wait, for a bounded
        time. Raises :class:`~uwsgirouter.rules.service.ServiceDown`.

        ``once``: it is not made again on a new connection when the server had closed the one that lay idle.
        """

    def hand(self, service: Service[C], call: Callable[[C], object], what: str) -> None:
        """The same without waiting for it. That it was not done is a line of the log, which begins with ``what``."""

    def log(self, text: bytes) -> None:
        """A line of the log, as a rule wants it (control characters are made visible)."""

    def complain(self, text: bytes) -> None:
        """A line about what went wrong for one request: clients can cause it as often as they like."""

    def identify(self, brought: bytes) -> bytes:
        """The id of a request that came with ``brought``: that, if it may be one, else a new one."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def rpc(self, name: bytes, arguments: Sequence[bytes]) -> bytes | None:
        """Call a function that a script registered; None when there is none of that name. May wait."""

    def rpc_at(self, address: str, name: bytes, arguments: Sequence[bytes], raw: bool = False) -> bytes | None:
        """The same in another server (modifier1 173); None when it fails. May wait, for a bounded time."""

    def program(self, program: Program) -> tuple[str, bytes]:
        """Where ``program`` is run (an address to connect to, as a target), and what is to be sent there before the
        request's body. Does not wait. Raises OSError.
        """

    def alarm(self, name: str, text: bytes) -> None:
        """Raise a configured alarm. Does not wait."""

    def signal(self, number: int) -> None:
        """Raise a uwsgi signal for the scripts' handlers. Does not wait."""

    def title(self, text: bytes) -> None:
        """What ``ps`` says of this process from now on."""

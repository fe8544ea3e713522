"""What a worker gives its rules: the log, its number, the caches, and whatever lies outside a request.

One idea: rules know the world only as :class:`~uwsgirouter.rules.host.Host`; this is that world. What costs much to
have is made when it is first asked for. Invariant: nothing here blocks the loop; what waits does so in the rule's own
greenlet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import gevent

from uwsgirouter.log import Log, Throttle
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.router import CONNECT_TIMEOUT
from uwsgirouter.worker.rpc_call import CallFailed, call_at

if TYPE_CHECKING:
    from uwsgirouter.cache.caches import Caches
    from uwsgirouter.model.metrics import Metrics
    from uwsgirouter.worker.main import Post

T = TypeVar("T")


class RuleHost:
    """The host of one worker's rules."""

    def __init__(self, post: Post, log: Log) -> None:
        self.worker = post.number
        self.pid = os.getpid()
        self._settings: Settings = post.settings
        self._directory = post.caches
        self._log = log
        self._caches: Caches | None = None
        self.metrics: Metrics | None = post.metrics
        self.shown = ""
        """What rules want ``ps`` to say of this process; empty: nothing of their own."""
        self._say = Throttle(log.say, 1)
        timeout = self._settings.number("fastrouter-timeout")
        self._timeout = self._settings.optional_number("fastrouter-first-byte-timeout") or timeout
        self._connect_timeout = self._settings.optional_number("fastrouter-connect-timeout") or min(
            timeout, CONNECT_TIMEOUT
        )
        self._scripts: Any = None

    @property
    def caches(self) -> Caches | None:
        """This process's own: they are opened after the fork."""
        if self._caches is None and self._directory:
            from uwsgirouter.cache.caches import Caches
            from uwsgirouter.cache.specs import cache_specs

            self._caches = Caches(cache_specs(self._settings), self._directory, self._log.say)
        return self._caches

    def log(self, text: bytes) -> None:
        """A line of the log, as it is."""
        self._log.line(text.decode("utf-8", "surrogateescape"))

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def aside(self, call: Callable[[], T]) -> T:
        """Run ``call`` in a thread and wait for it, in a greenlet."""
        result: T = gevent.get_hub().threadpool.apply(call)
        return result

    def rpc(self, name: bytes, arguments: Sequence[bytes]) -> bytes | None:
        """What a function of the scripts returns; None when there is none, or it fails."""
        result: bytes | None = self._scripts.call(name, *arguments)
        return result

    def rpc_at(self, address: str, name: bytes, arguments: Sequence[bytes], raw: bool = False) -> bytes | None:
        """The same of another server; why there is none goes to the log."""
        try:
            return call_at(address, name, arguments, raw, self._connect_timeout, self._timeout)
        except CallFailed as error:
            shown = name.decode("latin-1").encode("unicode_escape").decode("ascii")
            self._say(f"rpc {shown}@{address} failed: {error}", time.monotonic())
            return None

    def title(self, text: bytes) -> None:
        """What ``ps`` says of this process from the next second on."""
        self.shown = text.decode("utf-8", "replace")

"""What a worker gives its rules: the log, its number, the caches, and whatever lies outside a request.

One idea: rules know the world only as :class:`~uwsgirouter.rules.host.Host`; this is that world. What costs much to
have is made when it is first asked for. Invariant: nothing here blocks the loop; what waits does so in the rule's own
greenlet.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from uwsgirouter.log import Log
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.cache.caches import Caches
    from uwsgirouter.worker.main import Post


class RuleHost:
    """The host of one worker's rules."""

    def __init__(self, post: Post, log: Log) -> None:
        self.worker = post.number
        self.pid = os.getpid()
        self._settings: Settings = post.settings
        self._directory = post.caches
        self._log = log
        self._caches: Caches | None = None

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

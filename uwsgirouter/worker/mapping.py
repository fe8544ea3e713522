"""Choose the one way to find nodes, in the FastRouter's order, and make what it needs.

One idea: of several ways that are configured one is used (cache, pattern, subscription, base, code string, socket,
static nodes); a key that it does not know does not fall through to the next. Python functions are given a patched
worker (gevent), so that what blocks on the network delays its own request only; nothing is patched without one.
"""

from __future__ import annotations

import os
import time

import gevent

from uwsgirouter.log import Log
from uwsgirouter.mappers import script
from uwsgirouter.mappers.base import Mapper
from uwsgirouter.mappers.cache import CacheMapper
from uwsgirouter.mappers.direct import DirectNodes
from uwsgirouter.mappers.fixed import AskingFixedKeyMapper, FixedKeyMapper
from uwsgirouter.mappers.pattern import PatternMapper
from uwsgirouter.mappers.script import ScriptMapper, load
from uwsgirouter.mappers.static import StaticMapper
from uwsgirouter.mappers.subscription import subscription_mapper
from uwsgirouter.model.table import RouteTable
from uwsgirouter.settings.settings import Settings
from uwsgirouter.settings.targets import CodeString, pattern_of_base
from uwsgirouter.worker.lookup import Lookup
from uwsgirouter.worker.scripts import Scripts


def direct_nodes(settings: Settings) -> DirectNodes:
    """The memory of nodes that no registry numbers."""
    return DirectNodes(settings.seconds("fastrouter-gracetime"), time.monotonic, Lookup(), gevent.spawn)


class Mapping:
    """What choosing a mapper takes.

    ``caches`` is the directory of the named caches (empty: there are none), ``worker`` our number.
    """

    def __init__(
        self, settings: Settings, table: RouteTable, direct: DirectNodes, caches: str, log: Log, worker: int = 0
    ) -> None:
        self.settings = settings
        self._table = table
        self._direct = direct
        self.scripts = Scripts(settings, caches, log, worker)
        self._strip_port = settings.flag("fastrouter-strip-port")

    def choose(self, announced: bool) -> Mapper:
        """The mapper of the settings. Raises BootError; it is a ScriptError when a script fails while it is loaded."""
        mapper = self._choose(announced)
        forced = os.fsencode(self.settings.text("fastrouter-force-key"))
        if not forced:
            return mapper
        return (AskingFixedKeyMapper if hasattr(mapper, "ask") else FixedKeyMapper)(mapper, forced)

    def _choose(self, announced: bool) -> Mapper:
        settings = self.settings
        if settings.is_set("fastrouter-use-cache"):
            return self._cache(settings.text("fastrouter-use-cache"))
        if settings.is_set("fastrouter-use-pattern"):
            return PatternMapper(settings.text("fastrouter-use-pattern"), self._direct, self._strip_port)
        if announced:
            return subscription_mapper(
                self._table,
                self._strip_port,
                os.fsencode(settings.text("fastrouter-subscription-fallback-key")),
                settings.flag("subscription-dotsplit"),
                settings.number("subscription-mountpoints"),
            )
        if settings.is_set("fastrouter-use-base"):
            return PatternMapper(pattern_of_base(settings.text("fastrouter-use-base")), self._direct, self._strip_port)
        if settings.is_set("fastrouter-use-code-string"):
            return self._script(CodeString.parse(settings.text("fastrouter-use-code-string")))
        return StaticMapper(self._table)

    def _cache(self, name: str) -> Mapper:
        caches = self.scripts.caches
        assert caches is not None, "a configuration without this cache was not accepted"
        cache = caches.named(name)
        return CacheMapper(cache.get, self._direct, self._strip_port, waits=bool(cache.spec.url))

    def _script(self, code: CodeString) -> Mapper:
        from uwsgirouter.scripting.run import failure

        self.scripts.module()
        try:
            function = load(code)
        except Exception as error:
            option = "fastrouter-use-code-string"
            what = f"{self.settings.where(option)}: {option} = {self.settings.text(option)}"
            raise failure(what, error, (__file__, script.__file__)) from error
        return ScriptMapper(function, self._direct, 1 + self.settings.number("fastrouter-max-retries"))

"""All caches of a configuration, as one process has them open.

One idea: a process opens each cache once, after its fork, and gives it out by name. It knows the caches' files and
nothing of who uses them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from uwsgirouter.cache.access import CacheTrouble
from uwsgirouter.cache.cache import Cache
from uwsgirouter.cache.environment import Role, open_file
from uwsgirouter.cache.specs import CacheSpec, named
from uwsgirouter.errors import BootError


class Caches:
    """The caches of ``specs``; those without a store are in ``directory``. Raises BootError.

    ``say`` gets what must be told while they are used; ``clock`` gives seconds since 1970.
    """

    def __init__(
        self,
        specs: Sequence[CacheSpec],
        directory: str,
        say: Callable[[str], None] = lambda text: None,
        role: Role = Role.WORKER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._caches: dict[str, Cache] = {}
        try:
            for spec in specs:
                self._caches[spec.name] = Cache(spec, open_file(spec, directory, role, say), say, clock)
        except BootError:
            self.close()
            raise

    def __iter__(self) -> Iterator[Cache]:
        """The caches in the order of the configuration."""
        return iter(self._caches.values())

    def find(self, name: str) -> Cache | None:
        """The cache of that name: the first one for an empty name, and for ``default`` where none is called so."""
        spec = named(tuple(cache.spec for cache in self), name)
        return None if spec is None else self._caches[spec.name]

    def named(self, name: str) -> Cache:
        """As :meth:`find`; KeyError when there is none."""
        cache = self.find(name)
        if cache is None:
            raise KeyError(name)
        return cache

    @contextmanager
    def loading(self, joining: bool = False) -> Iterator[None]:
        """While scripts are loaded: what they set is pending when the block ends, and is undone when it raises.

        It is settled at once when no other process keeps the caches, else by :meth:`Cache.settle` (the upkeep does it).
        ``joining``: what is set belongs to the run that another process made. Raises BootError.
        """
        begun: list[Cache] = []
        done = False
        try:
            for cache in self:
                cache.begin_loading(joining)
                begun.append(cache)
            yield
            done = True
        except CacheTrouble as error:
            raise BootError(str(error)) from error
        finally:
            for cache in begun:
                cache.end_loading(done)

    def close(self) -> None:
        """Let go of all files."""
        for cache in self:
            cache.close()
        self._caches.clear()

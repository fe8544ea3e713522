"""All caches of a configuration, as one process has them open.

One idea: a process opens each cache once, after its fork, and gives it out by name. It knows the caches' files and
nothing of who uses them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uwsgirouter.cache.access import CacheTrouble
from uwsgirouter.cache.base import NamedCache
from uwsgirouter.cache.cache import Cache
from uwsgirouter.cache.environment import Role, open_file
from uwsgirouter.cache.shared import Shared
from uwsgirouter.cache.specs import SUFFIXES, CacheSpec, file_of, named
from uwsgirouter.errors import BootError
from uwsgirouter.settings.settings import Settings

if TYPE_CHECKING:
    from uwsgirouter.cache.link import Link


@dataclass(frozen=True)
class Elsewhere:
    """How caches on other servers are had. ``link(spec)`` makes the way to one; None: one that waits where it is asked,
    ``connect_timeout`` and ``answer_timeout`` seconds at most. ``stale``: seconds that what was seen counts.
    """

    stale: float = 0.0
    connect_timeout: float = 1.0
    answer_timeout: float = 3.0
    link: Callable[[CacheSpec], Link] | None = None

    @classmethod
    def of(cls, settings: Settings, link: Callable[[CacheSpec], Link] | None = None) -> Elsewhere:
        """As the settings have it."""
        seconds = settings.seconds
        return cls(seconds("cache-stale"), seconds("service-connect-timeout"), seconds("service-timeout"), link)

    def open(
        self, spec: CacheSpec, directory: str, role: Role, say: Callable[[str], None], clock: Callable[[], float]
    ) -> NamedCache:
        """The cache, whether its server answers or not. Raises BootError."""
        try:
            # Its library is for those alone who have such a cache.
            from uwsgirouter.cache.remote import DirectLink, RedisCache
        except ImportError as error:
            raise BootError(f"{spec.where}: cache {spec.name}: {error}: pip install 'uwsgirouter[redis]'") from error
        try:
            link = self.link(spec) if self.link else DirectLink(spec, self.connect_timeout, self.answer_timeout)
        except (ValueError, OSError) as error:
            raise BootError(f"{spec.where}: cache {spec.name}: {error}") from error
        path = file_of(spec, directory) + SUFFIXES[2]
        try:
            shared = Shared(path, 0, role is not Role.GUEST)
        except OSError as error:
            raise BootError(f"{spec.where}: cache {spec.name}: cannot open {path}: {error.strerror}") from error
        return RedisCache(spec, link, shared, self.stale, say, clock)


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
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.directory = directory
        self._caches: dict[str, NamedCache] = {}
        try:
            for spec in specs:
                if spec.url:
                    self._caches[spec.name] = (elsewhere or Elsewhere()).open(spec, directory, role, say, clock)
                else:
                    self._caches[spec.name] = Cache(spec, open_file(spec, directory, role, say), say, clock)
        except BootError:
            self.close()
            raise

    def __iter__(self) -> Iterator[NamedCache]:
        """The caches in the order of the configuration."""
        return iter(self._caches.values())

    def find(self, name: str) -> NamedCache | None:
        """The cache of that name: the first one for an empty name, and for ``default`` where none is called so."""
        spec = named(tuple(cache.spec for cache in self), name)
        return None if spec is None else self._caches[spec.name]

    def named(self, name: str) -> NamedCache:
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
        begun: list[NamedCache] = []
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

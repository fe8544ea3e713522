"""``uwsgi.cache_*``: the calls of uWSGI's Python API on the router's caches.

One idea: arguments and results are those of uWSGI on Python 3 (a key is str or bytes, a value comes back as bytes, and
what did not happen is None); the caches do the rest. A cache on another machine is refused: in uWSGI its name is
``name@host:port``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from uwsgirouter.cache.base import NamedCache
from uwsgirouter.cache.caches import Caches

Bytes = str | bytes


class CacheCalls:
    """``caches`` are this process's, None when none is configured. ``say`` is told of names that are no cache's."""

    def __init__(self, caches: Caches | None, say: Callable[[str], None]) -> None:
        self._caches = caches
        self._say = say
        self._told: set[str] = set()
        self._pid = os.getpid()

    def cache_get(self, key: Bytes, cache: str = "", /) -> bytes | None:
        """The value, or None."""
        found = self._find(cache)
        return None if found is None else found.get(plain(key))

    def cache_exists(self, key: Bytes, cache: str = "", /) -> bool | None:
        """True or None."""
        found = self._find(cache)
        return None if found is None else found.exists(plain(key)) or None

    def cache_set(self, key: Bytes, value: Bytes, expires: int = 0, cache: str = "", /) -> bool | None:
        """Add an item that is not there: True or None."""
        key, value, expires = plain(key), plain(value), whole(expires)
        found = self._find(cache)
        return None if found is None else found.set(key, value, expires) or None

    def cache_update(self, key: Bytes, value: Bytes, expires: int = 0, cache: str = "", /) -> bool | None:
        """Add an item or replace it: True or None."""
        key, value, expires = plain(key), plain(value), whole(expires)
        found = self._find(cache)
        return None if found is None else found.update(key, value, expires) or None

    def cache_del(self, key: Bytes, cache: str = "", /) -> bool | None:
        """Remove an item: True or None."""
        found = self._find(cache)
        return None if found is None else found.delete(plain(key)) or None

    def cache_clear(self, cache: str = "", /) -> bool | None:
        """Remove every item: True or None."""
        found = self._find(cache)
        return None if found is None else found.clear() or None

    def cache_keys(self, cache: str = "", /) -> list[bytes]:
        """Every key. Raises ValueError for a name that is no cache's, as uWSGI does."""
        found = self._find(cache)
        if found is None:
            raise ValueError("no local uWSGI cache available")
        return found.keys()

    def cache_num(self, key: Bytes, cache: str = "", /) -> int | None:
        """The number of an item that is counted with, 0 when there is none."""
        found = self._find(cache)
        return None if found is None else found.num(plain(key))

    def cache_inc(self, key: Bytes, by: int = 1, expires: int = 0, cache: str = "", /) -> bool | None:
        """Add: True or None."""
        found = self._find(cache)
        return None if found is None else found.inc(plain(key), whole(by), whole(expires)) or None

    def cache_dec(self, key: Bytes, by: int = 1, expires: int = 0, cache: str = "", /) -> bool | None:
        """Subtract: True or None."""
        found = self._find(cache)
        return None if found is None else found.dec(plain(key), whole(by), whole(expires)) or None

    def cache_mul(self, key: Bytes, by: int = 2, expires: int = 0, cache: str = "", /) -> bool | None:
        """Multiply: True or None."""
        found = self._find(cache)
        return None if found is None else found.mul(plain(key), whole(by), whole(expires)) or None

    def cache_div(self, key: Bytes, by: int = 2, expires: int = 0, cache: str = "", /) -> bool | None:
        """Divide: True or None."""
        found = self._find(cache)
        return None if found is None else found.div(plain(key), whole(by), whole(expires)) or None

    def _find(self, name: str) -> NamedCache | None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a cache is a str, not {name!r}")
        if "@" in name:
            raise ValueError(f"cache {name!r}: a router has caches of its own machine only, not of others")
        if os.getpid() != self._pid:
            raise RuntimeError(
                "a forked child of a script cannot use the caches: let its parent do it, or uwsgirouterctl cache"
            )
        found = None if self._caches is None else self._caches.find(name)
        if found is None and name not in self._told:
            self._told.add(name)
            self._say(f"a script uses the cache {name!r}, which is not configured" if name else _NONE)
        return found


_NONE = "a script uses a cache, and none is configured: write cache = NUMBER, or cache2 = name=NAME,items=NUMBER"


def plain(value: Bytes) -> bytes:
    """Bytes of a str (as UTF-8) or of bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value
    raise TypeError(f"a str or bytes is required, not {type(value).__name__!r}")


def whole(value: int) -> int:
    """A whole number of 64 bits."""
    if not isinstance(value, int):
        raise TypeError(f"a whole number is required, not {type(value).__name__!r}")
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError("a number has 64 bits at most")
    return value

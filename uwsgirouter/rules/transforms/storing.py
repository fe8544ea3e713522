"""tofile and cachestore: what a body was is kept, and the client does not wait for it.

One idea: they look on while the body goes through, and keep it when it is whole; half a body is never kept. A file
grows beside its place and is renamed to it at the end, so nobody reads half of one; an item of a cache is held in
memory, which its cache bounds. Writing a cache is one transaction of LMDB (tens of microseconds; writers take turns).
Invariants: trouble with storing is a line of the log, never the client's; only whole bodies of status 200
(cachestore: or ``status=``) are kept, and no empty ones.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable

from uwsgirouter.cache.base import NamedCache
from uwsgirouter.rules.arguments import keyed, number, shown
from uwsgirouter.rules.base import BadRule, Found, Place, transformation
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.host import Host
from uwsgirouter.rules.paths import inside
from uwsgirouter.rules.transform import Transform
from uwsgirouter.rules.transforms.encoding import GzipStream
from uwsgirouter.rules.writer import Writer

Maker = Callable[[Exchange, Found], Transform]

_OK = 200
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o644
_numbers = itertools.count(1)


class ToFile(Transform):
    """Writes the body to a file ``path``."""

    streams = False

    def __init__(self, path: bytes, mode: int, host: Host) -> None:
        self._path = path
        self._mode = mode
        self._host = host
        self._beside = b""
        self._descriptor = -1

    def begin(self, response: Writer) -> bool:
        if response.status != _OK:
            return False
        directory, name = os.path.split(self._path)
        if not name or b".." in self._path.split(b"/"):
            self._complain("not a place for a file")
            return False
        self._beside = os.path.join(directory, b".%b.%d.%d" % (name[:200], os.getpid(), next(_numbers)))
        try:
            self._descriptor = os.open(self._beside, _NEW, self._mode)
        except OSError as error:
            self._complain(error.strerror or str(error))
            return False
        except ValueError as error:
            self._complain(str(error))
            return False
        return True

    def feed(self, data: bytes) -> bytes:
        view = memoryview(data)
        try:
            while self._descriptor >= 0 and view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self._complain(error.strerror or str(error))
            self.abandon()
        return data

    def end(self) -> bytes:
        if self._descriptor >= 0:
            try:
                os.rename(self._beside, self._path)
                self._close()
            except OSError as error:
                self._complain(error.strerror or str(error))
                self.abandon()
        return b""

    def abandon(self) -> None:
        if self._descriptor >= 0:
            self._close()
            with contextlib.suppress(OSError):
                os.unlink(self._beside)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    def _complain(self, why: str) -> None:
        self._host.complain(f"tofile: cannot write {shown(self._path)}: {why}".encode("utf-8", "surrogateescape"))


@transformation("tofile", "to-file")
def tofile(argument: bytes, place: Place) -> Maker:
    """``filename=F`` (or ``name=``), ``mode=OCTAL``: keep the body in a file."""
    given = keyed(argument, place, ("filename", "name", "mode"))
    name = given.get("filename") or given.get("name")
    if not name:
        raise BadRule("filename= is missing, expected filename=...")
    filename = place.template(name)
    mode = _mode(given.get("mode", b""))
    return lambda exchange, found: ToFile(inside(exchange.directory, filename(exchange, found)), mode, exchange.host)


def _mode(text: bytes) -> int:
    if not text:
        return _MODE
    if text.strip(b"01234567") or len(text) > 4:
        raise BadRule(f"mode is {shown(text)}, expected octal digits, such as 644")
    return int(text, 8) & 0o777


class CacheStore(Transform):
    """Puts the body into a cache under ``key``, and compressed under ``zipped_key`` if there is one."""

    streams = False

    def __init__(
        self, cache: NamedCache | None, key: bytes, zipped_key: bytes, value: bytes | None, status: int, expires: int
    ):
        self._cache = cache
        self._key = key
        self._zipped_key = zipped_key
        self._value = value
        self._status = status
        self._expires = expires
        self._held: list[bytes] = []
        self._size = 0

    def begin(self, response: Writer) -> bool:
        if self._cache is None or not self._key or response.status not in (_OK, self._status):
            self._cache = None
        return self._cache is not None

    def feed(self, data: bytes) -> bytes:
        if self._cache is None:
            return data
        self._size += len(data)
        if self._value is None:
            if self._size > self._cache.spec.value_most:
                self.abandon()
            else:
                self._held.append(data)
        return data

    def end(self) -> bytes:
        cache = self._cache
        if cache is not None:
            value = b"".join(self._held) if self._value is None else self._value
            cache.keep(self._key, value, self._expires)
            if self._zipped_key:
                stream = GzipStream()
                cache.keep(self._zipped_key, stream.feed(value) + stream.end(), self._expires)
            self.abandon()
        return b""

    def abandon(self) -> None:
        self._cache = None
        self._held.clear()


@transformation("cachestore", "cache-store")
def cachestore(argument: bytes, place: Place) -> Maker:
    """``key=K,name=CACHE,gzip=K2,value=V,status=N,expires=SECONDS``: keep the body in a cache."""
    keys = ("key", "gzip", "name", "value", "status", "code", "expires")
    given = keyed(argument, place, keys, needed=("key",))
    key, zipped, name = (place.template(given.get(word, b"")) for word in ("key", "gzip", "name"))
    value = place.template(given["value"]) if given.get("value") else None
    status = number(given.get("status") or given.get("code") or b"")
    expires = max(0, number(given.get("expires", b"")))

    def make(exchange: Exchange, found: Found) -> Transform:
        caches = exchange.host.caches
        cache = None if caches is None else caches.find(shown(name(exchange, found)))
        forced = None if value is None else value(exchange, found)
        return CacheStore(cache, key(exchange, found), zipped(exchange, found), forced, status, expires)

    return make

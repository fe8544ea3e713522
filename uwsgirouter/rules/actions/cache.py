"""Actions on the named caches: answer from one, read and write items, count with them.

One idea: arguments are ``key=value`` pairs, values are texts with $1 and ${...} except the cache's name, which is
looked at when the table is built. A look-up waits for nobody; a write is one transaction in memory. Of a cache on
Redis both wait for the server, and one that is away ends no request: a miss, or nothing is written. ``cachestore`` is a
transformation. Observed on uWSGI 2.0.31: a read of a cache that is not there is a miss, a write to it ends the
request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from uwsgirouter.cache.base import NamedCache
from uwsgirouter.rules.arguments import keyed, number, shown, small
from uwsgirouter.rules.base import Act, Broken, Found, Make, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.mime import MimeTypes, mime_types
from uwsgirouter.rules.ranges import http_date
from uwsgirouter.settings.caching import named, read_specs

_LENGTHLESS = frozenset(("no_content_length", "no_cl", "nocl"))
EXPIRES_MOST = 10**9


class _Wanted:
    """The cache that a rule names (none: the first one)."""

    def __init__(self, given: dict[str, bytes], place: Place) -> None:
        self.name = given.get("name", b"").decode("utf-8", "surrogateescape")
        specs, _ = read_specs(place.settings)
        spec = named(specs, self.name)
        if spec is not None and spec.url:
            place.waits()
        if spec is None:
            there = f"; there are: {', '.join(spec.name for spec in specs)}" if specs else ""
            place.warn(f"there is no cache {self.name or 'at all'}{there}")

    def find(self, exchange: Exchange) -> NamedCache | None:
        """This process's."""
        caches = exchange.host.caches
        return None if caches is None else caches.find(self.name)

    def need(self, exchange: Exchange) -> NamedCache:
        """Raises :class:`Broken`."""
        found = self.find(exchange)
        if found is None:
            raise Broken(f"there is no cache {self.name or 'at all'}")
        return found


def _cache(then: Verdict) -> Make[Act]:
    """``then``: what follows an answer."""

    def make(argument: bytes, place: Place) -> Act:
        keys = ("key", "name", "content_type", "content_encoding", "mime", "no_offload", *sorted(_LENGTHLESS))
        given = keyed(argument, place, keys, ("key",))
        key, wanted = place.template(given["key"]), _Wanted(given, place)
        types = mime_types(place.settings) if "mime" in given else MimeTypes({})
        default, encoding = given.get("content_type") or b"text/html", given.get("content_encoding", b"")
        with_length = not _LENGTHLESS & given.keys()

        def act(exchange: Exchange, found: Found) -> Verdict:
            name = key(exchange, found)
            cache = wanted.find(exchange)
            item = None if cache is None else cache.timed(name)
            if item is None:
                return Verdict.NEXT
            value, ends = item
            response = exchange.response
            if not response.prepare(b"200 OK"):
                return Verdict.BREAK
            response.header(b"Content-Type", types.of(name) or default)
            if encoding:
                response.header(b"Content-Encoding", encoding)
            if ends:
                response.header(b"Expires", http_date(ends))
            if with_length:
                response.header(b"Content-Length", b"%d" % len(value))
            response.write(value)
            return then

        return act

    return make


action("cache")(_cache(Verdict.BREAK))
action("cache-continue")(_cache(Verdict.NEXT))


@action("cachevar")
def cachevar(argument: bytes, place: Place) -> Act:
    """``cachevar:key=K,var=NAME[,name=CACHE][,as_num=1]``: an item's value as a variable; a miss sets none."""
    given = keyed(argument, place, ("key", "var", "name", "num", "as_num"), ("key", "var"))
    key, variable, wanted = place.template(given["key"]), given["var"], _Wanted(given, place)
    as_number = bool({"num", "as_num"} & given.keys())

    def act(exchange: Exchange, found: Found) -> Verdict:
        cache = wanted.find(exchange)
        value = None if cache is None else cache.get(key(exchange, found))
        if value is not None:
            exchange.set_variable(variable, _digits(value) if as_number else value)
        return Verdict.NEXT

    return act


def _digits(value: bytes) -> bytes:
    """What cacheinc counts with, as text; 0 for an item that is no number."""
    return b"%d" % (int.from_bytes(value, "little", signed=True) if len(value) == 8 else 0)


@action("cacheset")
def cacheset(argument: bytes, place: Place) -> Act:
    """``cacheset:key=K,value=V[,name=CACHE][,expires=SECONDS]``: add an item that is not there."""
    given = keyed(argument, place, ("key", "value", "name", "expires"), ("key", "value"))
    key, value, wanted = place.template(given["key"]), place.template(given["value"]), _Wanted(given, place)
    expires = small(given.get("expires", b""), "expires", EXPIRES_MOST)

    def act(exchange: Exchange, found: Found) -> Verdict:
        name = key(exchange, found)
        cache = wanted.need(exchange)
        if not cache.set(name, value(exchange, found), expires) and not cache.is_away:
            raise Broken(f"the item {shown(name)} cannot be set: it is there already, or there is no room for it")
        return Verdict.NEXT

    return act


Change = Callable[[NamedCache, bytes, int, int], bool]


def _math(change: Change, default: bytes) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        given = keyed(argument, place, ("key", "value", "name", "expires"), ("key",))
        key, wanted = place.template(given["key"]), _Wanted(given, place)
        by = place.template(given.get("value", default))
        expires = small(given.get("expires", b""), "expires", EXPIRES_MOST)

        def act(exchange: Exchange, found: Found) -> Verdict:
            name = key(exchange, found)
            cache = wanted.need(exchange)
            if not change(cache, name, number(by(exchange, found)), expires) and not cache.is_away:
                raise Broken(
                    f"the item {shown(name)} cannot be counted with: it is no number, or there is no room for it"
                )
            return Verdict.NEXT

        return act

    return make


_CHANGES: Sequence[tuple[str, Change, bytes]] = (
    ("cacheinc", lambda cache, *given: cache.inc(*given), b"1"),
    ("cachedec", lambda cache, *given: cache.dec(*given), b"1"),
    ("cachemul", lambda cache, *given: cache.mul(*given), b"2"),
    ("cachediv", lambda cache, *given: cache.div(*given), b"2"),
)
for _name, _change, _default in _CHANGES:
    action(_name)(_math(_change, _default))

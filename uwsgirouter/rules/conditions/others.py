"""incache, and what cannot be had here: lord."""

from __future__ import annotations

from uwsgirouter.rules.arguments import keyed
from uwsgirouter.rules.base import BadRule, Place, Test, condition
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.settings.caching import read_specs


@condition("incache")
def incache(argument: bytes, place: Place) -> Test:
    """key=K[,name=CACHE]: the cache has that key; never without caches, or when there is none of that name."""
    found = keyed(argument, place, ("key", "name"), ("key",))
    key, name = place.template(found["key"]), place.template(found.get("name", b""))
    if any(spec.url for spec in read_specs(place.settings)[0]):
        place.waits()  # the name is known when a request asks

    def test(exchange: Exchange) -> bool:
        caches = exchange.host.caches
        cache = None if caches is None else caches.find(name(exchange, None).decode("utf-8", "surrogateescape"))
        return cache is not None and cache.exists(key(exchange, None))

    return test


@condition("lord")
def lord(argument: bytes, place: Place) -> Test:
    """Refused."""
    raise BadRule("there is no legion here, so nobody is its lord")

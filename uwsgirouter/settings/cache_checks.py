"""What the options about caches say of each other: names of caches that are not there, items that do not fit.

One idea: whatever can be known of a cache without opening one is found while the configuration is read, so that
``--check`` tells it. Pure: no file is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.caching import CacheSpec, ignored_keys, named, read_specs
from uwsgirouter.settings.settings import Settings

_LIBRARY = "redis"
_USE = "fastrouter-use-cache"
FILLERS = ("add-cache-item", "load-file-in-cache", "load-file-in-cache-gzip")
_STALE = "cache-stale"
_OF_CACHE = ("cache-blocksize", "cache-store", "cache-use-last-modified")
_OF_ANY = ("cache-store-sync", "cache-no-expire", "cache-expire-freq", "cache-report-freed-items")


def split_item(text: str) -> tuple[str, str, str | None]:
    """Cache (empty: all of them), key and value of an add-cache-item text; no value when it has no ``=``."""
    cache, space, rest = text.partition(" ")
    if not space or "=" in cache:
        cache, rest = "", text
    key, equals, value = rest.partition("=")
    return cache, key, value if equals else None


def split_file(text: str) -> tuple[str, str]:
    """Cache (empty: all of them) and path of a load-file-in-cache text."""
    cache, space, path = text.partition(" ")
    return (cache, path) if space else ("", text)


def cache_faults(settings: Settings) -> Iterator[ConfigError]:
    """All that is wrong."""
    specs, errors = read_specs(settings)
    yield from errors
    if errors:
        return
    for spec in specs:
        if spec.url and find_spec(_LIBRARY) is None:
            wanted = f"cache {spec.name} is on {spec.server}"
            yield ConfigError(f"{wanted}, which needs redis: pip install 'uwsgirouter[redis]'", spec.where)
    yield from _use_cache(settings, specs)
    for name in FILLERS:
        for index, text in enumerate(settings.texts(name)):
            fault = _filler(name, text, specs)
            if fault:
                yield ConfigError(f"{name} = {text}: {fault}", settings.where(name, index))


def cache_notices(settings: Settings) -> Iterator[str]:
    """What has no effect."""
    for index, text in enumerate(settings.texts("cache2")):
        ignored = ignored_keys(text)
        if ignored:
            where = settings.where("cache2", index)
            yield f"{where}: {' and '.join(ignored)} of cache2 mean nothing here (keys are kept sorted, not hashed)"
    specs, _ = read_specs(settings)
    if settings.is_set(_STALE) and not any(spec.url for spec in specs):
        yield f"{_STALE} ({settings.where(_STALE)}) does nothing without a cache on Redis (url=)"
    if settings.is_set("cache"):
        return
    for names, missing in ((_OF_CACHE, "the cache option"), (() if settings.is_set("cache2") else _OF_ANY, "a cache")):
        idle = ", ".join(f"{name} ({settings.where(name)})" for name in names if settings.is_set(name))
        if idle:
            yield f"these options do nothing without {missing}: {idle}"


def _use_cache(settings: Settings, specs: tuple[CacheSpec, ...]) -> Iterator[ConfigError]:
    name = settings.text(_USE)
    if settings.is_set(_USE) and named(specs, name) is None:
        yield ConfigError(f"{_USE} = {name}: {_missing(name, specs)}", settings.where(_USE))


def _filler(name: str, text: str, specs: tuple[CacheSpec, ...]) -> str:
    """What is wrong with the value of a filling option; empty: nothing."""
    if name == "add-cache-item":
        cache, key, value = split_item(text)
        if value is None:
            return "expected [CACHE ]KEY=VALUE"
        size: int | None = len(os.fsencode(value))
    else:
        cache, key = split_file(text)
        size = None
    wanted = [spec for spec in specs if cache in ("", spec.name)]
    if not wanted:
        return _missing(cache, specs)
    return next(filter(None, (_misfit(spec, len(os.fsencode(key)), size) for spec in wanted)), "")


def _misfit(spec: CacheSpec, key: int, value: int | None) -> str:
    if not 1 <= key <= spec.keysize:
        return f"a key of the cache {spec.name} has 1 to {spec.keysize} bytes, this one {key}"
    if value is not None and not 1 <= value <= spec.value_most:
        return f"a value of the cache {spec.name} has 1 to {spec.value_most} bytes, this one {value}"
    return ""


def _missing(name: str, specs: tuple[CacheSpec, ...]) -> str:
    if not specs:
        return "there is no cache: write cache = NUMBER, or cache2 = name=NAME,items=NUMBER"
    return f"no cache has the name {name!r}; there are: {', '.join(spec.name for spec in specs)}"

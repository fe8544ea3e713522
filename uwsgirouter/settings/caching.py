"""What the options say about caches: each cache's specification, and what is wrong with what was said.

One idea: the text of ``cache`` and ``cache2`` becomes :class:`CacheSpec`, one a cache, the same for the master, the
workers and the scripts. Pure: no file is looked at. Invariants: names are unique, blocks are at least as many as items,
and a value that was not understood is an error, never a default.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.settings import Settings

DEFAULT = "default"
"""The name of the cache that the cache option makes."""
BLOCKSIZE = 65536
KEYSIZE = 2048
ITEMS_MOST = 100_000_000
BLOCKSIZE_MOST = 1 << 30
KEYSIZE_MOST = 65534
FOR_EVER = 10**9
"""More seconds than any duration."""


@dataclass(frozen=True)
class CacheSpec:
    """One cache as configured. Sizes in bytes, durations in seconds; ``where`` is the place in the configuration.

    ``bitmap``: a value may take several blocks. ``expires``: the life of items that are set without one, 0 is for ever.
    ``store``: the file of a cache that lasts, empty for one in memory; ``store_sync`` 0 leaves writing to the kernel.
    ``url``: the Redis server that has the items, with what it is to be asked with; empty: they are on this machine.
    """

    name: str
    items: int
    blocks: int
    blocksize: int = BLOCKSIZE
    keysize: int = KEYSIZE
    bitmap: bool = False
    store: str = ""
    store_sync: int = 0
    store_delete: bool = False
    purge_lru: bool = False
    sweep_on_full: int = 0
    clear_on_full: bool = False
    ignore_full: bool = False
    lazy_expire: bool = False
    no_expire: bool = False
    lastmod: bool = False
    math_initial: int = 0
    expires: int = 0
    url: str = ""
    where: str = ""

    @property
    def server(self) -> str:
        """The Redis server as logs may name it: without passwords."""
        return shown_url(self.url)

    @property
    def value_most(self) -> int:
        """The longest value that it takes."""
        return self.blocksize * self.blocks if self.bitmap else self.blocksize


def cache_specs(settings: Settings) -> tuple[CacheSpec, ...]:
    """The caches in their order, that of the cache option first. Raises :class:`ConfigError`."""
    specs, errors = read_specs(settings)
    raise_all(errors)
    return specs


def read_specs(settings: Settings) -> tuple[tuple[CacheSpec, ...], list[ConfigError]]:
    """The caches that can be had, and what is wrong with the others."""
    specs: list[CacheSpec] = []
    errors: list[ConfigError] = []
    if settings.is_set("cache"):
        specs.append(_of_cache_option(settings))
    for index, text in enumerate(settings.texts("cache2")):
        where = settings.where("cache2", index)
        try:
            specs.append(parse_cache2(text, where, settings.number("cache-store-sync")))
        except ConfigError as error:
            errors.append(ConfigError(f"cache2 = {text}: {error.message}", where))
    errors += _clashes(specs)
    return tuple(specs), errors


def ignored_keys(text: str) -> list[str]:
    """The keys of a cache2 text that mean nothing here."""
    return [key for key, _ in _pairs(text) if key in _IGNORED]


def named(specs: tuple[CacheSpec, ...], name: str) -> CacheSpec | None:
    """The cache of that name; the first one for no name, and for ``default`` where none has this name."""
    found = next((spec for spec in specs if spec.name == name), None)
    return (specs[0] if specs else None) if found is None and name in ("", DEFAULT) else found


def _of_cache_option(settings: Settings) -> CacheSpec:
    items = settings.number("cache")
    return CacheSpec(
        DEFAULT,
        items,
        items,
        blocksize=settings.number("cache-blocksize"),
        store=settings.text("cache-store"),
        store_sync=settings.number("cache-store-sync"),
        lastmod=settings.flag("cache-use-last-modified"),
        where=settings.where("cache"),
    )


def _clashes(specs: list[CacheSpec]) -> Iterator[ConfigError]:
    names: dict[str, str] = {}
    stores: dict[str, str] = {}
    for spec in specs:
        if spec.name in names:
            yield ConfigError(f"a cache named {spec.name} is there already ({names[spec.name]})", spec.where)
        elif spec.store and spec.store in stores:
            yield ConfigError(f"store={spec.store} belongs to the cache at {stores[spec.store]} already", spec.where)
        names.setdefault(spec.name, spec.where)
        stores.setdefault(spec.store, spec.where)


def parse_cache2(text: str, where: str = "", store_sync: int = 0) -> CacheSpec:
    """One ``cache2`` text. ``store_sync`` is for a text that says nothing of it. Raises :class:`ConfigError`."""
    given: dict[str, object] = {"store_sync": store_sync}
    seen: dict[str, str] = {}
    for key, value in _pairs(text):
        field = _ALIASES.get(key, key)
        if field in seen:
            raise ConfigError(f"{key} is given twice" if seen[field] == key else f"{key} and {seen[field]} are one key")
        seen[field] = key
        if field in _REFUSED:
            raise ConfigError(f"{key} is not supported: {_REFUSED[field]}")
        if field not in _KEYS:
            raise ConfigError(f"unknown key {key}{_nearest(key)}")
        given[field] = _KEYS[field](key, value)
    for hashing in _IGNORED & given.keys():
        del given[hashing]
    if "url" in given:
        return _elsewhere(given, seen, where)
    if "name" not in given or "items" not in given:
        missing = "name" if "name" not in given else "items"
        raise ConfigError(f"{missing}= is missing (expected name=NAME,items=NUMBER,...)")
    given.setdefault("blocks", given["items"])
    spec = CacheSpec(where=where, **given)  # type: ignore[arg-type]  # each key's own function made its type
    if spec.blocks < spec.items:
        raise ConfigError(f"blocks={spec.blocks} is less than items={spec.items}: each item takes a block at least")
    return spec


def _elsewhere(given: dict[str, object], seen: dict[str, str], where: str) -> CacheSpec:
    """A cache on a Redis server."""
    if "name" not in given:
        raise ConfigError("name= is missing (expected name=NAME,url=URL)")
    idle = [key for field, key in seen.items() if field not in (*_ELSEWHERE, *_IGNORED)]
    if idle:
        raise ConfigError(f"{', '.join(idle)} mean nothing with url=: the Redis server decides that")
    kept = {field: given[field] for field in _ELSEWHERE if field in given}
    return CacheSpec(items=0, blocks=0, where=where, **kept)  # type: ignore[arg-type]  # as above


def shown_url(url: str) -> str:
    """A URL without user, password and query."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "localhost"
    return f"{parts.scheme}://{host}:{parts.port or 6379}{parts.path.rstrip('/')}"


def _pairs(text: str) -> Iterator[tuple[str, str | None]]:
    """``key=value`` separated by commas, a backslash before what is meant as itself; None: the key alone."""
    for part in filter(str.strip, _split(text, ",")):
        key, *rest = _split(part, "=", 1)
        yield _plain(key).strip().replace("-", "_"), _plain(rest[0]).strip() if rest else None


def _split(text: str, separator: str, most: int = -1) -> list[str]:
    """As ``str.split``, over separators that have no backslash before them."""
    parts = [""]
    escaped = False
    for character in text:
        if character == separator and not escaped and most != 0:
            parts.append("")
            most -= 1
        else:
            parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def _plain(text: str) -> str:
    """Without the backslashes."""
    out, escaped = "", False
    for character in text:
        escaped = character == "\\" and not escaped
        out += "" if escaped else character
    return out


def _number(low: int, high: int) -> Callable[[str, str | None], int]:
    def convert(key: str, value: str | None) -> int:
        digits = value or ""
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18 and low <= int(digits) <= high):
            raise ConfigError(f"{key}={digits}: expected a whole number from {low} to {high}")
        return int(digits)

    return convert


def _signed(key: str, value: str | None) -> int:
    digits = (value or "").removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and -(1 << 63) <= int(value or "") < 1 << 63):
        raise ConfigError(f"{key}={value or ''}: expected a whole number of 64 bits")
    return int(value or "")


def _flag(key: str, value: str | None) -> bool:
    word = "1" if value is None else value.lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ConfigError(f"{key}={value}: expected 1 or 0")


def _name(key: str, value: str | None) -> str:
    name = value or ""
    if not name or len(name) > 255 or any(character in " \t@/" or not character.isprintable() for character in name):
        raise ConfigError(f"{key}={name}: expected 1 to 255 characters without spaces, slashes and @")
    return name


def _path(key: str, value: str | None) -> str:
    if not value:
        raise ConfigError(f"{key}=: expected the path of a file")
    return value


def _url(key: str, value: str | None) -> str:
    try:
        parts = urlsplit(value or "")
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    is_network = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and port != 0
    database = parts.path.strip("/")
    is_file = parts.scheme == "unix" and not parts.hostname and bool(parts.path)
    if not (is_file or (is_network and (not database or database.isdigit()))) or parts.fragment:
        raise ConfigError(f"{key}: {_URLS}")
    return value or ""


def _anything(key: str, value: str | None) -> str:
    return value or ""


def _nearest(key: str) -> str:
    """``; did you mean X?``, or all the keys there are."""
    known = [*_KEYS, *_ALIASES]
    close = difflib.get_close_matches(key, known, 1, 0.7)
    return f"; did you mean {close[0]}?" if close else f" (known: {', '.join(_KEYS)})"


_ALIASES = {
    **dict.fromkeys(("max_items", "maxitems"), "items"),
    "hash_size": "hashsize",
    "key_size": "keysize",
    "storesync": "store_sync",
    "storedelete": "store_delete",
    "lru": "purge_lru",
    "lazy": "lazy_expire",
    "nodes": "node",
    **dict.fromkeys(("udp_servers", "udp_server", "udpservers", "udpserver"), "udp"),
}
_IGNORED = {"hash", "hashsize"}
_ELSEWHERE = ("name", "url", "blocksize", "keysize", "math_initial", "expires")
_URLS = (
    "expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], the same with rediss:// (TLS), or unix:///PATH[?db=N]"
)
_KEYS: dict[str, Callable[[str, str | None], object]] = {
    "name": _name,
    "items": _number(1, ITEMS_MOST),
    "blocks": _number(1, ITEMS_MOST),
    "blocksize": _number(1, BLOCKSIZE_MOST),
    "keysize": _number(1, KEYSIZE_MOST),
    "hash": _anything,
    "hashsize": _number(1, 1 << 40),
    "store": _path,
    "store_sync": _number(0, FOR_EVER),
    "store_delete": _flag,
    "bitmap": _flag,
    "lastmod": _flag,
    "math_initial": _signed,
    "ignore_full": _flag,
    "purge_lru": _flag,
    "lazy_expire": _flag,
    "sweep_on_full": _number(0, FOR_EVER),
    "clear_on_full": _flag,
    "no_expire": _flag,
    "expires": _number(0, FOR_EVER),
    "url": _url,
}
_REFUSED = {
    "node": "a cache belongs to one machine; its changes are not sent to others (url=redis://... is for several)",
    "sync": "a cache belongs to one machine; it is not copied from others (store=FILE makes it last)",
    "udp": "a cache belongs to one machine; it takes no changes from others (url=redis://... is for several)",
}

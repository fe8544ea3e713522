"""``uwsgirouterctl cache``: look into the caches of a running router, and change them.

One idea: the files of the caches are opened as the router's own processes open them, so nothing of the router has to
answer, and what is changed counts for the next request. It finds the router by its directory
(:mod:`~uwsgirouter.cache.place`); of several it wants to be told which.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from uwsgirouter.cache.access import CacheFull, CacheTrouble
from uwsgirouter.cache.base import NamedCache
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.environment import Role
from uwsgirouter.cache.place import Running, running
from uwsgirouter.cache.specs import CacheSpec, named
from uwsgirouter.control.base import Command, Exit, Failure, number
from uwsgirouter.errors import BootError

_DESCRIPTION = """\
Look into the caches of a running router, and change them. A change counts for the next request.

    uwsgirouterctl cache get example.com
    uwsgirouterctl cache set example.com 127.0.0.1:4040,5
    uwsgirouterctl cache list
    uwsgirouterctl cache load mappings.txt

A file for load has one item a line, KEY VALUE or KEY=VALUE; lines that begin with # and empty ones are skipped. Either
the whole file counts or, with an error that names the lines, nothing of it. list prints what load reads."""

_EXPIRES_MOST = 10**9


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--router", metavar="ROUTER", help="pid of the master, or name of its configuration; not needed for one router"
    )
    parser.add_argument("--cache", metavar="NAME", default="", help="the cache (default: the first one)")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    get = actions.add_parser("get", help="print the value of a key", allow_abbrev=False)
    get.add_argument("key", metavar="KEY")
    put = actions.add_parser("set", help="add an item, or replace it", allow_abbrev=False)
    put.add_argument("key", metavar="KEY")
    put.add_argument("value", metavar="VALUE")
    _expires(put)
    delete = actions.add_parser("del", help="remove an item", allow_abbrev=False)
    delete.add_argument("key", metavar="KEY")
    listing = actions.add_parser("list", help="print all items, sorted", allow_abbrev=False)
    listing.add_argument("--prefix", metavar="TEXT", default="", help="only keys that begin with this")
    load = actions.add_parser("load", help="add or replace the items of a file", allow_abbrev=False)
    load.add_argument("file", metavar="FILE", help="- is standard input")
    load.add_argument("--replace", action="store_true", help="remove all other items in the same step")
    _expires(load)
    stats = actions.add_parser("stats", help="print how full the caches are and how often they were asked")
    stats.add_argument("--json", action="store_true", help="as JSON")


def _expires(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expires", metavar="S", type=number(0, _EXPIRES_MOST), default=0, help="seconds after which it is gone"
    )


def _run(options: argparse.Namespace) -> Exit:
    router = _router(options.router, running())
    if options.action == "stats":
        return _stats(options, router)
    spec = named(router.caches, options.cache)
    if spec is None:
        names = ", ".join(spec.name for spec in router.caches) or "none"
        raise Failure(Exit.NOT_FOUND, f"{_label(router)} has no cache {options.cache!r}; there are: {names}")
    caches = _open(router, (spec,))
    try:
        _reach(caches.named(spec.name))
        return _ACTIONS[options.action](caches.named(spec.name), options)
    finally:
        caches.close()


def _router(wanted: str | None, found: list[Running]) -> Running:
    """The router that is meant. Without a word about it only those of our own user count."""
    if wanted is None:
        candidates = [router for router in found if router.mine]
    else:
        candidates = [router for router in found if wanted in (str(router.pid), router.source)]
    if len(candidates) == 1:
        return candidates[0]
    shown = "; ".join(_label(router) for router in (candidates or found)) or "none"
    if candidates:
        raise Failure(Exit.USAGE, f"several routers with caches run, say which with --router PID: {shown}")
    what = "no router with caches runs as this user" if wanted is None else f"no router {wanted} with caches runs"
    raise Failure(Exit.NOT_FOUND, f"{what} (running: {shown})")


def _label(router: Running) -> str:
    return f"pid {router.pid} [{router.source or 'command line'}]"


def _open(router: Running, specs: tuple[CacheSpec, ...]) -> Caches:
    try:
        return Caches(specs, router.directory, _complain, Role.GUEST)
    except BootError as error:
        raise Failure(Exit.NO_CONNECTION, str(error)) from None


def _reach(cache: NamedCache) -> None:
    """Raises :class:`Failure` when it is on a server that does not answer."""
    try:
        cache.check()
    except CacheTrouble as error:
        raise Failure(Exit.NO_CONNECTION, str(error)) from None


def _get(cache: NamedCache, options: argparse.Namespace) -> Exit:
    value = cache.get(_bytes(options.key))
    if value is None:
        raise Failure(Exit.NOT_FOUND, f"{cache.spec.name} has no {options.key}")
    sys.stdout.buffer.write(value + b"\n")
    return Exit.OK


def _set(cache: NamedCache, options: argparse.Namespace) -> Exit:
    _check(cache.spec, _bytes(options.key), _bytes(options.value))
    _load_into(cache, [(_bytes(options.key), _bytes(options.value))], options.expires)
    return Exit.OK


def _delete(cache: NamedCache, options: argparse.Namespace) -> Exit:
    if not cache.delete(_bytes(options.key)):
        raise Failure(Exit.NOT_FOUND, f"{cache.spec.name} has no {options.key}")
    return Exit.OK


def _list(cache: NamedCache, options: argparse.Namespace) -> Exit:
    for key, value, _ in cache.items():
        if key.startswith(_bytes(options.prefix)):
            sys.stdout.buffer.write(key + b" " + value + b"\n")
    return Exit.OK


def _load(cache: NamedCache, options: argparse.Namespace) -> Exit:
    text = _read(options.file)
    items: dict[bytes, tuple[int, bytes]] = {}
    problems = []
    for line, key, value in _lines(text):
        try:
            if value is None:
                raise Failure(Exit.USAGE, f"{_shown(key)}: expected KEY VALUE or KEY=VALUE")
            if key in items:
                raise Failure(Exit.USAGE, f"{_shown(key)} stands in line {items[key][0]} already")
            _check(cache.spec, key, value)
        except Failure as failure:
            problems.append(f"{options.file}:{line}: {failure}")
        else:
            items[key] = (line, value)
    if problems:
        raise Failure(Exit.USAGE, "\n".join([*problems, "nothing was loaded"]))
    pairs = [(key, value) for key, (_, value) in items.items()]
    count = _load_into(cache, pairs, options.expires, options.replace)
    print(f"{count} items loaded into {cache.spec.name}")
    return Exit.OK


def _read(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure(Exit.NOT_FOUND, f"cannot read {path}: {error.strerror}") from None


def _lines(text: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Number, key and value of each line with an item; no value when the line is none."""
    for index, line in enumerate(text.split(b"\n"), 1):
        words = line.strip().split(None, 1)
        if not words or words[0].startswith(b"#"):
            continue
        if b"=" in words[0]:
            key, _, value = line.strip().partition(b"=")
            yield index, key, value.strip()
        elif len(words) == 2 and words[1].startswith(b"="):
            yield index, words[0], words[1][1:].strip()
        else:
            yield index, words[0], words[1] if len(words) == 2 else None


def _check(spec: CacheSpec, key: bytes, value: bytes) -> None:
    """Raises :class:`Failure` for what the cache can never take."""
    if not 1 <= len(key) <= spec.keysize:
        raise Failure(Exit.USAGE, f"a key of {spec.name} has 1 to {spec.keysize} bytes, this one {len(key)}")
    if not 1 <= len(value) <= spec.value_most:
        raise Failure(Exit.USAGE, f"a value of {spec.name} has 1 to {spec.value_most} bytes, this one {len(value)}")


def _load_into(cache: NamedCache, items: list[tuple[bytes, bytes]], expires: int, replacing_all: bool = False) -> int:
    try:
        return cache.load(items, expires, replacing_all)
    except CacheFull as error:
        raise Failure(Exit.NO_ROOM, f"{error}; nothing was changed") from None
    except CacheTrouble as error:
        raise Failure(Exit.NOT_WRITTEN, str(error)) from None


def _stats(options: argparse.Namespace, router: Running) -> Exit:
    specs = tuple(spec for spec in router.caches if options.cache in ("", spec.name))
    if not specs:
        raise Failure(Exit.NOT_FOUND, f"{_label(router)} has no cache {options.cache!r}")
    caches = _open(router, specs)
    try:
        for opened in caches:
            _reach(opened)
        figures = [cache.stats() for cache in caches]
    finally:
        caches.close()
    if options.json:
        print(json.dumps(figures, indent=1))
        return Exit.OK
    for cache in figures:
        if "url" in cache:
            print(
                f"{cache['name']}: {cache['items']} items ({cache['expiring']} expire) on {cache['url']}, "
                f"{cache['hits']} hits, {cache['miss']} misses, {cache['full']} times not written"
            )
            continue
        print(
            f"{cache['name']}: {cache['items']} of {cache['max_items']} items ({cache['expiring']} expire), "
            f"{cache['used_blocks']} of {cache['blocks']} blocks of {cache['blocksize']} bytes, {cache['hits']} hits, "
            f"{cache['miss']} misses, full {cache['full']} times{_since(cache)}{_stored(cache)}"
        )
    return Exit.OK


def _since(cache: dict[str, object]) -> str:
    return f", changed at {cache['last_modified_at']}" if cache["last_modified_at"] else ""


def _stored(cache: dict[str, object]) -> str:
    return f", stored in {cache['store']}" if cache["store"] else ""


def _bytes(text: str) -> bytes:
    # Arguments that are no UTF-8 keep the bytes they had on the command line.
    return text.encode("utf-8", "surrogateescape")


def _shown(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _complain(text: str) -> None:
    print(f"uwsgirouterctl cache: {text}", file=sys.stderr)


_ACTIONS = {"get": _get, "set": _set, "del": _delete, "list": _list, "load": _load}

COMMAND = Command("cache", "look into the caches of a running router, and change them", _DESCRIPTION, _arguments, _run)

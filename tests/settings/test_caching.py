"""From the text of cache and cache2 to specifications."""

from __future__ import annotations

import dataclasses

import pytest

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.caching import CacheSpec, cache_specs, ignored_keys, named, parse_cache2
from uwsgirouter.settings.settings import Settings


def changed(text: str) -> dict[str, object]:
    """The fields that a text gives other values than a plain cache of 10 items has."""
    plain = dataclasses.asdict(CacheSpec("x", 10, 10))
    found = dataclasses.asdict(parse_cache2(f"name=x,items=10,{text}"))
    return {name: value for name, value in found.items() if value != plain[name]}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {}),
        ("blocksize=1", {"blocksize": 1}),
        ("blocks=20", {"blocks": 20}),
        ("keysize=65534", {"keysize": 65534}),
        ("key_size=100", {"keysize": 100}),
        ("bitmap=1", {"bitmap": True}),
        ("bitmap=0", {}),
        ("bitmap", {"bitmap": True}),
        ("purge_lru=true", {"purge_lru": True}),
        ("lru=1", {"purge_lru": True}),
        ("lazy=1", {"lazy_expire": True}),
        ("lazy_expire=no", {}),
        ("sweep_on_full=5", {"sweep_on_full": 5}),
        ("clear_on_full=1,ignore_full=on", {"clear_on_full": True, "ignore_full": True}),
        ("no_expire=1", {"no_expire": True}),
        ("lastmod=1", {"lastmod": True}),
        ("math_initial=-3", {"math_initial": -3}),
        ("expires=60", {"expires": 60}),
        ("store=/var/cache/x.db", {"store": "/var/cache/x.db"}),
        ("store=/odd\\,name\\=x", {"store": "/odd,name=x"}),
        ("store=a=b", {"store": "a=b"}),
        ("store=x,store_sync=5,store_delete=1", {"store": "x", "store_sync": 5, "store_delete": True}),
        ("storesync=5,storedelete=1", {"store_sync": 5, "store_delete": True}),
        ("hash=murmur2,hashsize=65536", {}),
        ("store-sync=5", {"store_sync": 5}),
        (" blocksize = 5 ,", {"blocksize": 5}),
    ],
)
def test_keys(text: str, fields: dict[str, object]) -> None:
    assert changed(text) == fields


@pytest.mark.parametrize("key", ["items", "maxitems", "max_items", "max-items"])
def test_names_of_the_number_of_items(key: str) -> None:
    assert parse_cache2(f"name=x,{key}=7") == CacheSpec("x", 7, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("items=10", "name= is missing"),
        ("name=x", "items= is missing"),
        ("", "name= is missing"),
        ("name=,items=1", "name=: expected 1 to 255 characters"),
        ("name=a b,items=1", "expected 1 to 255 characters without spaces"),
        ("name=a@b,items=1", "without spaces, slashes and @"),
        ("name=x,items=0", "items=0: expected a whole number from 1 to 100000000"),
        ("name=x,items=ten", "items=ten: expected a whole number"),
        ("name=x,items", "items=: expected a whole number"),
        ("name=x,items=1,items=2", "items is given twice"),
        ("name=x,items=1,max_items=2", "max_items and items are one key"),
        ("name=x,items=5,blocks=4", "blocks=4 is less than items=5"),
        ("name=x,items=5,blocksize=0", "blocksize=0: expected"),
        ("name=x,items=5,keysize=65535", "keysize=65535: expected a whole number from 1 to 65534"),
        ("name=x,items=5,bitmap=2", "bitmap=2: expected 1 or 0"),
        ("name=x,items=5,store=", "store=: expected the path of a file"),
        ("name=x,items=5,math_initial=x", "math_initial=x: expected a whole number of 64 bits"),
        ("name=x,items=5,math_initial=9223372036854775808", "expected a whole number of 64 bits"),
        ("name=x,items=5,blocksizes=1", "unknown key blocksizes; did you mean blocksize?"),
        ("name=x,items=5,purge_rlu=1", "unknown key purge_rlu; did you mean purge_lru?"),
        ("name=x,items=5,zzz=1", r"unknown key zzz \(known: name, items, blocks, blocksize, keysize"),
        ("name=x,items=5,udp=:4040", "udp is not supported: a cache belongs to one machine; it takes no changes"),
        ("name=x,items=5,udpservers=:4040", "udpservers is not supported"),
        ("name=x,items=5,node=10.0.0.1:1", "node is not supported: a cache belongs to one machine; its changes"),
        ("name=x,items=5,nodes=10.0.0.1:1", "nodes is not supported"),
        ("name=x,items=5,sync=10.0.0.1:1", "sync is not supported: .*it is not copied from others"),
    ],
)
def test_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_cache2(text)


def test_the_cache_option() -> None:
    settings = Settings.of(
        cache=100, cache_blocksize=5, cache_store="/s", cache_store_sync=3, cache_use_last_modified=True
    )
    (spec,) = cache_specs(settings)
    assert spec == CacheSpec(
        "default", 100, 100, blocksize=5, store="/s", store_sync=3, lastmod=True, where="test: cache"
    )
    assert cache_specs(Settings.of(cache=100)) == (CacheSpec("default", 100, 100, where="test: cache"),)
    assert cache_specs(Settings.of()) == ()


def test_the_order_and_the_general_sync() -> None:
    settings = Settings.of(
        cache2=["name=a,items=1,store=x", "name=b,items=1,store=y,store_sync=0"], cache=1, cache_store_sync=9
    )
    assert [(spec.name, spec.store_sync) for spec in cache_specs(settings)] == [("default", 9), ("a", 9), ("b", 0)]


def test_every_fault_is_told_with_its_place() -> None:
    with pytest.raises(ConfigError) as raised:
        cache_specs(Settings.of(cache2=["name=a", "name=b,items=1", "name=b,items=2"]))
    assert str(raised.value).splitlines() == [
        "test: cache2: cache2 = name=a: items= is missing (expected name=NAME,items=NUMBER,...)",
        "test: cache2: a cache named b is there already (test: cache2)",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": 1, "cache2": "name=default,items=1"}, "a cache named default is there already"),
        (
            {"cache2": ["name=a,items=1,store=s", "name=b,items=1,store=s"]},
            "store=s belongs to the cache at test: cache2",
        ),
        ({"cache": 1, "cache_store": "s", "cache2": "name=a,items=1,store=s"}, "store=s belongs to"),
    ],
)
def test_two_caches_in_one_place(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cache_specs(Settings.of(**options))


def test_the_longest_value() -> None:
    assert parse_cache2("name=x,items=2,blocks=8,blocksize=4").value_most == 4
    assert parse_cache2("name=x,items=2,blocks=8,blocksize=4,bitmap=1").value_most == 32


def test_names() -> None:
    specs = cache_specs(Settings.of(cache2=["name=a,items=1", "name=b,items=1"]))
    assert named(specs, "b") is specs[1]
    assert named(specs, "") is named(specs, "default") is specs[0]
    assert named(specs, "c") is named((), "") is None


def test_what_means_nothing() -> None:
    assert ignored_keys("name=x,items=1,hash=djb33x,hash-size=1,hashsize=5") == ["hash", "hashsize"]

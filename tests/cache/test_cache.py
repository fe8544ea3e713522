"""What one cache does with keys, values, ends of life and numbers."""

from __future__ import annotations

import time
import timeit
from pathlib import Path

import pytest

from tests.cache.made import Open, consistent, spec


def test_set_adds_and_update_replaces(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        assert cache.get(b"k") is None
        assert cache.set(b"k", b"1")
        assert not cache.set(b"k", b"2")
        assert cache.get(b"k") == b"1"
        assert cache.update(b"k", b"22")
        assert cache.get(b"k") == b"22"
        assert cache.update(b"other", b"3")
        assert sorted(cache.keys()) == [b"k", b"other"]
        consistent(cache)


def test_delete_and_clear(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.set(b"a", b"1")
        cache.set(b"b", b"2", 10)
        assert cache.delete(b"a")
        assert not cache.delete(b"a")
        assert not cache.exists(b"a") and cache.exists(b"b")
        consistent(cache)
        assert cache.clear() and cache.clear()
        assert cache.keys() == []
        consistent(cache)
        assert cache.set(b"b", b"3")
        consistent(cache)


@pytest.mark.parametrize("size", [1, 255, 510, 511, 512, 2048])
def test_keys_of_every_length(tmp_path: Path, size: int) -> None:
    """LMDB itself takes keys of at most 511 bytes."""
    with Open(tmp_path) as opened:
        cache = opened.cache
        keys = [bytes([letter]) + b"k" * (size - 1) for letter in b"ab"]
        keys += [b"k" * (size - 1) + bytes([letter]) for letter in b"ab"] if size > 1 else []
        for number, key in enumerate(keys):
            assert cache.set(key, b"%d" % number)
        assert [cache.get(key) for key in keys] == [b"%d" % number for number in range(len(keys))]
        assert sorted(cache.keys()) == sorted(keys)
        assert all(cache.exists(key) for key in keys)
        assert cache.update(keys[0], b"new") and cache.get(keys[0]) == b"new"
        assert cache.delete(keys[0]) and cache.get(keys[0]) is None
        consistent(cache)


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"", b"v"), (b"k", b""), (b"k" * 2049, b"v"), (b"k", b"v" * 65537)],
    ids=lambda text: str(len(text)),
)
def test_what_uwsgi_refuses_is_refused(tmp_path: Path, key: bytes, value: bytes) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        assert not cache.set(key, value)
        assert not cache.update(key, value)
        assert cache.keys() == []
        assert cache.get(key) is None
        assert not cache.exists(key)
        assert not cache.delete(key)
        assert opened.said == []


def test_the_largest_value(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        value = bytes(range(256)) * 256
        assert opened.cache.set(b"k", value)
        assert opened.cache.get(b"k") == value


def test_sizes_are_those_of_the_specification(tmp_path: Path) -> None:
    with Open(tmp_path, spec(blocksize=4, keysize=2)) as opened:
        cache = opened.cache
        assert cache.set(b"kk", b"1234")
        assert not cache.set(b"kkk", b"1")
        assert not cache.set(b"l", b"12345")
        assert not cache.inc(b"l"), "a number has 8 bytes"


def test_the_end_of_a_life(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.set(b"k", b"1", 10)
        opened.now += 9.99
        assert cache.get(b"k") == b"1"
        opened.now += 0.01
        assert cache.get(b"k") is None
        assert not cache.exists(b"k")
        assert cache.keys() == [] and cache.items() == []
        assert not cache.delete(b"k")
        assert cache.set(b"k", b"2"), "what is over is not there"
        opened.now += 1e6
        assert cache.get(b"k") == b"2"
        consistent(cache)


def test_update_gives_a_new_life(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.set(b"k", b"1", 10)
        cache.update(b"k", b"2", 100)
        opened.now += 50
        assert cache.get(b"k") == b"2"
        cache.update(b"k", b"3")
        opened.now += 1e6
        assert cache.get(b"k") == b"3"
        consistent(cache)


def test_a_negative_life_is_none(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        assert opened.cache.set(b"k", b"1", -1)
        opened.now += 1e9
        assert opened.cache.get(b"k") == b"1"


def test_expires_of_the_cache_is_for_items_without_their_own(tmp_path: Path) -> None:
    with Open(tmp_path, spec(expires=10)) as opened:
        cache = opened.cache
        cache.set(b"short", b"1")
        cache.set(b"long", b"1", 100)
        cache.inc(b"number")
        opened.now += 11
        assert cache.keys() == [b"long"]


def test_items_tell_the_end(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        opened.cache.set(b"a", b"1")
        opened.cache.set(b"b", b"2", 10)
        assert opened.cache.items() == [(b"a", b"1", 0.0), (b"b", b"2", opened.now + 10)]


def test_numbers(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        assert cache.num(b"n") == 0
        assert cache.inc(b"n") and cache.inc(b"n", 5) and cache.dec(b"n", 2)
        assert cache.num(b"n") == 4
        assert cache.mul(b"n") and cache.mul(b"n", -3)
        assert cache.num(b"n") == -24
        assert cache.div(b"n", 5)
        assert cache.num(b"n") == -4, "C divides towards zero"
        assert cache.get(b"n") == (-4).to_bytes(8, "little", signed=True)
        assert cache.div(b"n", 0)
        assert cache.num(b"n") == 0
        assert cache.dec(b"m") and cache.num(b"m") == -1
        consistent(cache)


def test_numbers_go_round_at_64_bits(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.inc(b"n", (1 << 63) - 1)
        cache.inc(b"n")
        assert cache.num(b"n") == -(1 << 63)


def test_a_new_number_begins_at_math_initial(tmp_path: Path) -> None:
    with Open(tmp_path, spec(math_initial=-7)) as opened:
        opened.cache.mul(b"n", 2)
        assert opened.cache.num(b"n") == -14


def test_counting_does_not_lengthen_a_life(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.inc(b"n", 1, 10)
        opened.now += 6
        cache.inc(b"n", 1, 10)
        assert cache.num(b"n") == 2
        opened.now += 6
        assert cache.num(b"n") == 0
        cache.inc(b"n", 5)
        assert cache.num(b"n") == 5, "what is over begins anew"


def test_an_item_that_is_no_number_stays_what_it_is(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.set(b"k", b"text")
        assert not cache.inc(b"k")
        assert cache.get(b"k") == b"text"
        assert cache.num(b"k") == 0


def test_the_time_of_the_last_change(tmp_path: Path) -> None:
    with Open(tmp_path, spec(lastmod=True)) as opened:
        cache = opened.cache

        def changed() -> bool:
            opened.now += 5
            return cache.stats()["last_modified_at"] == opened.now - 5

        assert cache.stats()["last_modified_at"] == 0
        assert cache.set(b"k", b"1") and changed()
        assert cache.update(b"k", b"2") and changed()
        assert cache.delete(b"k") and changed()
        assert cache.inc(b"k") and changed()
        assert cache.clear() and changed()
        assert not cache.delete(b"k") and not changed()
    with Open(tmp_path / "..", spec("no", lastmod=False)) as opened:
        opened.cache.set(b"k", b"1")
        assert opened.cache.stats()["last_modified_at"] == 0
        for suffix in ("", "-lock", "-shared"):
            Path(opened.cache._env.path() + suffix).unlink()


def test_stats(tmp_path: Path) -> None:
    with Open(tmp_path, spec("name", 3, blocksize=100)) as opened:
        cache = opened.cache
        cache.set(b"a", b"1")
        cache.set(b"b", b"1", 10)
        for key in (b"a", b"a", b"b", b"nothing"):
            cache.get(key)
        opened.now += 11
        cache.get(b"b")
        assert cache.stats() == {
            "name": "name",
            "items": 2,
            "max_items": 3,
            "used_blocks": 2,
            "blocks": 3,
            "blocksize": 100,
            "keysize": 2048,
            "hits": 3,
            "miss": 2,
            "full": 0,
            "expiring": 1,
            "last_modified_at": 0,
            "store": "",
        }


def test_load_is_one_step(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.set(b"a", b"old")
        cache.set(b"z", b"old")
        assert cache.load([(b"a", b"new"), (b"b", b"new")], expires=10) == 2
        assert cache.items() == [(b"a", b"new", opened.now + 10), (b"b", b"new", opened.now + 10), (b"z", b"old", 0.0)]
        assert cache.load([(b"c", b"new")], replacing_all=True) == 1
        assert cache.keys() == [b"c"]
        consistent(cache)


def test_several_caches_have_nothing_in_common(tmp_path: Path) -> None:
    with Open(tmp_path, spec("one"), spec("two"), spec("o/n e%é")) as opened:
        for cache in opened.caches:
            assert cache.set(b"k", cache.spec.name.encode())
        assert [cache.get(b"k") for cache in opened.caches] == [b"one", b"two", "o/n e%é".encode()]
        assert opened.caches.named("").spec.name == "one"
        assert opened.caches.named("default").spec.name == "one", "a name of its own, or the first"
        assert opened.caches.named("two").spec.name == "two"
        assert opened.caches.find("three") is None
        with pytest.raises(KeyError):
            opened.caches.named("three")


def test_default_is_the_cache_of_that_name_if_there_is_one(tmp_path: Path) -> None:
    with Open(tmp_path, spec("one"), spec("default")) as opened:
        assert opened.caches.named("default").spec.name == "default"
        assert opened.caches.named("").spec.name == "one"


@pytest.mark.parametrize("lru", [False, True])
def test_a_look_up_costs_under_5_microseconds(tmp_path: Path, lru: bool) -> None:
    """The best of several rounds: what else the machine does can only make it slower."""
    with Open(tmp_path, spec(items=2000, purge_lru=lru)) as opened:
        cache = opened.cache
        cache.load([(b"host%d.example.com" % number, b"127.0.0.1:%d" % number) for number in range(2000)])
        cache._clock = time.time  # the real one: it is a part of the cost
        for key in (b"host77.example.com", b"nobody.example.com"):
            best = min(timeit.repeat(lambda key=key: cache.get(key), number=2000, repeat=15)) / 2000
            assert best < 5e-6, f"{best * 1e6:.2f} us"


def test_trouble_at_run_time_is_a_miss_and_a_line(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        cache.set(b"k", b"1")
        cache._env.close()
        assert cache.get(b"k") is None
        assert not cache.set(b"l", b"1")
        assert not cache.delete(b"k")
        assert cache.keys() == [] and not cache.exists(b"k") and cache.sweep() == 0
        assert len(opened.said) == 1, "once a second is enough"
        assert "cache default: " in opened.said[0]

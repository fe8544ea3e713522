"""A full cache, by each policy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cache.made import Open, consistent, spec
from uwsgirouter.cache.access import CacheFull, CacheTrouble
from uwsgirouter.cache.cache import Cache


def fill(cache: Cache, count: int) -> list[bytes]:
    """Items k00, k01, ..., each a little later than the one before it."""
    keys = [b"k%02d" % number for number in range(count)]
    for key in keys:
        assert cache.set(key, b"v")
    return keys


def test_without_a_policy_nothing_more_is_taken(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        keys = fill(cache, 10)
        assert not cache.set(b"more", b"v")
        assert not cache.update(b"more", b"v")
        assert not cache.inc(b"more")
        assert cache.keys() == keys
        assert cache.update(keys[0], b"new"), "what is there can change"
        assert opened.said == ['*** DANGER cache "default" is FULL !!! ***'], "once a second"
        assert cache.stats()["full"] == 3
        assert cache.delete(keys[0]) and cache.set(b"more", b"v")
        consistent(cache)


def test_ignore_full_says_nothing(tmp_path: Path) -> None:
    with Open(tmp_path, spec(ignore_full=True)) as opened:
        fill(opened.cache, 10)
        assert not opened.cache.set(b"more", b"v")
        assert opened.said == []
        assert opened.cache.stats()["full"] == 1


def test_an_item_that_is_over_takes_room_until_it_is_swept(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        fill(cache, 9)
        cache.set(b"short", b"v", 5)
        opened.now += 6
        assert not cache.set(b"more", b"v")
        assert cache.set(b"short", b"v", 5), "its own place is its own"
        opened.now += 6
        assert cache.sweep() == 1
        assert cache.set(b"more", b"v")
        consistent(cache)


def test_sweep_on_full(tmp_path: Path) -> None:
    with Open(tmp_path, spec(sweep_on_full=1)) as opened:
        cache = opened.cache
        fill(cache, 8)
        cache.set(b"a", b"v", 5)
        cache.set(b"b", b"v", 5)
        assert not cache.set(b"more", b"v")
        opened.now += 6
        assert cache.set(b"more", b"v")
        assert cache.stats()["items"] == 9
        consistent(cache)


def test_clear_on_full(tmp_path: Path) -> None:
    with Open(tmp_path, spec(clear_on_full=True)) as opened:
        cache = opened.cache
        fill(cache, 10)
        assert cache.set(b"more", b"v")
        assert cache.keys() == [b"more"]
        consistent(cache)


def test_clear_on_full_lets_live_what_a_sweep_made_room_for(tmp_path: Path) -> None:
    with Open(tmp_path, spec(clear_on_full=True, sweep_on_full=1)) as opened:
        cache = opened.cache
        keys = fill(cache, 9)
        cache.set(b"short", b"v", 5)
        opened.now += 6
        assert cache.set(b"more", b"v")
        assert cache.keys() == [*keys, b"more"]


def test_purge_lru(tmp_path: Path) -> None:
    with Open(tmp_path, spec(purge_lru=True)) as opened:
        cache = opened.cache
        fill(cache, 10)
        assert cache.get(b"k00") and cache.update(b"k01", b"new") and cache.get(b"k02")
        for number in range(4):
            assert cache.set(b"new%d" % number, b"v")
        assert set(cache.keys()) == {b"k00", b"k01", b"k02", b"k07", b"k08", b"k09", b"new0", b"new1", b"new2", b"new3"}
        consistent(cache)


def test_a_use_after_the_candidates_were_looked_out_saves(tmp_path: Path) -> None:
    with Open(tmp_path, spec(purge_lru=True)) as opened:
        cache = opened.cache
        fill(cache, 10)
        cache.set(b"new0", b"v")
        assert cache.get(b"k01") == b"v"
        cache.set(b"new1", b"v")
        assert cache.exists(b"k01") and not cache.exists(b"k02")


def test_purging_goes_round_many_times(tmp_path: Path) -> None:
    """The candidates are looked out anew when they are used up, and the slots are used again."""
    with Open(tmp_path, spec(items=100, purge_lru=True)) as opened:
        cache = opened.cache
        for number in range(1000):
            assert cache.set(b"n%04d" % number, b"v")
        assert cache.keys() == [b"n%04d" % number for number in range(900, 1000)]
        consistent(cache)


def test_uses_in_another_opening_count(tmp_path: Path) -> None:
    with Open(tmp_path, spec(purge_lru=True)) as opened:
        fill(opened.cache, 10)
    with Open(tmp_path, spec(purge_lru=True)) as opened:
        opened.cache.get(b"k00")
    with Open(tmp_path, spec(purge_lru=True)) as opened:
        opened.cache.set(b"new", b"v")
        assert opened.cache.exists(b"k00") and not opened.cache.exists(b"k01")


def test_purging_a_large_cache_is_quick(tmp_path: Path) -> None:
    """A search through 20,000 items for each that goes would take some ten milliseconds each."""
    with Open(tmp_path, spec(items=20000, purge_lru=True)) as opened:
        cache = opened.cache
        cache.load([(b"k%d" % number, b"v") for number in range(20000)])
        began = time.process_time()
        for number in range(1000):
            assert cache.set(b"n%d" % number, b"v")
        assert time.process_time() - began < 1.0


def test_bitmap_counts_blocks(tmp_path: Path) -> None:
    with Open(tmp_path, spec(items=5, blocks=10, blocksize=4, bitmap=True)) as opened:
        cache = opened.cache
        assert cache.set(b"a", b"v" * 13)
        assert cache.stats()["used_blocks"] == 4
        assert cache.set(b"b", b"v" * 24)
        assert cache.stats()["used_blocks"] == 10
        assert not cache.set(b"c", b"v")
        assert cache.update(b"b", b"v" * 20)
        assert cache.set(b"c", b"v" * 4)
        assert not cache.update(b"c", b"v" * 5)
        assert cache.get(b"c") == b"v" * 4
        assert not cache.set(b"d", b"v" * 41), "more than there are blocks"
        consistent(cache)
        assert cache.clear() and cache.stats()["used_blocks"] == 0
        assert cache.set(b"d", b"v" * 40)
        consistent(cache)


def test_bitmap_purges_as_many_as_are_needed(tmp_path: Path) -> None:
    with Open(tmp_path, spec(items=10, blocks=10, blocksize=4, bitmap=True, purge_lru=True)) as opened:
        cache = opened.cache
        fill(cache, 10)
        assert cache.set(b"large", b"v" * 16)
        assert cache.keys() == [b"k04", b"k05", b"k06", b"k07", b"k08", b"k09", b"large"]
        assert cache.update(b"k09", b"v" * 20), "its own blocks are free for it"
        assert cache.stats()["used_blocks"] == 10
        consistent(cache)


def test_load_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        keys = fill(cache, 8)
        with pytest.raises(CacheFull, match="default is full: 2 of 3 items found room"):
            cache.load([(b"a", b"1"), (b"b", b"1"), (b"c", b"1")])
        with pytest.raises(CacheFull, match="11 items are more than the 10 that default holds"):
            cache.load([(b"%d" % number, b"1") for number in range(11)], replacing_all=True)
        with pytest.raises(CacheTrouble, match="too long for default"):
            cache.load([(b"a", b"1"), (b"b", b"1" * 70000)])
        assert cache.keys() == keys
        consistent(cache)


def test_a_file_without_room_fails_softly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB's own limit comes first when it is made too small: the set fails, what is there stays."""
    monkeypatch.setattr("uwsgirouter.cache.environment.map_size", lambda spec: 256 << 10)
    with Open(tmp_path, spec(items=1000)) as opened:
        cache = opened.cache
        done = [number for number in range(40) if cache.set(b"k%02d" % number, b"v" * 10000)]
        assert 5 < len(done) < 40
        assert all(cache.get(b"k%02d" % number) for number in done)
        assert any("MDB_MAP_FULL" in line for line in opened.said)
        consistent(cache)

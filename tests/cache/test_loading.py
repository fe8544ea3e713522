"""What a run of scripts does to caches that live on: it replaces what the run before it set, whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.cache.made import Child, Open, consistent, spec
from uwsgirouter.cache.cache import Cache


def content(cache: Cache) -> dict[bytes, bytes]:
    return {key: value for key, value, _ in cache.items()}


def run(opened: Open, joining: bool = False, **items: str) -> None:
    """One run that sets these items."""
    with opened.caches.loading(joining):
        for key, value in items.items():
            opened.cache.set(key.encode(), value.encode())


def test_what_is_set_again_counts_as_it_is_now(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        run(opened, a="1", b="1", c="1")
        run(opened, a="2", b="1")
        assert content(opened.cache) == {b"a": b"2", b"b": b"1"}, "changed, the same, and gone"
        consistent(opened.cache)


def test_within_a_run_set_does_not_replace(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        run(opened, a="1")
        with opened.caches.loading():
            assert opened.cache.set(b"a", b"2")
            assert not opened.cache.set(b"a", b"3")
        assert content(opened.cache) == {b"a": b"2"}


def test_former_items_are_not_there_for_the_run_and_are_for_everybody_else(tmp_path: Path) -> None:
    seen: list[object] = []

    def look(cache: Cache) -> None:
        seen.append((cache.get(b"a"), cache.exists(b"a"), cache.keys(), cache.set(b"a", b"2")))

    with Open(tmp_path) as opened:
        cache = opened.cache
        run(opened, a="1", n="1")
        with opened.caches.loading():
            assert cache.get(b"a") is None
            assert not cache.exists(b"a")
            assert not cache.delete(b"a")
            assert cache.keys() == [] and cache.items() == []
            assert cache.num(b"n") == 0
            thread = threading.Thread(target=look, args=(cache,))
            thread.start()
            thread.join(10)
            cache.set(b"a", b"3")
        assert seen == [(b"1", True, [b"a", b"n"], False)]


def test_what_was_changed_at_run_time_stays(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        run(opened, a="1", b="1")
        cache.update(b"a", b"by hand")
        cache.set(b"new", b"by hand")
        run(opened, a="2")
        assert content(cache) == {b"a": b"by hand", b"new": b"by hand"}
        cache.delete(b"a")
        run(opened, a="2")
        assert content(cache) == {b"a": b"2", b"new": b"by hand"}, "until it is deleted"


def test_a_run_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        run(opened, a="1", b="1")
        cache.set(b"hand", b"1", 10)
        before = cache.items()
        with pytest.raises(RuntimeError), opened.caches.loading():
            cache.set(b"a", b"2")
            cache.update(b"hand", b"2")
            cache.set(b"new", b"2")
            cache.inc(b"b")
            cache.update(b"b", b"3")
            raise RuntimeError
        assert cache.items() == before
        consistent(cache)
        run(opened, a="3", b="3")
        assert content(cache) == {b"a": b"3", b"b": b"3", b"hand": b"1"}


def test_a_clear_is_taken_back_too(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        for number in range(10):
            cache.set(b"k%d" % number, b"v", number)
        before = cache.items()
        with pytest.raises(RuntimeError), opened.caches.loading():
            cache.clear()
            for number in range(10):
                cache.set(b"n%d" % number, b"v")
            raise RuntimeError
        assert cache.items() == before
        consistent(cache)


def test_what_others_changed_meanwhile_is_not_taken_back(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        cache = opened.cache
        run(opened, a="1")
        with pytest.raises(RuntimeError), opened.caches.loading():
            cache.set(b"a", b"2")
            thread = threading.Thread(target=cache.update, args=(b"a", b"other"))
            thread.start()
            thread.join(10)
            raise RuntimeError
        assert content(cache) == {b"a": b"other"}


def test_a_run_that_was_killed_is_older_than_the_next(tmp_path: Path) -> None:
    code = 'manager = caches.loading(); manager.__enter__(); cache.set(b"a", b"killed"); tell("set"); time.sleep(100)'
    child = Child(tmp_path, spec(), code)
    assert child.hear() == "set"
    child.kill()
    with Open(tmp_path) as opened:
        assert content(opened.cache) == {b"a": b"killed"}
        run(opened, a="1")
        assert content(opened.cache) == {b"a": b"1"}


def test_a_worker_joins_the_run(tmp_path: Path) -> None:
    """What shared-import sets in a worker belongs to the run that was done: a later one replaces it."""
    with Open(tmp_path) as opened:
        cache = opened.cache
        run(opened, a="1")
        run(opened, joining=True, a="other", b="1")
        assert content(cache) == {b"a": b"1", b"b": b"1"}
        run(opened, a="2")
        assert content(cache) == {b"a": b"2"}, "b was not set again"
        run(opened, joining=True, b="3")
        run(opened, joining=True)
        assert content(cache) == {b"a": b"2", b"b": b"3"}, "joining ends nothing"


def test_joining_before_any_run(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        run(opened, joining=True, a="1")
        run(opened, a="2")
        assert content(opened.cache) == {b"a": b"2"}


def test_a_run_is_pending_while_another_process_keeps_the_cache(tmp_path: Path) -> None:
    """What it sets counts at once, what it did not set again goes when it is in force."""
    keeper = Child(
        tmp_path,
        spec(),
        "with caches.loading(): cache.set(b'a', b'1'), cache.set(b'b', b'1')\ntell('in force'); time.sleep(100)",
    )
    assert keeper.hear() == "in force"
    with Open(tmp_path) as opened:
        run(opened, a="2")
        assert content(opened.cache) == {b"a": b"2", b"b": b"1"}
        assert opened.cache.get(b"b") == b"1", "the view of the loading thread ends with the run"
        assert not opened.cache.settle() and not opened.cache.recover()
        opened.cache.set(b"late", b"1")
        keeper.kill()
        assert opened.cache.settle()
        assert content(opened.cache) == {b"a": b"2", b"late": b"1"}
        consistent(opened.cache)


def test_a_pending_run_that_was_killed_is_undone(tmp_path: Path) -> None:
    """By the keeper in force; what was changed since by anybody else is not."""
    with Open(tmp_path) as opened:
        cache = opened.cache
        run(opened, a="1", b="1", c="1")
        child = Child(
            tmp_path,
            spec(),
            """
            with caches.loading():
                cache.clear()
                for key in (b'a', b'b', b'n'):
                    cache.set(key, b'2')
            tell('pending')
            time.sleep(100)
            """,
        )
        assert child.hear() == "pending"
        assert content(cache) == {b"a": b"2", b"b": b"2", b"n": b"2"}
        assert not cache.recover(), "its process lives"
        cache.update(b"b", b"by hand")
        child.kill()
        assert cache.recover()
        assert content(cache) == {b"a": b"1", b"b": b"by hand", b"c": b"1"}
        assert not cache.recover()
        consistent(cache)
        run(opened, a="3")
        assert content(cache) == {b"a": b"3", b"b": b"by hand"}


def test_workers_join_a_pending_run(tmp_path: Path) -> None:
    """The workers of a new configuration start before it is in force; what they set must not go when it is."""
    keeper = Child(tmp_path, spec(), "with caches.loading(): cache.set(b'k', b'1')\ntell('run'); time.sleep(100)")
    assert keeper.hear() == "run"
    with Open(tmp_path) as opened:
        run(opened, k="2")
        worker = Child(
            tmp_path, spec(), "with caches.loading(True): cache.set(b'w', b'1'), cache.set(b'k', b'3')\ntell('up')"
        )
        assert worker.hear() == "up" and worker.close() == 0
        keeper.kill()
        assert opened.cache.settle()
        assert content(opened.cache) == {b"k": b"2", b"w": b"1"}


def test_a_full_cache_of_former_items(tmp_path: Path) -> None:
    """The items of the run before stand in the way until they are replaced; replacing takes no room."""
    with Open(tmp_path) as opened:
        cache = opened.cache
        names = {f"k{number}": "1" for number in range(10)}
        run(opened, **names)
        run(opened, **dict.fromkeys(names, "2"))
        assert set(content(cache).values()) == {b"2"} and len(cache.keys()) == 10
        run(opened, **{f"n{number}": "3" for number in range(10)})
        assert len(cache.keys()) == 10 and set(content(cache).values()) == {b"3"}
        consistent(cache)


def test_all_caches_take_part(tmp_path: Path) -> None:
    with Open(tmp_path, spec("one"), spec("two")) as opened:
        with opened.caches.loading():
            for cache in opened.caches:
                cache.set(b"a", b"1")
        with pytest.raises(RuntimeError), opened.caches.loading():
            for cache in opened.caches:
                cache.set(b"a", b"2")
            raise RuntimeError
        assert [content(cache) for cache in opened.caches] == [{b"a": b"1"}] * 2

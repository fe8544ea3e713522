"""What is done from time to time, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cache.made import Child, Open, spec
from uwsgirouter.cache.cache import Cache
from uwsgirouter.cache.specs import CacheSpec
from uwsgirouter.cache.upkeep import Upkeep
from uwsgirouter.settings.settings import Settings


def items(cache: Cache) -> int:
    """How many there are, those whose life is over included."""
    return int(cache.stats()["items"])  # type: ignore[call-overload]


def kept(opened: Open, **options: object) -> tuple[Upkeep, list[str]]:
    said: list[str] = []
    return Upkeep(opened.caches, Settings.of(**options), said.append, 0.0), said


def test_expired_items_are_swept_out_in_their_time(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        upkeep, said = kept(opened, cache_expire_freq=5)
        opened.cache.set(b"short", b"v", 1)
        opened.cache.set(b"long", b"v", 100)
        assert upkeep.run(0.0) == 1.0
        opened.now += 2
        assert upkeep.run(4.6) == pytest.approx(0.4) and items(opened.cache) == 2
        assert upkeep.run(5.5) == 1.0 and items(opened.cache) == 1
        assert said == []


def test_three_seconds_are_the_default_and_freed_items_are_told_on_demand(tmp_path: Path) -> None:
    with Open(tmp_path, spec("name", items=3000)) as opened:
        upkeep, said = kept(opened, cache_report_freed_items=True)
        opened.cache.load([(b"k%d" % number, b"v") for number in range(2500)], expires=1)
        upkeep.run(0.0)
        opened.now += 2
        upkeep.run(2.9)
        assert items(opened.cache) == 2500 and said == []
        upkeep.run(3.0)
        assert items(opened.cache) == 0
        assert said == ['freed 2500 items for cache "name"'], "in several steps, told as one"
        upkeep.run(6.0)
        assert len(said) == 1


@pytest.mark.parametrize(
    ("what", "options"),
    [
        (spec(no_expire=True), {}),
        (spec(lazy_expire=True), {}),
        (spec(), {"cache_no_expire": True}),
    ],
)
def test_what_must_not_be_swept(tmp_path: Path, what: CacheSpec, options: dict[str, object]) -> None:
    with Open(tmp_path, what) as opened:
        upkeep, _ = kept(opened, **options)
        opened.cache.set(b"k", b"v", 1)
        opened.now += 2
        upkeep.run(0.0)
        assert items(opened.cache) == 1
        assert opened.cache.get(b"k") is None, "it is not found all the same"


def test_stores_are_written_in_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(Cache, "sync", lambda self: synced.append(self.spec.name))
    specs = [
        spec("memory", store_sync=1),
        spec("often", store=str(tmp_path / "often"), store_sync=2),
        spec("seldom", store=str(tmp_path / "seldom"), store_sync=7),
        spec("never", store=str(tmp_path / "never")),
    ]
    with Open(tmp_path, *specs) as opened:
        upkeep, _ = kept(opened, cache_expire_freq=100)
        now = 0.0
        while now < 15:
            now += upkeep.run(now)
        assert synced == ["often", "often", "often", "seldom", "often", "often", "often", "often", "seldom"]


def test_a_sync_writes_what_was_set(tmp_path: Path) -> None:
    with Open(tmp_path, spec(store=str(tmp_path / "store"))) as opened:
        opened.cache.set(b"k", b"v")
        opened.cache.sync()
        assert opened.said == []
        opened.cache._env.close()
        opened.cache.sync()
        assert opened.said[0].startswith("cache default: ")


def test_killed_readers_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(Cache, "check_readers", lambda self: looked.append(self.spec.name) or 0)  # type: ignore[func-returns-value]
    with Open(tmp_path, spec("one"), spec("two", no_expire=True)) as opened:
        upkeep, _ = kept(opened)
        looked.clear()
        upkeep.run(0.0)
        upkeep.run(1.0)
        assert looked == ["one", "two"]


def test_a_run_is_settled_when_the_keeper_before_is_gone(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        child = Child(
            tmp_path, spec(), "with caches.loading(): cache.set(b'old', b'v')\ntell('in force'); time.sleep(100)"
        )
        assert child.hear() == "in force"
        upkeep, _ = kept(opened)
        with opened.caches.loading():
            opened.cache.set(b"new", b"v")
        assert upkeep.run(0.0) == pytest.approx(0.1), "it looks often"
        assert opened.cache.keys() == [b"new", b"old"]
        child.kill()
        assert upkeep.run(0.1) == 1.0
        assert opened.cache.keys() == [b"new"]


def test_a_failed_reload_is_undone_by_the_keeper_in_force(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        upkeep, said = kept(opened)
        with opened.caches.loading():
            opened.cache.set(b"k", b"old")
        child = Child(
            tmp_path,
            spec(),
            "with caches.loading(): cache.set(b'k', b'new'), cache.set(b'more', b'new')\ntell('up'); time.sleep(100)",
        )
        assert child.hear() == "up"
        upkeep.run(0.0)
        assert opened.cache.items() == [(b"k", b"new", 0.0), (b"more", b"new", 0.0)]
        child.kill()
        upkeep.run(1.0)
        assert opened.cache.items() == [(b"k", b"old", 0.0)]
        assert said == ["cache default: what a failed reload had set is undone"]
        upkeep.run(2.0)
        assert len(said) == 1

"""The file of a cache: what is shared, what lasts, and what is said of a file that is no good."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from tests.cache.made import Child, Open, consistent, spec
from tests.servers import Servers
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.environment import Role
from uwsgirouter.cache.specs import CacheSpec, file_of, map_size
from uwsgirouter.errors import BootError

KEEPER = Role.KEEPER


def stored(path: Path, **others: object) -> CacheSpec:
    return spec(store=str(path), **{"items": 10, **others})  # type: ignore[arg-type]


def filled(tmp_path: Path, **others: object) -> Path:
    """A store with three items, closed."""
    path = tmp_path / "store"
    with Open(tmp_path, stored(path, **others), role=KEEPER) as opened:
        assert opened.cache.load([(b"a", b"1"), (b"b", b"2" * 20000), (b"c", b"3")]) == 3
    return path


def test_a_cache_in_memory_is_found_again_with_the_same_sizes_only(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        opened.cache.set(b"k", b"v")
    same = spec(purge_lru=True, sweep_on_full=1, lastmod=True, store_sync=5, no_expire=True, where="elsewhere")
    with Open(tmp_path, same) as opened:
        assert opened.cache.get(b"k") == b"v", "another policy is the same cache"
    for other in (
        spec(items=11),
        spec(blocks=11),
        spec(blocksize=1),
        spec(keysize=1),
        spec(bitmap=True),
        spec("other"),
    ):
        with Open(tmp_path, other) as opened:
            assert opened.cache.keys() == []
    with Open(tmp_path) as opened:
        assert opened.cache.get(b"k") == b"v"


def test_a_store_lasts(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with Open(tmp_path / "nowhere", stored(path), role=KEEPER) as opened:
        assert opened.cache.keys() == [b"a", b"b", b"c"]
        assert opened.said == [f"cache default: checking the 3 items of {path}"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store", "store-lock", "store-shared"]
    assert all(entry.stat().st_mode & 0o777 == 0o600 for entry in tmp_path.iterdir())


def test_a_store_may_get_other_numbers_of_items_as_long_as_they_fit(tmp_path: Path) -> None:
    path = filled(tmp_path)
    for items in (1000, 3):
        with Open(tmp_path, stored(path, items=items), role=KEEPER) as opened:
            assert len(opened.cache.keys()) == 3
    assert_refused(tmp_path, stored(path, items=2), "holds 3 items in 3 blocks, more than items=2,blocks=2 allow")
    assert_refused(tmp_path, stored(path, blocksize=10), "was made with blocksize=65536,keysize=2048,bitmap=0, and now")
    assert_refused(
        tmp_path, stored(path, bitmap=True), "now it is blocksize=65536,keysize=2048,bitmap=1: put the sizes"
    )


def assert_refused(tmp_path: Path, what: CacheSpec, message: str, role: Role = KEEPER) -> None:
    with pytest.raises(BootError, match=re.escape(message)) as raised:
        Caches([what], str(tmp_path), role=role)
    assert str(raised.value).startswith("router.conf:1: cache default: ")
    assert "store_delete" in str(raised.value) or "store_delete" not in message


def test_store_delete_starts_anew_when_the_sizes_differ(tmp_path: Path) -> None:
    path = filled(tmp_path)
    different = stored(path, blocksize=10, store_delete=True)
    assert_refused(tmp_path, different, "was made with", Role.WORKER)
    with Open(tmp_path, stored(path)) as old, Open(tmp_path / "..", spec("other")) as other:
        assert old.cache.get(b"a") == b"1", "a worker that may not delete has deleted nothing"
        for suffix in ("", "-lock", "-shared"):
            Path(file_of(other.cache.spec, str(tmp_path / "..")) + suffix).unlink()
    with Open(tmp_path, different, role=KEEPER) as opened:
        assert opened.cache.keys() == []
        assert "starting with an empty one (store_delete)" in opened.said[-1]
        opened.cache.set(b"k", b"v")
    with Open(tmp_path, different, role=KEEPER) as opened:
        assert opened.cache.get(b"k") == b"v"


def broken_text(path: Path) -> None:
    path.write_bytes(b"no database\n" * 10000)


def broken_start(path: Path) -> None:
    path.write_bytes(bytes(5000))


def broken_short(path: Path) -> None:
    os.truncate(path, 8192)


def broken_pages(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:8192] + b"\xff" * 40 + bytes(len(data) - 8232))


@pytest.mark.parametrize("spoil", [broken_text, broken_start, broken_short, broken_pages])
def test_a_damaged_store(tmp_path: Path, spoil: object) -> None:
    path = filled(tmp_path)
    spoil(path)  # type: ignore[operator]
    before = path.read_bytes()
    assert_refused(tmp_path, stored(path), f"{path} is ")
    assert path.read_bytes()[: len(before)] == before, "what may be saved is not deleted"
    with Open(tmp_path, stored(path, store_delete=True), role=KEEPER) as opened:
        assert opened.cache.keys() == []
        assert opened.cache.set(b"k", b"v")
        consistent(opened.cache)


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with Open(tmp_path, stored(tmp_path / "store"), role=KEEPER) as opened:
        assert opened.cache.set(b"k", b"v")


def test_places_where_no_store_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    assert_refused(tmp_path, stored(tmp_path / "no" / "store"), "No such file or directory")
    assert_refused(tmp_path, stored(tmp_path / "file" / "store"), "Not a directory")
    assert_refused(tmp_path, stored(tmp_path / "directory", store_delete=True), "Is a directory")
    assert (tmp_path / "directory").is_dir()


def test_another_user_s_store(servers: Servers) -> None:
    """Without rights the error names the file. In a child, which gives the rights of root up."""
    directory = servers.directory
    path = filled(directory)
    code = f"""
import os
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.environment import Role
from uwsgirouter.settings.caching import CacheSpec
from uwsgirouter.errors import BootError
for name in ({str(path)!r}, {str(path.parent / "new")!r}):
    spec = CacheSpec("default", 10, 10, store=name, store_delete=True, where="router.conf:1")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
    try:
        Caches([spec], "", role=Role.KEEPER)
    except BootError as error:
        print(error)
"""
    if os.geteuid():
        path.chmod(0)
        directory.chmod(0o555)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    directory.chmod(0o755)
    lines = out.stdout.splitlines()
    assert lines == [
        f"router.conf:1: cache default: cannot open {path}: Permission denied",
        f"router.conf:1: cache default: cannot open {path.parent / 'new-lock'}: Permission denied",
    ], out.stderr
    assert path.exists(), "store_delete is for a bad content, not for missing rights"


def test_a_full_disk_when_the_file_is_made(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk's end."""
    code = f"""
import resource
from uwsgirouter.cache.caches import Caches
from uwsgirouter.settings.caching import CacheSpec
from uwsgirouter.errors import BootError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, {resource.RLIM_INFINITY}))
try:
    Caches([CacheSpec("full", 10, 10, where="router.conf:1")], {str(tmp_path)!r})
except BootError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert re.match(r"router.conf:1: cache full: cannot open .*-lock: File too large", out.stdout), out
    assert not list(tmp_path.glob("full*-lock")), "half a file would be taken for a whole one"


def test_a_full_disk_at_run_time_fails_softly(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        spec(items=1000),
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        done = [cache.set(b"k%d" % number, b"v" * 10000) for number in range(60)]
        tell(f"{10 < sum(done) < 60} {all(cache.get(b'k%d' % n) for n in range(60) if done[n])}")
        """,
    )
    assert child.hear().startswith("cache default: mdb_txn_commit: "), "the disk's own words"
    assert child.hear() == "True True"
    assert child.close() == 0
    with Open(tmp_path, spec(items=1000)) as opened:
        consistent(opened.cache)
        assert opened.cache.set(b"more", b"v")


def test_a_guest_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BootError, match=r"cannot open .*: No such file or directory"):
        Caches([spec()], str(tmp_path), role=Role.GUEST)
    assert list(tmp_path.iterdir()) == []


def test_a_guest_counts_nothing(tmp_path: Path) -> None:
    with Open(tmp_path) as opened:
        opened.cache.set(b"k", b"v")
        opened.cache.get(b"k")
    with Open(tmp_path, role=Role.GUEST) as guest:
        assert guest.cache.get(b"k") == b"v"
        assert guest.cache.stats()["hits"] == 1


def test_opening_fails_as_a_whole(tmp_path: Path) -> None:
    """Nothing stays open of the caches before the one that failed: they can be opened again."""
    with pytest.raises(BootError):
        Caches([spec("one"), stored(tmp_path / "no" / "store")], str(tmp_path))
    with Open(tmp_path, spec("one")) as opened:
        assert opened.cache.set(b"k", b"v")


def test_a_map_has_room_for_a_full_cache_twice(tmp_path: Path) -> None:
    assert map_size(spec(items=100)) > 2 * 100 * 65536
    huge = spec(items=10**8, blocks=10**9)
    assert map_size(huge) == 1 << 44, "bounded by what a process can address"
    with Open(tmp_path, huge) as opened:
        assert opened.cache.set(b"k", b"v")
        size = os.stat(file_of(huge, str(tmp_path))).st_blocks * 512
        assert size < 1 << 20, "memory is taken as it fills"


def test_names_of_files_are_safe(tmp_path: Path) -> None:
    for name in ("../../etc/x", "a b", "%", "é" * 200, ".", ".."):
        path = file_of(spec(name), str(tmp_path))
        assert os.path.dirname(path) == str(tmp_path)
        assert len(os.path.basename(path)) < 200


def test_it_is_the_lmdb_that_the_package_asks_for() -> None:
    assert lmdb.version() >= (0, 9, 20)

"""Where caches live: made once, found by others, gone with the router."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cache.made import PROJECT, spec
from uwsgirouter.cache import place as place_module
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.place import PREFIX, Place, remove_leftovers, running
from uwsgirouter.errors import BootError


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in the place of the memory file system, and another one for temporary files."""
    made = [tmp_path / "memory", tmp_path / "tmp"]
    for path in made:
        path.mkdir()
    monkeypatch.setattr(place_module, "MEMORY", str(made[0]))
    monkeypatch.setattr("tempfile.tempdir", str(made[1]))
    return made[0]


@pytest.fixture
def said() -> list[str]:
    return []


def master(memory: Path, code: str) -> tuple[subprocess.Popen[str], str]:
    """A process that has a place and waits; the path that it told."""
    program = f"""
import os, sys, time
from uwsgirouter.cache import place
from uwsgirouter.settings.caching import CacheSpec
place.MEMORY = {str(memory)!r}
mine = place.Place(print)
mine.prepare(None, None)
print(mine.path, flush=True)
{code}
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str], how: Callable[[], None]) -> None:
    """End it, and read what is left of its output."""
    how()
    process.communicate(timeout=20)


def test_nothing_is_made_before_it_is_needed(memory: Path, said: list[str]) -> None:
    place = Place(said.append)
    place.settle("router.conf", [], None, None)
    place.remove()
    assert place.directory == "" and list(memory.iterdir()) == []


def test_a_place(memory: Path, said: list[str]) -> None:
    place = Place(said.append)
    directory = place.prepare(None, None)
    assert re.fullmatch(rf"{re.escape(str(memory))}/{re.escape(PREFIX)}{os.getpid()}-\w+/caches", directory)
    assert place.prepare(None, None) == directory == place.directory, "made once"
    for path in (directory, place.path):
        assert os.stat(path).st_mode & 0o777 == 0o700
    place.remove()
    place.remove()
    assert list(memory.iterdir()) == [] and place.directory == "" and said == []


def test_others_find_a_router_and_its_caches(memory: Path, said: list[str]) -> None:
    place = Place(said.append)
    directory = place.prepare(None, None)
    assert running() == [], "it has not told of its caches yet"
    specs = (spec("one", purge_lru=True), spec("two", store="store.db"))
    place.settle("router.conf", specs, None, None)
    (found,) = running()
    assert (found.pid, found.source, found.mine, found.directory) == (os.getpid(), "router.conf", True, directory)
    assert found.caches[0] == specs[0]
    assert found.caches[1].store == os.path.abspath("store.db"), "whoever asks may stand elsewhere"
    place.remove()
    assert running() == []


def test_files_of_caches_that_are_no_more_go(memory: Path, said: list[str]) -> None:
    place = Place(said.append)
    directory = place.prepare(None, None)
    old = [spec("stays"), spec("goes"), spec("changes", items=10)]
    new = [spec("stays"), spec("changes", items=20)]
    Caches(old, directory).close()
    Caches(new, directory).close()
    (Path(directory) / "user").touch()
    assert len(os.listdir(directory)) == 3 * 4 + 1
    place.settle("router.conf", new, None, None)
    names = sorted(os.listdir(directory))
    assert len(names) == 2 * 3 + 1
    assert {name.split(".")[0] for name in names} == {"stays", "changes", "user"}
    place.settle("router.conf", old, None, None)
    assert {name.split(".")[0] for name in os.listdir(directory)} == {"stays", "user"}
    place.remove()


def test_a_killed_router_s_place_goes_when_the_next_one_starts(memory: Path, said: list[str]) -> None:
    dead, path = master(memory, "mine.settle('dead.conf', [CacheSpec('c', 1, 1)], None, None)")
    alive, other = master(
        memory, "mine.settle('alive.conf', [CacheSpec('c', 1, 1)], None, None); print('up', flush=True)"
    )
    assert alive.stdout is not None and alive.stdout.readline() == "up\n"
    assert {found.source for found in running()} >= {"alive.conf"}
    end(dead, dead.kill)
    assert [found.source for found in running()] == ["alive.conf"]
    assert os.path.isdir(path), "looking removes nothing"
    place = Place(said.append)
    place.prepare(None, None)
    assert sorted(str(entry) for entry in memory.iterdir()) == sorted([other, place.path])
    place.remove()
    end(alive, alive.terminate)


def test_workers_that_outlive_their_master_keep_the_place(memory: Path) -> None:
    process, path = master(
        memory, "if os.fork() == 0:\n    print(os.getpid(), flush=True)\n    sys.stdin.read()\n    os._exit(0)"
    )
    assert process.stdout is not None and process.stdin is not None
    assert int(process.stdout.readline())
    process.kill()
    process.wait(20)
    remove_leftovers()
    assert os.path.isdir(path)
    process.stdin.close()
    process.stdout.read()
    remove_leftovers()
    assert not os.path.isdir(path)
    process.stdout.close()


def test_a_child_of_the_master_removes_nothing(memory: Path, said: list[str]) -> None:
    place = Place(said.append)
    place.prepare(None, None)
    child = os.fork()
    if child == 0:
        place.remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.path.isdir(place.path)
    place.remove()


def test_what_is_not_ours_is_left_alone(memory: Path) -> None:
    """Without our lock file, or of another user, nothing is removed, whatever it is called."""
    foreign = memory / f"{PREFIX}1-abc"
    foreign.mkdir()
    (foreign / "data").touch()
    (memory / f"{PREFIX}file").touch()
    link = memory / f"{PREFIX}link"
    link.symlink_to(foreign)
    remove_leftovers()
    assert running() == []
    assert (foreign / "data").exists() and link.is_symlink() and (memory / f"{PREFIX}file").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x"}', '{"pid": 1, "source": "", "caches": [{"no": 1}]}'])
def test_a_place_that_says_nonsense_is_no_router(memory: Path, said: list[str], text: str) -> None:
    place = Place(said.append)
    place.prepare(None, None)
    (Path(place.path) / "router.json").write_text(text)
    assert running() == []
    place.remove()


def test_without_a_memory_file_system_the_directory_for_temporary_files_serves(memory: Path, said: list[str]) -> None:
    memory.rmdir()
    place = Place(said.append)
    directory = place.prepare(None, None)
    assert directory.startswith(str(memory.parent / "tmp"))
    assert said == [f"caches are in {place.path}, on a disk perhaps ({memory}: No such file or directory)"]
    place.settle("router.conf", [spec()], None, None)
    assert [found.source for found in running()] == ["router.conf"]
    place.remove()


def test_no_place_at_all(memory: Path, said: list[str]) -> None:
    memory.rmdir()
    (memory.parent / "tmp").rmdir()
    with pytest.raises(
        BootError, match=r"no directory for caches: .*/memory: No such file or directory; .*/tmp: No such"
    ):
        Place(said.append).prepare(None, None)


def test_a_place_that_somebody_removed_is_made_anew(memory: Path, said: list[str]) -> None:
    place = Place(said.append)
    first = place.prepare(None, None)
    subprocess.run(["rm", "-r", place.path], check=True)
    second = place.prepare(None, None)
    assert second != first and os.path.isdir(second)
    place.remove()


def test_another_user_s_workers(said: list[str]) -> None:
    """Only root can give things away; anybody else is told so. In the real memory file system, where all may go."""
    place = Place(said.append)
    if os.geteuid():
        with pytest.raises(BootError, match=r"cannot give .*/caches to uid 65534 gid 65534: Operation not permitted"):
            place.prepare(65534, 65534)
        place.remove()
        return
    directory = place.prepare(65534, 65534)
    Caches([spec()], directory).close()
    place.settle("router.conf", [spec()], 65534, 65534)
    assert os.stat(place.path).st_mode & 0o777 == 0o711 and os.stat(place.path).st_uid == 0
    every = [directory, *(os.path.join(directory, name) for name in os.listdir(directory))]
    assert {(os.stat(path).st_uid, os.stat(path).st_gid) for path in every} == {(65534, 65534)}
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            Caches([spec()], directory)
        except BaseException as error:  # noqa: BLE001 - the child must end here, whatever it is
            os.write(2, f"{error}\n".encode())
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    place.settle("router.conf", [spec()], 0, 0)
    assert {os.stat(path).st_uid for path in every} == {0}
    assert os.stat(place.path).st_mode & 0o777 == 0o700
    place.remove()


def test_the_password_of_a_server_is_for_the_caches_user_alone(memory: Path, said: list[str]) -> None:
    place = Place(said.append)
    directory = place.prepare(None, None)
    far = spec("far", 0, url="redis://me:s3cret@h:1/2")
    place.settle("router.conf", [far], None, None)
    about = Path(place.path) / "router.json"
    assert "s3cret" not in about.read_text()
    assert "redis://h:1/2" in about.read_text()
    (kept,) = [path for path in Path(directory).iterdir() if "s3cret" in path.read_text()]
    assert kept.stat().st_mode & 0o777 == 0o600
    (found,) = running()
    assert found.caches == (far,)
    kept.unlink()
    (found,) = running()
    assert found.caches[0].url == "redis://h:1/2"
    place.settle("router.conf", [], None, None)
    assert os.listdir(directory) == []
    assert said == []
    place.remove()

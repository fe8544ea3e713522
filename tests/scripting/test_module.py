"""What ``import uwsgi`` gives, and what it says of what it does not give."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from tests.scripting.made import Lines, opened
from uwsgirouter.scripting.module import ABSENT, install
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings

CACHES = {"cache": 10, "cache2": ["name=two,items=10"]}


def test_a_script_can_import_it(log: Lines) -> None:
    module = install(Settings.of(), None, log)
    assert importlib.import_module("uwsgi") is module
    with pytest.raises(ImportError):
        exec("from uwsgi import no_such_thing")


@pytest.mark.parametrize("name", ["add_timer", "signal_wait", "SPOOL_OK", "mule_msg", "websocket_recv", "workers"])
def test_what_makes_no_sense_says_so_by_its_name(log: Lines, name: str) -> None:
    module = install(Settings.of(), None, log)
    with pytest.raises(AttributeError, match=rf"^uwsgi\.{name} makes no sense in a router \(uwsgirouter\)$"):
        getattr(module, name)
    assert not hasattr(module, name), "so that a script can ask"


def test_what_is_nowhere_says_so(log: Lines) -> None:
    module = install(Settings.of(), None, log)
    with pytest.raises(AttributeError, match="module 'uwsgi' of uwsgirouter has no attribute 'cache_fetch'"):
        _ = module.cache_fetch


def test_nothing_is_both_there_and_absent(log: Lines) -> None:
    module = install(Settings.of(), None, log)
    assert not ABSENT & set(vars(module))


def test_who_we_are(log: Lines) -> None:
    module = install(Settings.of(fastrouter_processes=3), None, log, worker=2, is_reload=True)
    assert module.worker_id() == 2 and module.numproc == 3 and module.is_a_reload is True
    assert module.masterpid() == os.getppid()
    assert module.version == b"2.0.31" and module.version_info == (2, 0, 31, 0, b"")
    assert module.uwsgirouter_version


def test_opt_has_all_that_was_written(log: Lines) -> None:
    settings = Source(
        ["--master", "--fastrouter", ":1", "--cache2", "name=a,items=1", "--cache2", "name=b,items=1", "--set", "x=y"]
    ).load()
    assert install(settings, None, log).opt == {
        "master": True,
        "fastrouter": b":1",
        "cache2": [b"name=a,items=1", b"name=b,items=1"],
        "set": b"x=y",
        "x": b"y",
    }


def test_opt_has_the_placeholders_of_a_file(tmp_path: Path, log: Lines) -> None:
    """The way to give a script options of its own."""
    path = tmp_path / "router.conf"
    path.write_text("[uwsgi]\nset-placeholder = domain=example.com\nfastrouter = :1\nfastrouter-cheap = true\n")
    found = install(Source(["-c", str(path)]).load(), None, log).opt
    assert found["domain"] == b"example.com" and found["fastrouter-cheap"] is True


def test_calls_on_caches(tmp_path: Path, log: Lines) -> None:
    settings = Settings.of(**CACHES)
    caches = opened(settings, tmp_path, log)
    module = install(settings, caches, log)
    assert module.cache_set("k", "v") is True
    assert caches.named("default").get(b"k") == b"v"
    assert module.cache_set("k", b"w", 0, "two") is True
    assert caches.named("two").get(b"k") == b"w"
    with pytest.raises(ValueError, match=r"cache 'two@10\.0\.0\.1:3031': a router has caches of its own machine only"):
        module.cache_get("k", "two@10.0.0.1:3031")
    with pytest.raises(TypeError):
        module.cache_get("k", 5)
    caches.close()


def test_a_name_that_is_no_cache_s_is_told_of_once(tmp_path: Path, log: Lines) -> None:
    settings = Settings.of(**CACHES)
    caches = opened(settings, tmp_path, log)
    module = install(settings, caches, log)
    for _ in range(3):
        assert module.cache_get("k", "three") is None
    assert log.lines == ["a script uses the cache 'three', which is not configured"]
    caches.close()


def test_without_caches_every_call_comes_to_none(log: Lines) -> None:
    module = install(Settings.of(), None, log)
    assert module.cache_set("k", "v") is None and module.cache_get("k") is None and module.cache_num("k") is None
    assert len(log.lines) == 1 and "none is configured: write cache = NUMBER" in log.lines[0]


def test_a_forked_child_of_a_script_is_refused(tmp_path: Path, log: Lines) -> None:
    """LMDB must not be used behind a fork; a silent miss would be worse than an error."""
    settings = Settings.of(**CACHES)
    caches = opened(settings, tmp_path, log)
    module = install(settings, caches, log)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            module.cache_get("k")
        except RuntimeError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"a forked child of a script cannot use the caches" in os.read(reading, 1000)
    os.close(reading)
    os.close(writing)
    caches.close()


def test_remote_functions_are_refused(log: Lines) -> None:
    module = install(Settings.of(), None, log)
    with pytest.raises(ValueError, match=r"a router calls functions of its own scripts only"):
        module.rpc(b"10.0.0.1:3031", b"hello")
    assert module.call(b"hello") is None
    assert "calls the rpc function b'hello'" in log.lines[0]
    with pytest.raises(TypeError):
        module.register_rpc("x", "no function")
    with pytest.raises(ValueError, match="expected 0 to 255"):
        module.register_rpc("x", len, 256)


def test_pythonpath_and_virtualenv_are_looked_through_first(tmp_path: Path, log: Lines) -> None:
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    (tmp_path / "venv" / packages).mkdir(parents=True)
    for number, place in enumerate((tmp_path / "one", tmp_path / "two", tmp_path / "venv" / packages)):
        place.mkdir(exist_ok=True)
        (place / f"script_module_{number}.py").write_text(f"value = {number}\n")
    settings = Settings.of(pythonpath=[str(tmp_path / "one"), "two"], virtualenv=str(tmp_path / "venv"))
    install(settings, None, log)
    assert sys.path[:4] == [".", str(tmp_path / "one"), "two", str(tmp_path / "venv" / packages)]
    assert [importlib.import_module(f"script_module_{number}").value for number in range(3)] == [0, 1, 2]
    install(settings, None, log)
    assert sys.path.count("two") == 1

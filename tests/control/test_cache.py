"""``uwsgirouterctl cache``: on the caches of a router that stands for a running one, and on a real one."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache.made import spec
from tests.servers import Servers, free_port, wait_until
from uwsgirouter.cache import place as place_module
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.environment import Role
from uwsgirouter.cache.place import Place
from uwsgirouter.cache.specs import CacheSpec
from uwsgirouter.control.base import Exit
from uwsgirouter.control.main import run

SPECS = (spec("first", 5, blocksize=20, keysize=10), spec("second", 100, purge_lru=True))


class Routers:
    """Places as running routers have them, in a directory of the test."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def add(self, source: str, *specs: CacheSpec) -> Place:
        """A router's place, with its caches made."""
        place = Place(lambda text: None)
        place.prepare(None, None)
        self.places.append(place)
        Caches(specs, place.directory, role=Role.KEEPER).close()
        place.settle(source, specs, None, None)
        return place

    def content(self, index: int = 0, name: str = "") -> dict[bytes, bytes]:
        """What a cache of the first router holds."""
        place = self.places[index]
        caches = Caches(SPECS, place.directory)
        try:
            return {key: value for key, value, _ in caches.named(name).items()}
        finally:
            caches.close()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Routers]:
    """No router runs, whatever the rest of the machine does."""
    (tmp_path / "memory").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(place_module, "MEMORY", str(tmp_path / "memory"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    routers = Routers()
    yield routers
    for place in routers.places:
        place.remove()


@pytest.fixture
def router(nowhere: Routers) -> Routers:
    """One router runs."""
    nowhere.add("router.conf", *SPECS)
    return nowhere


def control(*arguments: str) -> Exit:
    return run(["cache", *arguments])


def test_set_get_and_del(router: Routers, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert control("set", "k", "127.0.0.1:1") is Exit.OK
    assert control("get", "k") is Exit.OK
    assert capsysbinary.readouterr().out == b"127.0.0.1:1\n"
    assert control("set", "k", "127.0.0.1:2") is Exit.OK
    assert router.content() == {b"k": b"127.0.0.1:2"}, "a person who sets means it"
    assert control("del", "k") is Exit.OK
    assert control("del", "k") is Exit.NOT_FOUND
    assert control("get", "k") is Exit.NOT_FOUND
    assert capsysbinary.readouterr().err.splitlines() == [
        b"uwsgirouterctl cache: first has no k",
        b"uwsgirouterctl cache: first has no k",
    ]


def test_another_cache(router: Routers, capsys: pytest.CaptureFixture[str]) -> None:
    assert control("--cache", "second", "set", "k", "v") is Exit.OK
    assert router.content() == {} and router.content(0, "second") == {b"k": b"v"}
    assert control("--cache", "third", "get", "k") is Exit.NOT_FOUND
    assert "has no cache 'third'; there are: first, second" in capsys.readouterr().err


def test_expires(router: Routers) -> None:
    assert control("set", "k", "v", "--expires", "1") is Exit.OK
    assert router.content() == {b"k": b"v"}
    wait_until(lambda: not router.content(), 5, "its life is over")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("set", "k" * 11, "v"), Exit.USAGE, "a key of first has 1 to 10 bytes, this one 11"),
        (("set", "k", "v" * 21), Exit.USAGE, "a value of first has 1 to 20 bytes, this one 21"),
        (("set", "k", ""), Exit.USAGE, "a value of first has 1 to 20 bytes, this one 0"),
        (("load", "nowhere.txt"), Exit.NOT_FOUND, "cannot read nowhere.txt: No such file or directory"),
    ],
)
def test_what_cannot_be(
    router: Routers, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: Exit, message: str
) -> None:
    assert control(*arguments) is code
    assert message in capsys.readouterr().err
    assert router.content() == {}


def test_a_full_cache(router: Routers, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        assert control("set", f"k{number}", "v") is Exit.OK
    assert control("set", "more", "v") is Exit.NO_ROOM
    assert "first is full" in capsys.readouterr().err
    assert control("set", "k0", "new") is Exit.OK
    Path("six").write_text("".join(f"n{number} v\n" for number in range(6)))
    assert control("load", "six") is Exit.NO_ROOM
    assert len(router.content()) == 5 and b"n0" not in router.content()
    assert "6 items are more than the 5 that first holds; nothing was changed" in capsys.readouterr().err


MAPPINGS = b"""\
# hosts
example.com 127.0.0.1:4040

unbit.it=127.0.0.1:4040,5
  # more
a.example = 127.0.0.1:1|127.0.0.1:2
b.example   /run/app.sock
\tc.example\t[::1]:80\r
"""
LOADED = {
    b"example.com": b"127.0.0.1:4040",
    b"unbit.it": b"127.0.0.1:4040,5",
    b"a.example": b"127.0.0.1:1|127.0.0.1:2",
    b"b.example": b"/run/app.sock",
    b"c.example": b"[::1]:80",
}


def test_load_and_list(router: Routers, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    Path("mappings.txt").write_bytes(MAPPINGS)
    assert control("--cache", "second", "load", "mappings.txt") is Exit.OK
    assert capsysbinary.readouterr().out == b"5 items loaded into second\n"
    assert router.content(0, "second") == LOADED
    assert control("--cache", "second", "list") is Exit.OK
    listed = capsysbinary.readouterr().out
    assert listed == b"".join(key + b" " + LOADED[key] + b"\n" for key in sorted(LOADED))
    assert control("--cache", "second", "list", "--prefix", "b.") is Exit.OK
    assert capsysbinary.readouterr().out == b"b.example /run/app.sock\n"
    Path("listed.txt").write_bytes(listed)
    assert control("--cache", "second", "load", "--replace", "listed.txt") is Exit.OK
    assert router.content(0, "second") == LOADED, "what list prints, load reads"


def test_load_adds_or_replaces_everything(router: Routers) -> None:
    control("set", "old", "v")
    Path("some").write_text("a 1\nb 2\n")
    assert control("load", "some") is Exit.OK
    assert router.content() == {b"old": b"v", b"a": b"1", b"b": b"2"}
    assert control("load", "--replace", "some") is Exit.OK
    assert router.content() == {b"a": b"1", b"b": b"2"}


def test_load_from_standard_input(router: Routers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a 1\n")))
    assert control("load", "-", "--expires", "100") is Exit.OK
    assert router.content() == {b"a": b"1"}


def test_load_tells_every_bad_line_and_loads_nothing(router: Routers, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad").write_text(f"good 1\nlonely\ngood 2\n=v\nkey=\n{'k' * 11} v\n")
    assert control("load", "bad") is Exit.USAGE
    assert capsys.readouterr().err.splitlines() == [
        "uwsgirouterctl cache: bad:2: lonely: expected KEY VALUE or KEY=VALUE",
        "bad:3: good stands in line 1 already",
        "bad:4: a key of first has 1 to 10 bytes, this one 0",
        "bad:5: a value of first has 1 to 20 bytes, this one 0",
        "bad:6: a key of first has 1 to 10 bytes, this one 11",
        "nothing was loaded",
    ]
    assert router.content() == {}


def test_stats(router: Routers, capsys: pytest.CaptureFixture[str]) -> None:
    control("set", "k", "v", "--expires", "100")
    assert control("stats") is Exit.OK
    assert capsys.readouterr().out.splitlines() == [
        "first: 1 of 5 items (1 expire), 1 of 5 blocks of 20 bytes, 0 hits, 0 misses, full 0 times",
        "second: 0 of 100 items (0 expire), 0 of 100 blocks of 65536 bytes, 0 hits, 0 misses, full 0 times",
    ]
    assert control("--cache", "second", "stats", "--json") is Exit.OK
    (found,) = json.loads(capsys.readouterr().out)
    assert found["name"] == "second" and found["max_items"] == 100
    assert control("--cache", "third", "stats") is Exit.NOT_FOUND


def test_a_store_is_told_of(nowhere: Routers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere.add("router.conf", spec("kept", store="kept.db", lastmod=True))
    control("set", "k", "v")
    assert control("stats") is Exit.OK
    out = capsys.readouterr().out
    assert f"stored in {tmp_path / 'kept.db'}" in out
    assert abs(int(out.split("changed at ")[1].split(",")[0]) - time.time()) < 60


def test_no_router(nowhere: Routers, capsys: pytest.CaptureFixture[str]) -> None:
    assert control("list") is Exit.NOT_FOUND
    assert capsys.readouterr().err == (
        "uwsgirouterctl cache: no router with caches runs as this user (running: none)\n"
    )


def test_of_several_routers_one_must_be_named(router: Routers, capsys: pytest.CaptureFixture[str]) -> None:
    router.add("other.conf", *SPECS)
    assert control("list") is Exit.USAGE
    told = capsys.readouterr().err
    assert "several routers with caches run, say which with --router PID: pid" in told
    assert "[router.conf]" in told and "[other.conf]" in told
    assert control("--router", "other.conf", "set", "k", "v") is Exit.OK
    assert router.content(0) == {} and router.content(1) == {b"k": b"v"}
    assert control("--router", "99999999", "list") is Exit.NOT_FOUND
    assert "no router 99999999 with caches runs (running: pid" in capsys.readouterr().err


def test_another_user_s_router_is_used_only_if_it_is_named(
    router: Routers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert control("list") is Exit.NOT_FOUND
    assert "no router with caches runs as this user (running: pid" in capsys.readouterr().err
    assert control("--router", str(os.getpid()), "list") is Exit.OK


def test_caches_that_cannot_be_opened(router: Routers, capsys: pytest.CaptureFixture[str]) -> None:
    for path in Path(router.places[0].directory).iterdir():
        path.unlink()
    assert control("list") is Exit.NO_CONNECTION
    assert "router.conf:1: cache first: cannot open" in capsys.readouterr().err
    assert list(Path(router.places[0].directory).iterdir()) == [], "a guest makes nothing"


MANUAL = 'import uwsgi\nuwsgi.cache_set("example.com:8000", "127.0.0.1:4040")\n'


def test_on_a_running_router(servers: Servers, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """The router's own processes have the caches open meanwhile; HUP and the router's end leave them in order."""
    (servers.directory / "script.py").write_text(MANUAL)
    config = f"[uwsgi]\nfastrouter = 127.0.0.1:{free_port()}\nfastrouter-use-cache\ncache = 100\nfile = script.py\n"
    router = servers.router(config=config)
    router.wait_for_workers(1)
    named = ("--router", str(router.pid))
    wait_until(lambda: control(*named, "list") is Exit.OK, 5, "the router told of its caches")
    capsysbinary.readouterr()
    assert control(*named, "set", "unbit.it", "127.0.0.1:4041,5") is Exit.OK
    (servers.directory / "script.py").write_text(MANUAL.replace("4040", "5050"))
    router.hup()
    router.wait_for_log("reloaded in")
    assert control(*named, "list") is Exit.OK
    assert capsysbinary.readouterr().out == b"example.com:8000 127.0.0.1:5050\nunbit.it 127.0.0.1:4041,5\n"
    assert router.stop() == 0
    assert control(*named, "list") is Exit.NOT_FOUND

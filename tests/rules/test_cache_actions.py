"""Rules on the named caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rules.made import Playground, PlayHost
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.specs import cache_specs
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.base import ChainName
from uwsgirouter.settings.settings import Settings

TWO = "cache2 = name=one,items=10\ncache2 = name=two,items=10,blocksize=16\n"
THEN = 1_700_000_000

Play = Callable[[str], Playground]


@pytest.fixture
def caches(tmp_path: Path) -> Iterator[Caches]:
    settings = Settings.of(cache2=["name=one,items=10", "name=two,items=10,blocksize=16"])
    opened = Caches(cache_specs(settings), str(tmp_path), clock=lambda: THEN)
    yield opened
    opened.close()


@pytest.fixture
def play(caches: Caches) -> Play:
    return lambda rules: Playground(TWO + rules, PlayHost(caches=caches))


def test_an_answer_from_a_cache(play: Play, caches: Caches) -> None:
    caches.named("one").set(b"/a", b"value")
    rules = play("route = ^/(.*) cache:key=/$1")
    assert rules.get("/a").raw == b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nvalue"
    miss = rules.get("/b")
    assert miss.asked and miss.body == b"hello"


def test_the_head_of_an_answer(play: Play, caches: Caches, tmp_path: Path) -> None:
    (tmp_path / "types").write_text("text/css css\n")
    caches.named("two").set(b"x.css", b"value", 100)
    rules = f"mime-file = {tmp_path}/types\nroute-run = cache:key=x.css,name=two,content_encoding=gzip"
    reply = play(f"{rules},mime=1,nocl=1").get()
    assert reply.head.decode() == (
        "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Encoding: gzip\r\nExpires: Tue, 14 Nov 2023 22:15:00 GMT"
    )
    assert play(f"{rules},content_type=a/b").get().header("Content-Type") == "a/b"


def test_cache_continue_goes_on_behind_its_answer(play: Play, caches: Caches) -> None:
    caches.named("one").set(b"k", b"value")
    reply = play("route-run = cache-continue:key=k\nroute-run = log:and on").get()
    assert (reply.log, reply.asked, reply.body) == (["and on"], True, b"value")


def test_cachevar(play: Play, caches: Caches) -> None:
    caches.named("one").set(b"k", b"value")
    caches.named("one").inc(b"n", 41)
    got = play("""
        route-run = cacheinc:key=n
        route-run = cachevar:key=k,var=TEXT
        route-run = cachevar:key=n,var=RAW
        route-run = cachevar:key=n,var=NUMBER,as_num=1
        route-run = cachevar:key=k,var=NONE,num=1
        route-run = cachevar:key=nothing,var=MISSING
    """).get()
    assert got.variables["TEXT"] == "value"
    assert got.variables["RAW"] == "*" + "\0" * 7
    assert got.variables["NUMBER"] == "42"
    assert got.variables["NONE"] == "0"
    assert "MISSING" not in got.variables


def test_cacheset_adds_and_does_not_replace(play: Play, caches: Caches) -> None:
    rules = play("route-run = cacheset:key=${PATH_INFO},value=<${REMOTE_ADDR}>,name=one,expires=50")
    assert rules.get("/a").asked
    assert caches.named("one").timed(b"/a") == (b"<127.0.0.1>", THEN + 50)
    again = rules.get("/a")
    assert not again.asked
    assert "is there already" in again.log[0]


def test_counting(play: Play, caches: Caches) -> None:
    rules = play("""
        route-run = cacheinc:key=n,value=20
        route-run = cachedec:key=n
        route-run = cachemul:key=n
        route-run = cachediv:key=n,value=${HTTP_BY}
    """)
    rules.get("/", {"By": "3"})
    assert caches.named("one").num(b"n") == 12
    rules.get("/", {"By": "0"})
    assert caches.named("one").num(b"n") == 0


@pytest.mark.parametrize(
    "rule",
    [
        "cacheset:key=k,value=v,name=unknown",
        "cacheinc:key=k,name=unknown",
        "cacheinc:key=text",
        "cacheset:key=k,value=12345678901234567,name=two",
        "cacheset:key=k,value=${HTTP_EMPTY}",
    ],
)
def test_a_write_that_fails_ends_the_request(play: Play, caches: Caches, rule: str) -> None:
    caches.named("one").set(b"text", b"no number")
    reply = play(f"route-run = {rule}").get()
    assert not reply.asked
    assert reply.status == 500


@pytest.mark.parametrize("rule", ["cache:key=k", "cachevar:key=k,var=X", "cache-continue:key=k,name=unknown"])
def test_a_read_of_no_cache_is_a_miss(rule: str) -> None:
    play = Playground(f"route-run = {rule}")
    assert play.get().asked
    assert "there is no cache" in play.warnings[0]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("cache:name=one", "key= is missing"),
        ("cacheset:key=k", "value= is missing"),
        ("cachevar:key=k", "var= is missing"),
        ("cacheinc:value=1", "key= is missing"),
        ("cacheset:key=k,value=v,expires=soon", "expires"),
    ],
)
def test_bad_arguments(rule: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Playground(f"{TWO}route-run = {rule}")


@pytest.mark.parametrize(
    ("rule", "waits"),
    [
        ("route-run = cache:key=k,name=far", True),
        ("route-run = cachevar:key=k,var=V,name=far", True),
        ("route-run = cacheset:key=k,value=v,name=far", True),
        ("route-run = cacheinc:key=k,name=far", True),
        ("route-if = incache:key=k last:", True),
        ("route-run = cache:key=k,name=near", False),
        ("route-run = cachestore:key=k,name=far", False),
    ],
)
def test_rules_on_a_cache_of_another_server_wait(rule: str, waits: bool) -> None:
    play = Playground(f"cache2 = name=near,items=1\ncache2 = name=far,url=redis://127.0.0.1:1\n{rule}")
    assert play.table.waits(ChainName.REQUEST) is waits

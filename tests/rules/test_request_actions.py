"""Actions that change the request: what the application gets, and what later rules see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules.made import Playground, packet_for
from uwsgirouter.errors import ConfigError
from uwsgirouter.protocol.packet import KEY_MAX, decode_vars
from uwsgirouter.rules.base import ChainName, Verdict
from uwsgirouter.rules.hashing import djb33x, murmur2
from uwsgirouter.rules.paths import normal


def sees(rules: str, path: str = "/a?q=1", **variables: str) -> dict[str, str]:
    return Playground(rules).get(path, **variables).variables


def test_addvar_changes_what_the_application_gets_and_no_subject() -> None:
    got = Playground("""
        route = ^/(.) addvar:X=<$1>
        route-run = addvar:PATH_INFO=/other
        route = ^/other addvar:SEEN=changed
        route-run = addvar:COPY=${PATH_INFO}
        route-run = addvar: X = spaced
    """).get("/a")
    assert got.variables["X"] == "<a>"
    assert got.variables["PATH_INFO"] == "/other" == got.variables["COPY"]
    assert "SEEN" not in got.variables
    assert got.variables[" X "] == " spaced"


@pytest.mark.parametrize(
    ("rule", "name", "value"),
    [
        ("setapp:shop", "UWSGI_APPID", "shop"),
        ("setuser:joe:secret", "REMOTE_USER", "joe"),
        ("sethome:/srv/env", "UWSGI_HOME", "/srv/env"),
        ("setfile:/srv/app.py", "UWSGI_FILE", "/srv/app.py"),
        ("setscriptname:/mount", "SCRIPT_NAME", "/mount"),
        ("setmethod:PUT", "REQUEST_METHOD", "PUT"),
        ("seturi:/raw%2e?x", "REQUEST_URI", "/raw%2e?x"),
        ("setremoteaddr:10.1.2.3", "REMOTE_ADDR", "10.1.2.3"),
        ("setpathinfo:/lit%20eral?x", "PATH_INFO", "/lit%20eral?x"),
        ("setdocroot:/srv", "DOCUMENT_ROOT", "/srv"),
        ("setscheme:https", "UWSGI_SCHEME", "https"),
    ],
)
def test_setters(rule: str, name: str, value: str) -> None:
    assert sees(f"route-run = {rule}")[name] == value


def test_setters_change_what_rules_look_at() -> None:
    got = sees("""
        route-run = setpathinfo:/new
        route = ^/new$ addvar:PATH=seen
        route-run = setremoteaddr:10.0.0.9
        route-remote-addr = ^10\\.0\\.0\\.9$ addvar:ADDR=seen
        route-run = seturi:/uri
        route-uri = ^/uri$ addvar:URI=seen
        route-run = setuser:ann
        route-remote-user = ^ann$ addvar:USER=seen
    """)
    assert [got[name] for name in ("PATH", "ADDR", "URI", "USER")] == ["seen"] * 4


def test_fixpathinfo_takes_the_length_of_the_script_name() -> None:
    assert sees("route-run = fixpathinfo:", "/app/x", SCRIPT_NAME="/app")["PATH_INFO"] == "/x"
    assert sees("route-run = fixpathinfo:", "/x", SCRIPT_NAME="/longer")["PATH_INFO"] == ""
    assert sees("route-run = fixpathinfo:", "/x")["PATH_INFO"] == "/x"


def test_modifiers() -> None:
    got = Playground("route-run = setmodifier1:5\nroute-run = setmodifier2:9").get()
    assert got.exchange.modifiers == (5, 9)


@pytest.mark.parametrize(
    ("path", "query", "old", "expected"),
    [
        ("/index.php", "", "", ("/index.php", "")),
        ("/index.php?page=1", "", "", ("/index.php", "page=1")),
        ("/index.php?page=1", "", "old=2", ("/index.php", "page=1&old=2")),
        ("/index.php", "", "old=2", ("/index.php", "old=2")),
        ("/x?", "", "old", ("/x", "&old")),
        ("/a/../b/./c%41%zz%4", "", "", ("/b/cA\0", "")),
        ("/a#b?c", "", "", ("/a", "c")),
    ],
)
def test_rewrite(path: str, query: str, old: str, expected: tuple[str, str]) -> None:
    got = sees(f"route-run = rewrite:{path}", f"/before?{old}" if old else "/before")
    assert (got["PATH_INFO"], got["QUERY_STRING"]) == expected
    assert got["REQUEST_URI"].startswith("/before")


def test_rewrite_goes_on_and_rewrite_last_does_not() -> None:
    rules = "route = ^/a {}:/b\nroute = ^/b addvar:SEEN=yes"
    assert sees(rules.format("rewrite"))["SEEN"] == "yes"
    assert "SEEN" not in sees(rules.format("rewrite-last"))


@pytest.mark.parametrize(
    ("path", "result"),
    [
        (b"", b""),
        (b"/", b"/"),
        (b"#", b"/"),
        (b"a", b"a"),
        (b"./a", b"/a"),
        (b"../a", b"/a"),
        (b"/..", b""),
        (b"/a/..", b"/"),
        (b"/a/.", b"/a/"),
        (b"/a//b", b"/a//b"),
        (b"/a/b/../../c", b"/c"),
        (b"/.../..b", b"/.../..b"),
        (b"/a/%2e%2e/b", b"/a/../b"),
        (b"/%2Fa", b"//a"),
        (b"/100%%", b"/100%"),
        (b"/%4/1", b"/\x001"),
    ],
)
def test_normal_paths(path: bytes, result: bytes) -> None:
    assert normal(path) == result


def test_hash_picks_an_item_and_keeps_to_it() -> None:
    rules = "route-run = hash:key=${{REMOTE_ADDR}},var=NODE,items=a;b;c{}"
    assert sees(rules.format(""))["NODE"] == "abc"[djb33x(b"127.0.0.1") % 3]
    assert sees(rules.format(";,algo=murmur2"))["NODE"] == "abc"[murmur2(b"127.0.0.1") % 3]


def test_arithmetic() -> None:
    got = sees("""
        route-run = addvar:N=10
        route-run = +:N,5
        route-run = *:N,3
        route-run = -:N
        route-run = /:N,4
        route-run = addvar:SMALL=3
        route-run = -:SMALL,5
        route-run = addvar:TEXT=12abc
        route-run = +:TEXT,1
        route-run = +:TEXT,
    """)
    assert got["N"] == "11"
    assert got["SMALL"] == str(2**64 - 2)
    assert got["TEXT"] == "13"


def test_setkey_and_node() -> None:
    got = Playground("route-run = setkey:${HTTP_X}\nroute-run = node:127.0.0.1:4000").get("/", {"X": "other"})
    assert got.exchange.key == b"other"
    assert got.exchange.node == "127.0.0.1:4000"


@pytest.mark.parametrize(
    "rules",
    [
        "route-run = setkey:${HTTP_X}",
        "route-run = node:${HTTP_X}",
        "route-run = chdir:${HTTP_X}/nowhere",
        "route-run = +:MISSING,1",
        "route-run = addvar:X=${HTTP_LONG}${HTTP_LONG}",
    ],
)
def test_what_cannot_be_done_breaks_the_request(rules: str) -> None:
    play = Playground(rules)
    exchange = play.exchange(packet_for("/", {"Long": "x" * 40_000}))
    assert play.table.run(ChainName.REQUEST, exchange) is Verdict.BREAK
    assert exchange.broken
    assert decode_vars(exchange.packet)


def test_a_key_has_a_bounded_length() -> None:
    play = Playground("route-run = setkey:${HTTP_X}")
    exchange = play.exchange(packet_for("/", {"X": "k" * (KEY_MAX + 1)}))
    assert play.table.run(ChainName.REQUEST, exchange) is Verdict.BREAK


def test_chdir_moves_where_names_start(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    got = Playground(f"route-run = chdir:{tmp_path}\nroute-run = chdir:sub").get()
    assert got.exchange.directory == str(tmp_path / "sub").encode()


def test_the_title() -> None:
    play = Playground("route-run = setprocname:busy with ${PATH_INFO}")
    play.get("/x")
    assert play.host.titles == [b"busy with /x"]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("addvar:novalue", "expected NAME=value"),
        ("addvar:=v", "expected NAME=value"),
        ("setmodifier1:256", "from 0 to 255"),
        ("setmodifier2:x", "from 0 to 255"),
        ("hash:key=a,var=B", "items= is missing"),
        ("hash:key=a,var=B,items=a;;b", "empty item"),
        ("hash:key=a,var=B,items=a,algo=md5", "djb33x or murmur2"),
        ("+:,1", "expected VAR,N"),
        ("setkey:", "a key is missing"),
        ("node:[::1", "address"),
    ],
)
def test_bad_arguments_are_told_at_start(rule: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        Playground(f"route-run = {rule}")
    assert "rules:1" in str(caught.value)
    assert rule in str(caught.value)


def test_a_key_that_means_nothing_is_told() -> None:
    play = Playground("route-run = hash:key=a,var=B,items=a;b,itmes=c")
    assert "did you mean items=?" in play.warnings[0]

"""An address made of the key: what the real one makes of it, but never out of the configured place."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.mappers.made import GRACE, World, only, places
from uwsgirouter.errors import BadKey, BadTarget, ConfigError
from uwsgirouter.mappers import direct
from uwsgirouter.mappers.pattern import PatternMapper
from uwsgirouter.model.node import State
from uwsgirouter.settings.address import Address, Kind
from uwsgirouter.settings.targets import example, fill, pattern_of_base


def normal(path: str) -> str:
    """The path without detours (two slashes in front are one, but normpath keeps them)."""
    return os.path.normpath(re.sub("^/+", "/", path))


def address(pattern: str, key: bytes, strip_port: bool = False) -> Address:
    """What the mapper makes of the key."""
    return PatternMapper(pattern, World().direct, strip_port)._address(key)


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("/tmp/sockets/%s", b"example.com", "/tmp/sockets/example.com"),
        ("/tmp/sockets/%s/uwsgi.sock", b"example.com", "/tmp/sockets/example.com/uwsgi.sock"),
        ("/tmp/sock-%s", b"a", "/tmp/sock-a"),
        ("/tmp/%s", b"a/b", "/tmp/a/b"),
        ("/tmp/%s", b"/a//b/", "/tmp//a//b/"),
        ("/tmp/%s", b"a..b", "/tmp/a..b"),
        ("/tmp/%s", b"...", "/tmp/..."),
        ("/tmp/%s", b"%s", "/tmp/%s"),
        ("/tmp/%s", b"@a", "/tmp/@a"),
        ("/tmp/%s", b"EXAMPLE.com", "/tmp/EXAMPLE.com"),
        ("/tmp/%s", b"\xff\xc3\xa9", "/tmp/\udcffé"),
        ("/tmp/%s", b"a b\n", "/tmp/a b\n"),
        ("/%s", b"a", "/a"),
        ("/%s", b"/a", "//a"),
        ("//tmp/%s", b"a", "//tmp/a"),
        ("/tmp/%s/%s.sock", b"a", "/tmp/a/a.sock"),
        ("/tmp/100%%/%s%d%", b"a", "/tmp/100%/a"),
        ("/tmp/../srv/%s", b"a", "/tmp/../srv/a"),
        ("/srv/%s/../%s", b"a", "/srv/a/../a"),
        ("sockets/%s", b"a", "sockets/a"),
        ("./%s", b"a", "./a"),
        ("../%s", b"a", "../a"),
        ("%s", b"a", "a"),
        ("@app-%s", b"a", "@app-a"),
        ("@%s", b"../a", "@../a"),
        ("%s:3031", b"example.com", "example.com:3031"),
        ("%s:3031", b"10.0.0.1", "10.0.0.1:3031"),
        ("www.%s:80", b"example.com", "www.example.com:80"),
        ("10.0.0.%s:80", b"7", "10.0.0.7:80"),
        ("127.0.0.1:%s", b"3031", "127.0.0.1:3031"),
        ("127.0.0.1:3%s", b"031", "127.0.0.1:3031"),
        (":%s", b"3031", "127.0.0.1:3031"),
        ("[::1]:%s", b"3031", "[::1]:3031"),
        ("[fd00::%s]:80", b"a1", "[fd00::a1]:80"),
        ("[fe80::%s%%eth0]:80", b"a1", "[fe80::a1%eth0]:80"),
        ("node:%s", b"80", "node:80"),
    ],
)
def test_what_a_key_leads_to(pattern: str, key: bytes, expected: str) -> None:
    assert address(pattern, key).text == expected


@pytest.mark.parametrize(
    ("pattern", "key", "said"),
    [
        ("/tmp/%s", b"..", "leave"),
        ("/tmp/%s", b"../etc/x", "leave"),
        ("/tmp/%s", b"a/../../x", "leave"),
        ("/tmp/%s", b"a/../b", "leave"),
        ("/tmp/%s", b"/..", "leave"),
        ("/tmp/.%s", b"./x", "leave"),
        ("/tmp/..%s", b"/x", "leave"),
        ("/tmp/%s./x", b".", "leave"),
        ("/tmp/%s/x", b"..", "leave"),
        ("/srv/%s/../s", b".", "leave"),
        ("/srv/%s/../s", b"/", "leave"),
        ("/srv/a/%s/../s", b"../../b", "leave"),
        ("sockets/%s", b"../x", "leave"),
        ("./%s", b"..", "leave"),
        ("%s", b"/etc/x", "leave"),
        ("%s/x", b"..", "leave"),
        ("../%s", b"..", "leave"),
        ("%s", b"@x", "another kind"),
        ("/tmp/%s", b"evil:80", "host and port"),
        ("%s", b"evil:80", "host and port"),
        ("/tmp/%s", b"[::1]:80", "host and port"),
        ("/tmp/%s", b":", "host and port"),
        ("%s:80", b"evil:90", "host and port"),
        ("/tmp/%s", b"a\0b", "NUL"),
        ("/tmp/%s", b"a" * 200, "at most 107"),
        ("@%s", b"a" * 107, "at most 106"),
        ("%s:80", b"/etc/x", "another kind"),
        ("%s:80", b"@x", "another kind"),
        ("%s:80", b"a/b", "no host name"),
        ("%s:80", b"a b", "no host name"),
        ("%s:80", b"a\n", "no host name"),
        ("%s:80", b"a\xff", "no host name"),
        ("%s:80", b"*", "only a listener"),
        ("%s:80", b"[", "expected"),
        ("10.0.0.%s:80", b"evil.com", "another kind"),
        ("10.0.0.%s:80", b"7.evil.com", "another kind"),
        ("10.0.%s:80", b"evil.com", "another kind"),
        ("127.0.0.1:%s", b"x", "a port is a number"),
        ("127.0.0.1:%s", b"0", "a port is a number"),
        ("127.0.0.1:%s", b"80 ", "a port is a number"),
        ("[fd00::%s]:80", b"x", "fd00::x"),
        ("[fd00::%s]:80", b"1]", "expected"),
        ("[fd00::%s]:80", b"1%eth0", "no host name"),
        ("[fe80::%s%%eth0]:80", b"1%x", "no host name|IPv6|scope|address"),
    ],
)
def test_a_key_that_would_lead_elsewhere(pattern: str, key: bytes, said: str) -> None:
    with pytest.raises(BadKey, match=said):
        address(pattern, key)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"example.com:8000", "/tmp/example.com"),
        (b"example.com", "/tmp/example.com"),
        (b"[::1]:80", None),
        (b"example.com:x", None),
        (b"..:80", None),
    ],
)
def test_strip_port(key: bytes, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(BadKey):
            address("/tmp/%s", key, strip_port=True)
    else:
        assert address("/tmp/%s", key, strip_port=True).text == expected


PATH_PIECES = st.text("abx./-_%", max_size=12)
NASTY = st.text("./:@[]%s*0a\0\n ~é", min_size=1, max_size=30).map(str.encode)
KEYS = st.one_of(st.binary(min_size=1, max_size=255), NASTY)


@given(st.sampled_from(["/", "/srv/", "/srv/a-", "@", "@app/", "sockets/", "./", ""]), PATH_PIECES, KEYS, st.booleans())
def test_whatever_the_key_it_stays_in_the_place(head: str, piece: str, key: bytes, strip_port: bool) -> None:
    base = head + piece.replace("%", "")
    assume(".." not in base.split("/") and base != "@")
    try:
        found = address(pattern_of_base(base), key, strip_port)
    except BadKey as error:
        assert str(error)
        return
    assert found.kind is (Kind.ABSTRACT if base.startswith("@") else Kind.UNIX)
    assert found.text.startswith(base)
    assert "\0" not in found.host
    if found.kind is Kind.UNIX:
        path, place = normal(found.host), normal(base or ".")
        assert path.startswith("" if place == "." else place)
        assert os.path.isabs(path) == os.path.isabs(base)
        assert path.split("/")[0] != ".."
        assert len(os.fsencode(found.host)) <= 107


@given(st.sampled_from(["/srv/%s/../%s", "/srv/a%s/../../srv/b", "x/%s/../s", "../y/%s", "/%s/../s"]), KEYS)
def test_a_pattern_that_climbs_stays_in_its_directory(pattern: str, key: bytes) -> None:
    try:
        found = address(pattern, key)
    except BadKey:
        return
    directory = os.path.dirname(pattern.partition("%s")[0] + "x")
    inside = os.path.relpath(os.path.normpath("/cwd/deep/" + found.host), os.path.normpath("/cwd/deep/" + directory))
    if not pattern.startswith("/"):
        assert inside.split("/")[0] != ".."
    else:
        assert os.path.normpath(found.host).startswith(os.path.normpath(directory))


@given(st.sampled_from(["%s:3031", "10.0.0.%s:80", "127.0.0.1:%s", ":%s", "[::%s]:80", "www.%s:80"]), KEYS)
def test_a_pattern_of_hosts_gives_hosts_and_ports_of_its_own(pattern: str, key: bytes) -> None:
    meant = example(pattern)
    try:
        found = address(pattern, key)
    except BadKey:
        return
    assert not found.is_unix
    assert found.kind is meant.kind or (meant.kind, found.kind) == (Kind.NAME, Kind.TCP4)
    assert not found.is_wildcard and "*" not in found.host
    if not pattern.endswith("%s"):
        assert found.port == meant.port
    else:
        assert found.host == meant.host


@given(st.text("ab%sd/", max_size=12), st.text("ab%s/", min_size=1, max_size=6))
def test_filling_looks_at_the_pattern_alone(pattern: str, key: str) -> None:
    assert fill(pattern, key) == fill(pattern, "\0").replace("\0", key)
    assert fill(pattern_of_base(pattern), key) == pattern + key


@pytest.mark.parametrize("pattern", ["/tmp/sock", "/tmp/%%s", "/tmp/%d", "10.0.0.1:80"])
def test_a_pattern_without_a_place_for_the_key_is_one_address(pattern: str) -> None:
    mapper = PatternMapper(pattern, World().direct, strip_port=False)
    assert only(mapper.find(b"a")) is only(mapper.find(b"b"))


@pytest.mark.parametrize("pattern", ["", "%", "a.example:x%s"])
def test_a_pattern_that_is_no_address(pattern: str) -> None:
    with pytest.raises(ConfigError):
        example(pattern)


def test_a_key_has_one_node() -> None:
    world = World()
    mapper = PatternMapper("/tmp/%s", world.direct, strip_port=False)
    turns = mapper.find(b"a")
    assert mapper.find(b"a") is turns
    assert only(turns).address.text == "/tmp/a"
    assert only(turns).modifiers == (0, 0)
    assert only(mapper.find(b"b")) is not only(turns)


def test_the_only_node_of_a_key_is_tried_again_as_a_last_resort_and_up_after_the_grace_time() -> None:
    world = World()
    mapper = PatternMapper("/tmp/%s", world.direct, strip_port=False)
    node = only(mapper.find(b"a"))
    for _ in range(3):
        world.direct.fail(node)
        turns = mapper.find(b"a")
        assert turns is not None
        assert turns.next() is None
        assert turns.last_resort(()) is node
    world.now += GRACE
    world.direct.recover()
    assert only(mapper.find(b"a")) is node


def test_keys_of_one_address_share_its_fate() -> None:
    world = World()
    mapper = PatternMapper("/tmp/%s", world.direct, strip_port=True)
    one, two = only(mapper.find(b"a:80")), only(mapper.find(b"a:81"))
    assert one is two
    world.direct.fail(one)
    turns = mapper.find(b"a")
    assert turns is not None and turns.next() is None


def test_keys_from_the_network_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "REMEMBERED", 8)
    world = World()
    mapper = PatternMapper("/tmp/%s", world.direct, strip_port=False)
    kept = mapper.find(b"kept")
    for number in range(200):
        world.direct.fail(only(mapper.find(b"%d" % number)))
        with pytest.raises(BadKey):
            mapper.find(b"../%d" % number)
        assert mapper.find(b"kept") is kept
    assert len(mapper._targets) == 8
    assert len(world.direct._down) == 8
    assert len(world.direct._places) <= 16
    assert only(kept).state is State.UP


def test_a_name_is_looked_up_for_who_asks() -> None:
    world = World(app_example=["10.0.0.1", "10.0.0.2"])
    mapper = PatternMapper("%s.example:80", world.direct, strip_port=False)
    assert mapper.find(b"app") is None
    assert places(mapper.ask(b"app", ()), 1) == ["10.0.0.1:80"]
    assert places(mapper.find(b"app"), 3) == ["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]
    assert mapper.find(b"gone") is None
    with pytest.raises(BadTarget, match=r"gone\.example"):
        mapper.ask(b"gone", ())
    with pytest.raises(BadKey):
        mapper.find(b"a/b")
    with pytest.raises(BadKey):
        mapper.ask(b"a/b", ())
    assert world.asked == ["app.example", "gone.example"]


def test_a_number_needs_no_look_up() -> None:
    world = World()
    mapper = PatternMapper("%s:80", world.direct, strip_port=False)
    assert places(mapper.find(b"10.0.0.1"), 1) == places(mapper.ask(b"10.0.0.1", ()), 1) == ["10.0.0.1:80"]
    assert world.asked == []

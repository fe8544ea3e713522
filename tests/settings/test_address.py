"""Addresses as options and announcements write them."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import UNIX_PATH_MAX, Kind, parse_listen, parse_peer


@pytest.mark.parametrize(
    ("text", "kind", "family", "sockaddr"),
    [
        ("127.0.0.1:3017", Kind.TCP4, socket.AF_INET, ("127.0.0.1", 3017)),
        (":3017", Kind.TCP4, socket.AF_INET, ("", 3017)),
        ("192.168.*:0", Kind.TCP4, socket.AF_INET, ("192.168.*", 0)),
        ("[::1]:3017", Kind.TCP6, socket.AF_INET6, ("::1", 3017)),
        ("localhost:3017", Kind.NAME, socket.AF_UNSPEC, ("localhost", 3017)),
        ("/run/a.sock", Kind.UNIX, socket.AF_UNIX, "/run/a.sock"),
        ("/run/a:b", Kind.UNIX, socket.AF_UNIX, "/run/a:b"),
        ("a.sock", Kind.UNIX, socket.AF_UNIX, "a.sock"),
        ("@name", Kind.ABSTRACT, socket.AF_UNIX, b"\0name\0"),
    ],
)
def test_forms(text: str, kind: Kind, family: socket.AddressFamily, sockaddr: object) -> None:
    address = parse_listen(text)
    assert (address.kind, address.family, address.sockaddr, address.text) == (kind, family, sockaddr, text)


def test_numbers_of_sockets_and_descriptors() -> None:
    assert (parse_listen("=3").kind, parse_listen("=3").port) == (Kind.SHARED, 3)
    assert (parse_listen("fd://4").kind, parse_listen("fd://4").port) == (Kind.FD, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("@", "at least one character"),
        ("::1:80", "brackets"),
        ("[::1]80", r"\[v6\]:port"),
        ("[::1", r"\[v6\]:port"),
        ("[nonsense]:80", "nonsense"),
        ("127.0.0.1:", "1 to 65535"),
        ("127.0.0.1:65536", "1 to 65535"),
        ("127.0.0.1:+1", "1 to 65535"),
        ("=x", "number of a shared-socket"),
        ("=1024", "number of a shared-socket"),
        ("fd://", "descriptor"),
        ("/" + "x" * UNIX_PATH_MAX, "at most 107"),
        ("@" + "x" * UNIX_PATH_MAX, "at most 106"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_listen(text)


def test_only_a_listener_may_have_port_zero() -> None:
    assert parse_listen("127.0.0.1:0").port == 0
    with pytest.raises(ConfigError):
        parse_peer("127.0.0.1:0")


def test_two_spellings_have_one_identity() -> None:
    assert parse_peer("127.0.0.1:80").identity == parse_peer("127.0.0.1:080").identity
    assert parse_peer("/a").identity != parse_peer("@/a").identity


@pytest.mark.parametrize(
    ("text", "wildcard"), [(":80", True), ("0.0.0.0:80", True), ("[::]:80", True), ("[::1]:80", False)]
)
def test_wildcards(text: str, wildcard: bool) -> None:
    assert parse_peer(text).is_wildcard is wildcard


@given(st.text(max_size=130))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    try:
        address = parse_listen(text)
    except ConfigError:
        return
    assert address.text == text
    assert address.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_UNSPEC)

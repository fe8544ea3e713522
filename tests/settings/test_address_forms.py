"""Addresses as people write them: which kind each text is, what a socket call gets, and what is refused."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import hypothesis_profiles
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import UNIX_PATH_MAX, Kind, parse_listen, parse_peer

hypothesis_profiles.load()


@pytest.mark.parametrize(
    ("text", "kind", "family", "sockaddr"),
    [
        ("127.0.0.1:3017", Kind.TCP4, socket.AF_INET, ("127.0.0.1", 3017)),
        ("0.0.0.0:1", Kind.TCP4, socket.AF_INET, ("0.0.0.0", 1)),
        (":3017", Kind.TCP4, socket.AF_INET, ("", 3017)),
        ("[::1]:3017", Kind.TCP6, socket.AF_INET6, ("::1", 3017)),
        ("[::]:65535", Kind.TCP6, socket.AF_INET6, ("::", 65535)),
        ("[2001:DB8:0:0::1]:80", Kind.TCP6, socket.AF_INET6, ("2001:db8::1", 80)),
        ("[fe80::1%eth0]:80", Kind.TCP6, socket.AF_INET6, ("fe80::1%eth0", 80)),
        ("app.example.com:80", Kind.NAME, socket.AF_UNSPEC, ("app.example.com", 80)),
        ("localhost:080", Kind.NAME, socket.AF_UNSPEC, ("localhost", 80)),
        ("256.0.0.1:80", Kind.NAME, socket.AF_UNSPEC, ("256.0.0.1", 80)),
        ("127.0.0.01:80", Kind.NAME, socket.AF_UNSPEC, ("127.0.0.01", 80)),
        ("/run/router.sock", Kind.UNIX, socket.AF_UNIX, "/run/router.sock"),
        ("/run/a:b", Kind.UNIX, socket.AF_UNIX, "/run/a:b"),
        ("router.sock", Kind.UNIX, socket.AF_UNIX, "router.sock"),
        ("3017", Kind.UNIX, socket.AF_UNIX, "3017"),
        ("@router", Kind.ABSTRACT, socket.AF_UNIX, b"\0router\0"),
        ("@a:1", Kind.ABSTRACT, socket.AF_UNIX, b"\0a:1\0"),
        ("@é\udcff", Kind.ABSTRACT, socket.AF_UNIX, b"\0\xc3\xa9\xff\0"),
    ],
)
def test_what_a_text_means(text: str, kind: Kind, family: int, sockaddr: object) -> None:
    for address in (parse_peer(text), parse_listen(text)):
        assert (address.kind, address.family, address.sockaddr, address.text) == (kind, family, sockaddr, text)
        assert address.is_unix is (family == socket.AF_UNIX)


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [("=0", Kind.SHARED, 0), ("=1023", Kind.SHARED, 1023), ("fd://0", Kind.FD, 0), ("fd://17", Kind.FD, 17)],
)
def test_what_only_a_listener_can_be(text: str, kind: Kind, number: int) -> None:
    address = parse_listen(text)
    assert (address.kind, address.port, address.family) == (kind, number, socket.AF_UNSPEC)


@pytest.mark.parametrize("text", ["*:80", "192.168.*.*:80", "*.example.com:80", "é*:80"])
def test_a_star_is_for_listeners_alone(text: str) -> None:
    assert parse_listen(text).sockaddr == (text[:-3], 80)
    with pytest.raises(ConfigError, match="only a listener can have those"):
        parse_peer(text)


@pytest.mark.parametrize("text", [":0", "127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_port_0_is_for_listeners_alone(text: str) -> None:
    assert parse_listen(text).port == 0
    with pytest.raises(ConfigError, match="a port is a number from 1 to 65535"):
        parse_peer(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty address"),
        ("a\0b", "NUL"),
        ("/a\0", "NUL"),
        ("@", "at least one character"),
        ("127.0.0.1:", "a port is a number"),
        ("127.0.0.1:65536", "a port is a number"),
        ("127.0.0.1:-1", "a port is a number"),
        ("127.0.0.1:+1", "a port is a number"),
        ("127.0.0.1: 1", "a port is a number"),
        ("127.0.0.1:1_0", "a port is a number"),
        ("127.0.0.1:http", "a port is a number"),
        ("127.0.0.1:٣", "a port is a number"),
        ("127.0.0.1:²", "a port is a number"),
        ("127.0.0.1:" + "9" * 5000, "a port is a number"),
        ("::1:80", "stands in brackets"),
        ("2001:db8::1:80", "stands in brackets"),
        ("[::1]", r"expected \[v6\]:port"),
        ("[::1", r"expected \[v6\]:port"),
        ("[::1]80", r"expected \[v6\]:port"),
        ("[::1]:", "a port is a number"),
        ("[::1]:99999", "a port is a number"),
        ("[]:80", "At least 3 parts|cannot be empty"),
        ("[localhost]:80", "address"),
        ("[127.0.0.1]:80", "address"),
        ("[::1%]:80", "address"),
        ("[::1%é]:80", "ASCII"),
        ("[::1%\udcff]:80", "ASCII"),
        ("/" + "a" * UNIX_PATH_MAX, "108 bytes, a unix socket's name has at most 107"),
        ("/" + "é" * 54, "109 bytes"),
        ("@" + "a" * UNIX_PATH_MAX, "107 bytes, a unix socket's name has at most 106"),
    ],
)
def test_what_is_refused_and_why(text: str, said: str) -> None:
    for parse in (parse_peer, parse_listen):
        with pytest.raises(ConfigError, match=said):
            parse(text)


@pytest.mark.parametrize(
    "text", ["=", "=-1", "=1024", "=x", "=" + "1" * 5000, "fd://", "fd://-1", "fd://x", "fd://9999999", "fd://1.5"]
)
def test_listeners_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"shared-socket|descriptor's number"):
        parse_listen(text)


def test_the_longest_unix_names_can_be_bound(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = str(tmp_path_factory.mktemp("s"))
    path = directory + "/" + "a" * (UNIX_PATH_MAX - len(directory) - 1)
    abstract = "@uwsgirouter-test-address-"
    abstract += "a" * (UNIX_PATH_MAX - len(abstract))
    for text in (path, abstract):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(parse_listen(text).sockaddr)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1:80", "127.0.0.1:080", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("[::1]:80", "[0:0:0:0:0:0:0:1]:80", True),
        ("[2001:DB8::A]:80", "[2001:db8:0::a]:080", True),
        ("[::1]:80", "[::2]:80", False),
        ("/a", "@a", False),
        ("/a", "a", False),
        ("=1", "fd://1", False),
    ],
)
def test_identity(one: str, other: str, same: bool) -> None:
    assert (parse_listen(one).identity == parse_listen(other).identity) is same


@pytest.mark.parametrize(
    ("text", "wildcard"),
    [
        (":80", True),
        ("0.0.0.0:80", True),
        ("[::]:80", True),
        ("[0::0]:80", True),
        ("[0:0:0:0:0:0:0:0]:80", True),
        ("127.0.0.1:80", False),
        ("[::1]:80", False),
        ("/a", False),
    ],
)
def test_wildcards(text: str, wildcard: bool) -> None:
    assert parse_peer(text).is_wildcard is wildcard


@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_every_spelling_of_an_ipv6_address_is_one(address: object, port: int) -> None:
    spellings = {str(address), address.exploded, str(address).upper()}  # type: ignore[attr-defined]
    assert len({parse_peer(f"[{spelling}]:{port}").identity for spelling in spellings}) == 1


@given(st.one_of(st.text(max_size=130), st.text("@[]:/.=*%fd0123456789", max_size=20)))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    for parse in (parse_peer, parse_listen):
        try:
            address = parse(text)
        except ConfigError as error:
            assert error.message
            continue
        assert address.text == text
        assert address.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_UNSPEC)
        assert parse(text) == address
        if address.is_unix:
            sockaddr = address.sockaddr
            size = len(sockaddr if isinstance(sockaddr, bytes) else str(sockaddr).encode("utf-8", "surrogateescape"))
            assert 1 <= size <= 108
        else:
            assert 0 <= address.port <= 1 << 20

"""Finding nodes by what they announced: byte for byte first, then in lower case and without the port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import put, table
from uwsgirouter.mappers.subscription import SubscriptionMapper
from uwsgirouter.model.events import Gone
from uwsgirouter.model.table import STATIC_KEY


def found(keys: list[bytes], key: bytes, strip_port: bool, fallback_key: bytes = b"") -> bytes | None:
    """The key of the slot that serves ``key`` when ``keys`` were announced and a static node is configured."""
    routes = table(put(0, STATIC_KEY), *(put(id, announced) for id, announced in enumerate(keys, start=1)))
    slot = SubscriptionMapper(routes, strip_port, fallback_key).find(key)
    return None if slot is None else slot.key


@pytest.mark.parametrize("strip_port", [False, True])
@pytest.mark.parametrize(
    ("announced", "asked", "expected"),
    [
        ([b"foo.com"], b"foo.com", b"foo.com"),
        ([b"foo.com"], b"bar.com", None),
        ([b"foo.com"], b"www.foo.com", None),
        ([b"foo.com"], b"foo.com.", None),
        ([b"foo.com"], b"FOO.com", b"foo.com"),
        ([b"FOO.com"], b"foo.com", None),
        ([b"FOO.com"], b"FOO.com", b"FOO.com"),
        ([b"foo.com", b"FOO.com"], b"FOO.com", b"FOO.com"),
        ([b"foo.com", b"FOO.com"], b"Foo.Com", b"foo.com"),
        ([b"foo.com:80"], b"foo.com:80", b"foo.com:80"),
        ([b"foo.com:80"], b"FOO.COM:80", b"foo.com:80"),
        ([b"foo.com:80"], b"foo.com", None),
        ([b"foo.com", b"foo.com:80"], b"foo.com:80", b"foo.com:80"),
        ([b"[::1]"], b"[::1]", b"[::1]"),
        ([b"\xff\xfe"], b"\xff\xfe", b"\xff\xfe"),
    ],
)
def test_with_and_without_strip_port(
    announced: list[bytes], asked: bytes, expected: bytes | None, strip_port: bool
) -> None:
    assert found(announced, asked, strip_port) == expected


@pytest.mark.parametrize(
    ("announced", "asked", "expected"),
    [
        ([b"foo.com"], b"foo.com:8000", b"foo.com"),
        ([b"foo.com"], b"FOO.com:8000", b"foo.com"),
        ([b"FOO.com"], b"FOO.com:8000", b"FOO.com"),
        ([b"foo.com", b"FOO.com"], b"FOO.com:8000", b"FOO.com"),
        ([b"FOO.com", b"foo.com:8000"], b"FOO.com:8000", b"FOO.com"),
        ([b"127.0.0.1"], b"127.0.0.1:80", b"127.0.0.1"),
        ([b"[::1]"], b"[::1]:80", b"[::1]"),
        ([b"[2001:db8::a]"], b"[2001:DB8::A]:80", b"[2001:db8::a]"),
        ([b"[:", b"[::1", b"[::"], b"[::1]", None),
        ([b":", b"::", b""], b"::1", None),
        ([b"2001:db8:", b"2001:db8"], b"2001:db8::1", None),
        ([b"foo.com"], b"foo.com:", None),
        ([b"foo.com"], b"foo.com:http", None),
        ([b"foo.com"], b"foo.com:-1", None),
        ([b"foo.com"], b"foo.com:80:80", None),
        ([b"foo.com"], b"foo.com:\xb2", None),
        ([b"foo.com"], b":80", None),
        ([b"foo.com"], b":", None),
    ],
)
def test_only_with_strip_port(announced: list[bytes], asked: bytes, expected: bytes | None) -> None:
    assert found(announced, asked, strip_port=True) == expected
    assert found(announced, asked, strip_port=False) in (None, asked.lower())


@given(st.one_of(st.binary(min_size=1, max_size=12), st.text(":[]0189aA.", min_size=1).map(str.encode)), st.booleans())
def test_no_key_reaches_the_static_nodes(key: bytes, strip_port: bool) -> None:
    assert found([], key, strip_port) is None


@given(st.lists(st.binary(min_size=1, max_size=6), max_size=5), st.binary(min_size=1, max_size=6), st.booleans())
def test_an_announced_key_is_found_as_it_is(keys: list[bytes], key: bytes, strip_port: bool) -> None:
    assert found([*keys, key], key, strip_port) == key


@given(st.text("abAB.", min_size=1, max_size=4).map(str.encode), st.integers(0, 99999), st.booleans())
def test_the_port_is_no_part_of_the_key_when_stripped(host: bytes, port: int, strip_port: bool) -> None:
    assert found([host], host + b":%d" % port, strip_port) == (host if strip_port else None)


@pytest.mark.parametrize(
    ("announced", "asked", "strip_port", "expected"),
    [
        ([b"spare", b"a"], b"a", False, b"a"),
        ([b"spare", b"a"], b"A", False, b"a"),
        ([b"spare", b"a"], b"a:80", True, b"a"),
        ([b"spare", b"a"], b"a:80", False, b"spare"),
        ([b"spare"], b"a", False, b"spare"),
        ([b"spare"], b"a:80", True, b"spare"),
        ([b"spare"], b"spare", False, b"spare"),
        ([b"a"], b"b", False, None),
        ([b"SPARE"], b"b", False, None),
        ([b"spare:80"], b"b", True, None),
    ],
)
def test_the_fallback_key_is_the_last_to_be_asked(
    announced: list[bytes], asked: bytes, strip_port: bool, expected: bytes | None
) -> None:
    assert found(announced, asked, strip_port, fallback_key=b"spare") == expected


@given(st.binary(min_size=1, max_size=12), st.booleans())
def test_with_a_fallback_key_every_key_is_served_and_by_announced_nodes(key: bytes, strip_port: bool) -> None:
    assert found([b"spare"], key, strip_port, fallback_key=b"spare") == b"spare"
    assert found([], key, strip_port, fallback_key=b"spare") is None


def test_it_sees_the_table_as_it_is_now() -> None:
    routes = table()
    mapper = SubscriptionMapper(routes, strip_port=False)
    assert mapper.find(b"foo.com") is None
    routes.apply(put(1))
    assert mapper.find(b"foo.com") is routes.slots[b"foo.com"]
    routes.apply(Gone(1))
    assert mapper.find(b"foo.com") is None
    routes.apply(put(2))
    routes.clear()
    assert mapper.find(b"foo.com") is None

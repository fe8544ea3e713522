"""Finding nodes by what they announced: byte for byte first, then in lower case and without the port, and wider."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.made import put, table
from uwsgirouter.mappers.mountpoints import with_path
from uwsgirouter.mappers.subscription import (
    LABELS_MAX,
    SubscriptionMapper,
    WideSubscriptionMapper,
    subscription_mapper,
)
from uwsgirouter.model.events import Gone
from uwsgirouter.model.node import State
from uwsgirouter.model.table import STATIC_KEY


def found(keys: list[bytes], key: bytes, strip_port: bool, fallback_key: bytes = b"") -> bytes | None:
    """The key of the slot that serves ``key`` when ``keys`` were announced and a static node is configured."""
    routes = table(put(0, STATIC_KEY), *(put(id, announced) for id, announced in enumerate(keys, start=1)))
    slot = subscription_mapper(routes, strip_port, fallback_key).find(key)
    wide = WideSubscriptionMapper(routes, strip_port, fallback_key).find(key)
    assert wide is slot, "what it can do more changes nothing for who does not use it"
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


# -- wider ------------------------------------------------------------------------------------------------------------


def served_by(key: bytes, *announced: bytes, path: bytes = b"", out: tuple[bytes, ...] = (), **options: object) -> str:
    """Whose nodes serve a request; those of the keys in ``out`` have failed."""
    routes = table(
        put(0, STATIC_KEY),
        *(put(id, each, state=State.DOWN if each in out else State.UP) for id, each in enumerate(announced, start=1)),
    )
    levels = options.get("levels", 0)
    assert isinstance(levels, int)
    mapper = WideSubscriptionMapper(routes, bool(options.pop("strip_port", False)), **options)  # type: ignore[arg-type]
    slot = mapper.find(with_path(key, path, levels))
    return "" if slot is None else slot.key.decode()


def test_who_uses_nothing_of_it_has_the_narrow_one() -> None:
    assert type(subscription_mapper(table(), True)) is SubscriptionMapper
    assert type(subscription_mapper(table(), False, dotsplit=True)) is WideSubscriptionMapper
    assert type(subscription_mapper(table(), False, levels=1)) is WideSubscriptionMapper


@pytest.mark.parametrize(
    ("announced", "asked", "expected"),
    [
        ([b".example.com"], b"www.example.com", ".example.com"),
        ([b".example.com"], b"a.b.example.com", ".example.com"),
        ([b".example.com"], b"example.com", ""),
        ([b".example.com"], b".example.com", ".example.com"),
        ([b"example.com"], b"www.example.com", ""),
        ([b".example.com", b".com"], b"www.example.com", ".example.com"),
        ([b".example.com", b".com"], b"example.com", ".com"),
        ([b".example.com", b"www.example.com"], b"www.example.com", "www.example.com"),
        ([b".example.com", b"www.example.com"], b"WWW.Example.com", "www.example.com"),
        ([b".example.com"], b"WWW.EXAMPLE.COM", ".example.com"),
        ([b".example.com"], b"www.example.com:8000", ""),
        ([b".example.com:8000"], b"www.example.com:8000", ".example.com:8000"),
        ([b".5"], b"1.2.3.4.5", ".5"),
        ([b".6"], b"1.2.3.4.5.6", ""),
        ([b"."], b"..", "."),
        ([b".a"], b".", ""),
    ],
)
def test_dotsplit(announced: list[bytes], asked: bytes, expected: str) -> None:
    assert served_by(asked, *announced, dotsplit=True) == expected


def test_dotsplit_and_the_port() -> None:
    assert served_by(b"www.foo.com:80", b".foo.com", dotsplit=True, strip_port=True) == ".foo.com"
    assert served_by(b"WWW.FOO.com:80", b".foo.com", dotsplit=True, strip_port=True) == ".foo.com"


def test_dotsplit_and_the_fallback_key() -> None:
    """uWSGI forgets the fallback key when it splits."""
    assert served_by(b"www.foo.com", b".foo.com", b"spare", dotsplit=True, fallback_key=b"spare") == ".foo.com"
    assert served_by(b"www.bar.com", b".foo.com", b"spare", dotsplit=True, fallback_key=b"spare") == "spare"


MOUNTED = (b"foo.com", b"foo.com/one", b"foo.com/one/two", b"bar.com/x")


@pytest.mark.parametrize(
    ("asked", "path", "levels", "expected"),
    [
        (b"foo.com", b"/", 2, "foo.com"),
        (b"foo.com", b"/one", 2, "foo.com/one"),
        (b"foo.com", b"/one/", 2, "foo.com/one"),
        (b"foo.com", b"/one/three", 2, "foo.com/one"),
        (b"foo.com", b"/one/two/three", 2, "foo.com/one/two"),
        (b"foo.com", b"/one/two/three", 1, "foo.com/one"),
        (b"foo.com", b"/one/two/three", 0, "foo.com"),
        (b"foo.com", b"/oneself", 2, "foo.com"),
        (b"foo.com", b"/ONE", 2, "foo.com"),
        (b"FOO.com", b"/one", 2, "foo.com/one"),
        (b"foo.com", b"/two/../one", 2, "foo.com/one"),
        (b"bar.com", b"/", 2, ""),
        (b"bar.com", b"/x", 2, "bar.com/x"),
        (b"bar.com/x", b"/y", 2, "bar.com/x"),
    ],
)
def test_mount_points(asked: bytes, path: bytes, levels: int, expected: str) -> None:
    assert served_by(asked, *MOUNTED, path=path, levels=levels) == expected


def test_the_host_goes_before_the_path() -> None:
    options: dict[str, Any] = {"dotsplit": True, "levels": 2}
    assert served_by(b"www.foo.com", b"www.foo.com", b".foo.com/x", path=b"/x", **options) == "www.foo.com"
    assert served_by(b"api.foo.com", b"www.foo.com", b".foo.com/x", path=b"/x/y", **options) == ".foo.com/x"
    assert served_by(b"api.foo.com", b".foo.com", b".com/x", path=b"/x.y", **options) == ".foo.com"


def test_the_path_goes_before_the_form_of_the_host() -> None:
    options: dict[str, Any] = {"strip_port": True, "levels": 1}
    assert served_by(b"FOO.com:80", b"FOO.com:80", b"foo.com/x", path=b"/x", **options) == "foo.com/x"
    assert served_by(b"FOO.com:80", b"FOO.com:80/x", b"foo.com/x", path=b"/x", **options) == "FOO.com:80/x"


def test_the_fallback_key_has_no_path() -> None:
    assert served_by(b"a", b"spare", path=b"/x", levels=1, fallback_key=b"spare") == "spare"


@pytest.mark.parametrize("state", [State.DOWN, State.DRAINING, State.EJECTED])
def test_a_key_whose_nodes_are_out_counts_when_no_other_does(state: State) -> None:
    routes = table(put(1, b"www.foo.com", state=state), put(2, b".foo.com"))
    mapper = WideSubscriptionMapper(routes, False, dotsplit=True)
    assert mapper.find(b"www.foo.com") is routes.slots[b".foo.com"]
    routes.apply(Gone(2))
    assert mapper.find(b"www.foo.com") is routes.slots[b"www.foo.com"], "it may answer all the same"
    routes.apply(put(2, b".foo.com", state=state))
    assert mapper.find(b"www.foo.com") is routes.slots[b"www.foo.com"], "the most specific one"


def test_a_vassal_that_can_be_started_is_no_absent_one() -> None:
    routes = table(put(1, b"www.foo.com", state=State.INACTIVE), put(2, b".foo.com"))
    assert WideSubscriptionMapper(routes, False, dotsplit=True).find(b"www.foo.com") is routes.slots[b"www.foo.com"]


@given(
    st.one_of(st.binary(min_size=1, max_size=255), st.text("./:[]aA1", min_size=1, max_size=255).map(str.encode)),
    st.one_of(st.binary(max_size=400), st.text("/.a", max_size=400).map(str.encode)),
    st.integers(0, 8),
)
def test_whatever_the_key_is_the_work_is_bounded(key: bytes, path: bytes, levels: int) -> None:
    asked = []

    class Slots(dict[bytes, object]):
        def get(self, key: bytes, default: object = None) -> object:
            asked.append(key)
            return default

    routes = table()
    routes.slots = Slots()  # type: ignore[assignment]
    mapper = WideSubscriptionMapper(routes, True, b"spare", dotsplit=True, levels=levels)
    assert mapper.find(with_path(key, path, levels)) is None
    assert len(asked) <= 4 * (LABELS_MAX + 1) * (levels + 2) + 1
    assert all(len(candidate) <= 255 for candidate in asked)

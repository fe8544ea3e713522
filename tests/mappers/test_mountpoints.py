"""The key of a request with its path, and what is left of it."""

from __future__ import annotations

import posixpath
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.mappers.mountpoints import path_of, prefixes, with_path


@pytest.mark.parametrize(
    ("path", "levels", "expected"),
    [
        (b"", 2, b"foo.com"),
        (b"/", 2, b"foo.com"),
        (b"/one", 2, b"foo.com/one"),
        (b"/one/", 2, b"foo.com/one"),
        (b"/one/two", 2, b"foo.com/one/two"),
        (b"/one/two/three", 2, b"foo.com/one/two"),
        (b"/one/two/three", 1, b"foo.com/one"),
        (b"/one/two/three", 0, b"foo.com"),
        (b"//one///two", 2, b"foo.com/one/two"),
        (b"/./one/./two", 2, b"foo.com/one/two"),
        (b"/one/../two", 2, b"foo.com/two"),
        (b"/one/two/../../three", 1, b"foo.com/three"),
        (b"/../../one", 2, b"foo.com/one"),
        (b"/..", 2, b"foo.com"),
        (b"/...", 2, b"foo.com/..."),
        (b"/.hidden", 2, b"foo.com/.hidden"),
        (b"one", 2, b"foo.com/one"),
        (b"*", 2, b"foo.com/*"),
        (b"/\xff\x00/\xc3\xa9", 2, b"foo.com/\xff\x00/\xc3\xa9"),
        (b"/A%20b", 1, b"foo.com/A%20b"),
    ],
)
def test_with_path(path: bytes, levels: int, expected: bytes) -> None:
    assert with_path(b"foo.com", path, levels) == expected


def test_a_key_has_room_for_255_bytes() -> None:
    assert with_path(b"k" * 250, b"/aaaa/b", 2) == b"k" * 250 + b"/aaaa"
    assert with_path(b"k" * 250, b"/aaaaa/b", 2) == b"k" * 250
    assert with_path(b"k" * 255, b"/a", 2) == b"k" * 255


@given(st.text("/.ab", max_size=60).map(str.encode), st.integers(0, 8))
def test_dots_mean_what_they_mean_everywhere(path: bytes, levels: int) -> None:
    normal = posixpath.normpath(b"/" + path).lstrip(b"/")
    expected = b"/".join([b"foo.com", *normal.split(b"/")[:levels]]) if normal else b"foo.com"
    assert with_path(b"foo.com", path, levels) == expected


def test_a_hostile_path_costs_little() -> None:
    began = time.process_time()
    for _ in range(100):
        with_path(b"foo.com", b"/a/.." * 13000, 8)
    assert time.process_time() - began < 1.0, "some 10 microseconds each, not the milliseconds of the whole path"


def test_the_uri_when_there_is_no_path() -> None:
    assert path_of(b"/one", b"/two") == b"/one"
    assert path_of(b"", b"/two/%C3%A9?x=/y") == b"/two/\xc3\xa9"
    assert path_of(b"", b"") == b""


@pytest.mark.parametrize(
    ("key", "levels", "expected"),
    [
        (b"a", 2, [b"a"]),
        (b"a/b", 2, [b"a/b", b"a"]),
        (b"a/b/c", 2, [b"a/b/c", b"a/b", b"a"]),
        (b"a/b/c/d/e", 2, [b"a/b/c/d/e", b"a/b/c/d", b"a/b/c", b"a"]),
        (b"/b", 1, [b"/b", b""]),
    ],
)
def test_prefixes(key: bytes, levels: int, expected: list[bytes]) -> None:
    assert list(prefixes(key, levels)) == expected

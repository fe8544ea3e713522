"""A key is a str to who wants a str, and bytes to who wants bytes."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.mappers.key import Key, without_port

RAW = st.one_of(st.binary(max_size=40), st.text("aB.:-[] é\n/", max_size=20).map(lambda text: text.encode("latin-1")))
PART = st.one_of(st.binary(max_size=2), st.sampled_from([b".", b":", b" ", b"a", b"example"]))


@pytest.mark.parametrize(
    ("key", "bare"),
    [
        (b"example.com:8000", b"example.com"),
        (b"example.com", b"example.com"),
        (b"127.0.0.1:80", b"127.0.0.1"),
        (b"[::1]:80", b"[::1]"),
        (b"[::1]", b"[::1]"),
        (b"::1", b"::1"),
        (b"2001:db8::1:80", b"2001:db8::1:80"),
        (b"a:80:80", b"a:80:80"),
        (b"a:", b"a:"),
        (b":80", b":80"),
        (b"a:b", b"a:b"),
        (b"a:-1", b"a:-1"),
        (b"a:\xb2", b"a:\xb2"),
        (b"", b""),
    ],
)
def test_without_port(key: bytes, bare: bytes) -> None:
    assert without_port(key) == bare


@given(RAW, RAW)
def test_it_equals_its_bytes_and_their_str_and_nothing_else(raw: bytes, other: bytes) -> None:
    key = Key.of(raw)
    text = raw.decode("latin-1")
    for same in (raw, bytearray(raw), text, Key.of(raw)):
        assert key == same
        assert same == key
        assert (key != same) is False
    for different in (other, other.decode("latin-1"), Key.of(other)):
        assert (key == different) is (different == key) is (raw == other)
        assert (key != different) is (raw != other)
    assert key != 5
    assert key != None  # noqa: E711 - the operator is what is tested


@given(RAW)
def test_it_finds_either_in_a_dictionary(raw: bytes) -> None:
    key = Key.of(raw)
    text = raw.decode("latin-1")
    assert hash(key) == hash(raw) == hash(text)
    for stored in (raw, text, Key.of(raw)):
        assert {stored: 1}[key] == 1
        assert key in {stored}
        assert {key: 1}[stored] == 1
    assert [raw].index(key) == [text].index(key) == 0


@given(RAW)
def test_it_is_a_str_that_gives_its_bytes_back(raw: bytes) -> None:
    key = Key.of(raw)
    assert isinstance(key, str)
    assert bytes(key) == raw
    assert len(key) == len(raw)
    assert str(key) == raw.decode("latin-1")
    assert type(str(key)) is str
    assert b"<%s>" % key == b"<" + raw + b">"
    assert f"<{key}>" == "<" + raw.decode("latin-1") + ">"
    assert json.loads(json.dumps(key)) == raw.decode("latin-1")
    assert bool(key) is bool(raw)


@given(st.text(max_size=20))
def test_decode_and_encode(text: str) -> None:
    key = Key.of(text.encode())
    assert key.decode() == key.decode("utf-8", "strict") == key.decode(encoding="utf-8") == text
    assert key.encode() == text.encode()


def test_decode_fails_as_that_of_bytes() -> None:
    key = Key.of(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        key.decode()
    assert key.decode("latin-1") == "ÿ"
    assert key.decode(errors="replace") == "\ufffd"


def test_encode_as_something_else_is_that_of_str() -> None:
    assert Key.of(b"a").encode("utf-16-le") == b"a\0"
    assert Key.of(b"\xe9").encode("latin-1") == Key.of(b"\xe9").encode() == Key.of(b"\xe9").encode("UTF-8") == b"\xe9"
    assert Key.of(b"\xe9").encode("unicode_escape") == b"\\xe9"
    with pytest.raises(UnicodeEncodeError):
        Key.of(b"\xe9").encode("ascii")


METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "in": lambda key, part: part in key,
    "+": lambda key, part: key + part,
    "+ (behind)": lambda key, part: part + key,
    "startswith": lambda key, part: key.startswith(part),
    "startswith one of": lambda key, part: key.startswith((part, part)),
    "startswith at": lambda key, part: key.startswith(part, 1, 5),
    "endswith": lambda key, part: key.endswith(part),
    "find": lambda key, part: key.find(part),
    "rfind": lambda key, part: key.rfind(part, 1),
    "count": lambda key, part: key.count(part),
    "replace": lambda key, part: key.replace(part, part + part),
    "replace one": lambda key, part: key.replace(part, part + part, 1),
    "strip": lambda key, part: key.strip(part),
    "lstrip": lambda key, part: key.lstrip(part),
    "rstrip": lambda key, part: key.rstrip(part),
    "removeprefix": lambda key, part: key.removeprefix(part),
    "removesuffix": lambda key, part: key.removesuffix(part),
}
SEPARATED: dict[str, Callable[[Any, Any], Any]] = {
    "split": lambda key, part: key.split(part),
    "split once": lambda key, part: key.split(part, 1),
    "split sep": lambda key, part: key.split(sep=part, maxsplit=1),
    "rsplit": lambda key, part: key.rsplit(part, 1),
    "partition": lambda key, part: key.partition(part),
    "rpartition": lambda key, part: key.rpartition(part),
}
ALONE: dict[str, Callable[[Any], Any]] = {
    "lower": lambda key: key.lower(),
    "upper": lambda key: key.upper(),
    "title": lambda key: key.title(),
    "capitalize": lambda key: key.capitalize(),
    "swapcase": lambda key: key.swapcase(),
    "strip": lambda key: key.strip(),
    "split": lambda key: key.split(),
    "splitlines": lambda key: key.splitlines(),
    "isdigit": lambda key: key.isdigit(),
    "isalnum": lambda key: key.isalnum(),
    "isspace": lambda key: key.isspace(),
    "zfill": lambda key: key.zfill(50),
    "slice": lambda key: key[1:5],
    "slice from behind": lambda key: key[::-2],
}


def plain(result: Any) -> Any:
    """What a method returned, without the type of a key."""
    if isinstance(result, (list, tuple)):
        return type(result)(map(plain, result))
    return str(result) if isinstance(result, str) else result


def decoded(result: Any) -> Any:
    """What the str method would have returned, of what the bytes method did."""
    if isinstance(result, (list, tuple)):
        return type(result)(map(decoded, result))
    return result.decode("latin-1") if isinstance(result, bytes) else result


@given(RAW, PART, st.sampled_from(sorted(METHODS)))
def test_asked_in_bytes_it_answers_as_bytes_and_asked_in_str_as_str(raw: bytes, part: bytes, name: str) -> None:
    method, key, text = METHODS[name], Key.of(raw), part.decode("latin-1")
    expected = method(raw, part)
    assert method(key, part) == expected
    assert type(method(key, part)) is type(expected)
    assert plain(method(key, text)) == method(str(key), text) == decoded(expected)


@given(RAW, RAW, st.sampled_from(["lt", "le", "gt", "ge"]))
def test_order(raw: bytes, other: bytes, name: str) -> None:
    compare = getattr(operator, name)
    for form in (other, other.decode("latin-1"), Key.of(other)):
        assert compare(Key.of(raw), form) is compare(raw, other)
        assert compare(form, Key.of(raw)) is compare(other, raw)
    with pytest.raises(TypeError):
        compare(Key.of(raw), 5)


@given(RAW, PART.filter(len), st.sampled_from(sorted(SEPARATED)))
def test_separated_in_bytes_or_str(raw: bytes, part: bytes, name: str) -> None:
    method, key, text = SEPARATED[name], Key.of(raw), part.decode("latin-1")
    assert method(key, part) == method(raw, part)
    pieces = method(key, text)
    assert plain(pieces) == method(str(key), text)
    assert all(isinstance(piece, Key) for piece in pieces), "they are found in dictionaries of bytes, too"
    assert pieces == method(raw, part)


@given(RAW, st.sampled_from(sorted(ALONE)))
def test_what_is_made_of_a_key_is_a_key(raw: bytes, name: str) -> None:
    """Scripts for bytes go on with ``key.lower()`` or ``key[:5]`` as bytes."""
    made, expected = ALONE[name](Key.of(raw)), ALONE[name](raw)
    assert made == expected
    assert plain(made) == decoded(expected)
    assert not isinstance(expected, bytes) or isinstance(made, Key)


@pytest.mark.parametrize("name", ["index", "rindex"])
def test_index(name: str) -> None:
    find = operator.methodcaller(name, b".")
    assert find(Key.of(b"a.b.c")) == find(b"a.b.c")
    for part in (b"x", "x"):
        with pytest.raises(ValueError, match="not found"):
            getattr(Key.of(b"a.b.c"), name)(part)


def test_text_that_is_no_bytes() -> None:
    key = Key.of(b"a.b")
    assert key.replace(".", "€") == "a€b"
    assert not key.startswith("€")
    assert key.split("€") == ["a.b"]
    assert type(key + "€") is str
    assert key != "€"
    assert "€" not in key
    with pytest.raises(TypeError):
        key + 5
    with pytest.raises(TypeError):
        5 + key


@given(RAW.filter(len))
def test_one_character_is_a_key(raw: bytes) -> None:
    key = Key.of(raw)
    assert key[0] == raw[:1]
    assert key[0] == raw[:1].decode("latin-1")
    assert [bytes(character) for character in map(Key, key)] == [raw[i : i + 1] for i in range(len(raw))]


@given(RAW)
def test_a_path_made_of_it_keeps_its_bytes(raw: bytes) -> None:
    made = "/tmp/" + Key.of(raw) + ".sock"
    assert isinstance(made, Key)
    assert bytes(made) == b"/tmp/" + raw + b".sock"


def test_text_in_another_encoding_stays_text() -> None:
    assert type("/é/" + Key.of(b"a")) is str
    assert "/é/" + Key.of(b"a") == "/é/a"

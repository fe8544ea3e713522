"""The body of a node: whole or not, and out of its chunks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.rules.framing import BadFraming, Chunked, Counted, is_chunked
from uwsgirouter.rules.head import Headers


def headers(*lines: bytes) -> Headers:
    found = Headers()
    for line in lines:
        found.add_line(line)
    return found


def encoded(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\nT: x\r\n\r\n"


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(0, 300), max_size=8))
def test_chunks_are_taken_off_whatever_the_pieces(pieces: list[bytes], cuts: list[int]) -> None:
    data = encoded(pieces)
    marks = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    body = Chunked()
    content = b"".join(body.feed(data[start:end]) for start, end in itertools.pairwise(marks))
    assert content == b"".join(pieces)
    assert body.whole


@given(st.integers(0, len(encoded([b"hello", b"world"])) - len(b"T: x\r\n\r\n") - 2))
def test_a_body_without_its_last_chunk_is_not_whole(end: int) -> None:
    body = Chunked()
    body.feed(encoded([b"hello", b"world"])[:end])
    assert not body.whole


def test_what_follows_the_last_chunk_is_left_out() -> None:
    assert Chunked().feed(b"2\r\nhi\r\n0\r\n\r\nmore") == b"hi"


@pytest.mark.parametrize(
    "data",
    [b"x\r\n", b"-1\r\n", b"\r\n", b"5 5\r\n", b"1" * 16 + b"\r\n", b"1\r\nab\r\n", b"1" * 5000, b"1;" + b"x" * 5000],
)
def test_broken_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(BadFraming):
        Chunked().feed(data)


@pytest.mark.parametrize(
    ("lines", "bodiless", "body", "whole"),
    [
        ((b"Content-Length: 5",), False, b"hell", False),
        ((b"Content-Length: 5",), False, b"hello", True),
        ((b"Content-Length: 5",), False, b"hello world", True),
        ((b"Content-Length: 5",), True, b"", True),
        ((b"Content-Length: x",), False, b"", True),
        ((), False, b"", True),
    ],
)
def test_a_length_says_whether_a_body_is_whole(
    lines: tuple[bytes, ...], bodiless: bool, body: bytes, whole: bool
) -> None:
    counted = Counted.of(headers(*lines), bodiless)
    assert counted.feed(body) == body
    assert counted.whole is whole


def test_only_chunks_alone_are_taken_off() -> None:
    assert is_chunked(headers(b"transfer-encoding: Chunked"))
    assert not is_chunked(headers(b"Transfer-Encoding: gzip, chunked"))
    assert not is_chunked(headers(b"A: b"))

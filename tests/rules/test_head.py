"""A node's head in any pieces, and the lines of a response."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.rules.head import HEAD_MOST, BadHead, Head, Headers, HeadReader, parse

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Fold: a\r\n\tb\r\nX-Two:1\r\nx-two: 2 \r\nnonsense\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def read(*pieces: bytes) -> tuple[Head | None, HeadReader]:
    reader = HeadReader()
    found = None
    for piece in pieces:
        found = found or reader.feed(piece)
    return found, reader


def test_a_head_keeps_its_lines_as_they_came() -> None:
    head, reader = read(HEAD + b"body")
    assert head is not None
    assert (head.line, head.status, reader.rest) == (b"HTTP/1.1 200 OK", 200, b"body")
    assert head.line + b"\r\n" + head.headers.encode() + b"\r\n" == HEAD


def test_values_are_found_by_name_in_any_case_and_the_last_counts() -> None:
    headers = parse(HEAD[:-4]).headers
    assert headers.value(b"x-two") == b"2"
    assert headers.value(b"x-fold") == b"a\r\n\tb"
    assert headers.value(b"nonsense") is None
    assert headers.has(b"content-type") and not headers.has(b"content")


def test_lines_without_carriage_returns_are_lines_too() -> None:
    head, reader = read(b"HTTP/1.0 404 Not\nA: b\n\nrest")
    assert head is not None
    assert (head.status, head.headers.encode(), reader.rest) == (404, b"A: b\r\n", b"rest")


@given(st.lists(st.integers(0, len(INTERIM + HEAD) + 4), max_size=6), st.booleans())
def test_the_same_head_comes_out_of_any_pieces(cuts: list[int], interim: bool) -> None:
    data = (INTERIM if interim else b"") + HEAD + b"body"
    marks = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = HeadReader()
    head, rest = None, b""
    for start, end in itertools.pairwise(marks):
        if head is None:
            head = reader.feed(data[start:end])
            rest = reader.rest
        else:
            rest += data[start:end]
    assert head is not None
    assert head.line + b"\r\n" + head.headers.encode() + b"\r\n" == HEAD
    assert (rest, reader.interim) == (b"body", INTERIM if interim else b"")


def test_switching_protocols_is_a_final_head() -> None:
    head, reader = read(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    assert head is not None
    assert (head.status, reader.rest, reader.interim) == (101, b"\x81\x00", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello", "not with HTTP/"),
        (b"HTTQ", "not with HTTP/"),
        (b"Status: 200 OK\r\n\r\n", "its status line is"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "its status line is"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "its status line is"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "its status line is"),
        (b"HTTP/1.1\r\n\r\n", "its status line is"),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", "its status line is"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEAD_MOST, "longer than"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEAD_MOST + b"\r\n\r\n", "longer than"),
    ],
)
def test_what_is_no_head_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadHead, match=reason):
        read(data)


def test_a_beginning_of_a_head_is_waited_for() -> None:
    head, reader = read(b"HT", b"TP/1.1 200 OK\r\n")
    assert head is None and reader.begun


def test_headers_are_removed_and_replaced_by_name() -> None:
    headers = Headers()
    headers.add(b"A", b"1")
    headers.add(b"B", b"2")
    headers.add_line(b"a: 3")
    assert headers.replace(b"a", b"4") and not headers.replace(b"C", b"5")
    assert headers.encode() == b"a: 4\r\nB: 2\r\n"
    assert headers.remove(b"b") and not headers.remove(b"b")
    assert headers.encode() == b"a: 4\r\n"

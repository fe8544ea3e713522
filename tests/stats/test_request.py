"""Requests for metrics: just enough HTTP, and whatever else comes is answered rightly too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.stats.request import HEAD_MOST, Request, answer, parse


@pytest.mark.parametrize(
    ("head", "request_"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Request(200)),
        (b"GET /metrics HTTP/1.0\n\n", Request(200)),
        (b"HEAD /metrics?x=1 HTTP/1.1\r\n\r\n", Request(200, head_only=True)),
        (b"GET /metrics HTTP/1.1\r\nACCEPT: a;q=0.5\r\nAccept: b\r\n\r\n", Request(200, False, "a;q=0.5,b")),
        (b"GET / HTTP/1.1\r\n\r\n", Request(404)),
        (b"HEAD /other HTTP/1.1\r\n\r\n", Request(404, head_only=True)),
        (b"POST /metrics HTTP/1.1\r\n\r\nbody", Request(405)),
        (b"GET /metrics\r\n\r\n", Request(400)),
        (b"GET /metrics HTTP/2.0\r\n\r\n", Request(400)),
        (b"\x16\x03\x01\r\n\r\n", Request(400)),
        (b"\r\n\r\n", Request(400)),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"x" * HEAD_MOST, Request(431)),
    ],
)  # fmt: skip
def test_requests(head: bytes, request_: Request) -> None:
    assert parse(head) == request_


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_request_or_none_yet(data: bytes) -> None:
    found = parse(data)
    assert found is None or answer(found).startswith(b"HTTP/1.1 ")


def test_a_request_that_comes_in_pieces() -> None:
    head = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    assert [parse(head[:end]) for end in range(len(head))] == [None] * len(head)


def test_answers() -> None:
    text = answer(Request(200), "text/x", b"abc")
    assert text.endswith(b"\r\n\r\nabc") and b"Content-Length: 3\r\n" in text and b"Content-Type: text/x\r\n" in text
    assert b"Connection: close\r\n" in text
    assert answer(Request(200, head_only=True), "text/x", b"abc") == text[:-3]
    assert b"Allow: GET, HEAD\r\n" in answer(Request(405))
    assert answer(Request(404)).partition(b"\r\n")[0] == b"HTTP/1.1 404 Not Found"

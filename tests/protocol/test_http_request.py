"""HTTP heads made of variables: what uWSGI sends, and nothing that a client could make of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.http_request import request_head

REQUEST = [
    (b"REQUEST_METHOD", b"POST"),
    (b"REQUEST_URI", b"/a%20b?c"),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"REMOTE_ADDR", b"10.0.0.1"),
    (b"CONTENT_TYPE", b"text/plain"),
    (b"CONTENT_LENGTH", b"5"),
    (b"HTTP_HOST", b"example.com"),
    (b"HTTP_X_FORWARDED_FOR", b"192.0.2.7"),
    (b"HTTP_CONNECTION", b"keep-alive"),
    (b"HTTP_KEEP_ALIVE", b"5"),
    (b"HTTP_TE", b"trailers"),
    (b"HTTP_TRAILER", b"X"),
    (b"HTTP_ACCEPT_ENCODING", b"gzip"),
]


def test_the_head_that_uwsgi_sends() -> None:
    assert request_head(REQUEST) == (
        b"POST /a%20b?c HTTP/1.0\r\nHost: example.com\r\nAccept-Encoding: gzip\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 5\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n\r\n"
    )


def test_another_host_and_target() -> None:
    head = request_head(REQUEST, b"/else?x", b"inner.example")
    assert head.startswith(b"POST /else?x HTTP/1.0\r\nAccept-Encoding: gzip\r\nHost: inner.example\r\n")
    assert b"example.com" not in head


def test_dumb_keeps_the_clients_protocol_and_connection() -> None:
    head = request_head(REQUEST, dumb=True)
    assert head.startswith(b"POST /a%20b?c HTTP/1.1\r\n")
    assert b"\r\nConnection: keep-alive\r\n" in head
    assert b"close" not in head


def test_the_last_variable_of_a_name_counts() -> None:
    head = request_head([*REQUEST, (b"HTTP_HOST", b"second.example"), (b"REQUEST_METHOD", b"PUT")])
    assert head.startswith(b"PUT ")
    assert head.count(b"Host: ") == 1
    assert b"Host: second.example\r\n" in head


def test_nothing_contradicts_the_length_of_the_body() -> None:
    head = request_head(
        [
            *REQUEST,
            (b"HTTP_CONTENT_LENGTH", b"99"),
            (b"HTTP_TRANSFER_ENCODING", b"chunked"),
            (b"HTTP_CONTENT_TYPE", b"x"),
        ]
    )
    assert head.lower().count(b"content-length") == 1
    assert head.lower().count(b"content-type") == 1
    assert b"ransfer" not in head


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"HTTP_X", b"a\r\nEvil: 1"),
        (b"HTTP_X", b"a\nb"),
        (b"HTTP_X", b"a\rb"),
        (b"HTTP_X", b"a\0b"),
        (b"HTTP_X:_Y", b"a"),
        (b"HTTP_HOST", b"a\r\nb"),
        (b"CONTENT_TYPE", b"a\r\nb"),
        (b"REMOTE_ADDR", b"a\r\nb"),
        (b"HTTP_X_FORWARDED_FOR", b"a\r\nb"),
        (b"REQUEST_METHOD", b"GET /x HTTP/1.0\r\n\r\nGET"),
        (b"REQUEST_METHOD", b""),
        (b"REQUEST_URI", b"/a b"),
        (b"REQUEST_URI", b""),
        (b"REQUEST_URI", b"/a\r\nX: y"),
        (b"CONTENT_LENGTH", b"5, 6"),
        (b"CONTENT_LENGTH", b"+5"),
        (b"CONTENT_LENGTH", b"9" * 30),
    ],
)
def test_what_is_no_request_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(ProtocolError):
        request_head([*REQUEST, (name, value)])


def test_a_strange_protocol_is_not_repeated() -> None:
    head = request_head([*REQUEST, (b"SERVER_PROTOCOL", b"HTTP/2.0\r\nX: y")], dumb=True)
    assert head.startswith(b"POST /a%20b?c HTTP/1.0\r\n")


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=12).map(lambda name: b"HTTP_" + name), st.binary(max_size=12)))
)
def test_every_line_is_one_header(variables: list[tuple[bytes, bytes]]) -> None:
    try:
        head = request_head([*REQUEST, *variables])
    except ProtocolError:
        return
    lines = head.split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    assert all(b": " in line and b"\n" not in line and b"\r" not in line for line in lines[1:-2])
    assert sum(line.lower().startswith(b"content-length:") for line in lines) == 1
    assert not any(line.lower().startswith(b"transfer-encoding") for line in lines)

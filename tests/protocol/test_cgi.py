"""CGI: the environment of a program, and heads of what programs write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.cgi import HEAD_MOST, Head, HeadReader, chunk, environment, parse

OWN = {b"PATH": b"/bin", b"SECRET": b"x", b"TZ": b"UTC"}


def made(path: bytes = b"/", program: bytes = b"/srv/cgi/a.cgi", **variables: bytes) -> dict[bytes, bytes]:
    pairs = [(b"PATH_INFO", path), *((name.encode(), value) for name, value in variables.items())]
    return environment(pairs, program, OWN, b"uwsgirouter/1")


@pytest.mark.parametrize(
    ("path", "script", "rest"),
    [
        (b"/cgi-bin/a.cgi", b"/cgi-bin/a.cgi", None),
        (b"/cgi-bin/a.cgi/", b"/cgi-bin/a.cgi", b"/"),
        (b"/cgi-bin/a.cgi/b/a.cgi", b"/cgi-bin/a.cgi", b"/b/a.cgi"),
        (b"/a.cgi.old/a.cgi/x", b"/a.cgi.old/a.cgi", b"/x"),
        (b"/xa.cgi/y", b"/xa.cgi/y", None),
        (b"/pretty/name", b"/pretty/name", None),
        (b"", b"", None),
    ],
)
def test_the_path_is_divided_at_the_program(path: bytes, script: bytes, rest: bytes | None) -> None:
    found = made(path, DOCUMENT_ROOT=b"/srv/www/")
    assert (found[b"SCRIPT_NAME"], found.get(b"PATH_INFO")) == (script, rest)
    assert found.get(b"PATH_TRANSLATED") == (None if rest is None else b"/srv/www" + rest)


def test_a_mount_point_is_a_part_of_the_path() -> None:
    found = made(b"/a.cgi/x", SCRIPT_NAME=b"/mounted")
    assert (found[b"SCRIPT_NAME"], found[b"PATH_INFO"]) == (b"/mounted/a.cgi", b"/x")


def test_what_is_passed_on() -> None:
    found = made(QUERY_STRING=b"a=b", HTTP_COOKIE=b"c", CONTENT_LENGTH=b"5", CONTENT_TYPE=b"text/x", PATH=b"/evil")
    assert found[b"QUERY_STRING"] == b"a=b" and found[b"HTTP_COOKIE"] == b"c"
    assert (found[b"CONTENT_LENGTH"], found[b"CONTENT_TYPE"]) == (b"5", b"text/x")
    assert (found[b"GATEWAY_INTERFACE"], found[b"SERVER_SOFTWARE"]) == (b"CGI/1.1", b"uwsgirouter/1")
    assert (found[b"SCRIPT_FILENAME"], found[b"REDIRECT_STATUS"]) == (b"/srv/cgi/a.cgi", b"200")
    assert found[b"TZ"] == b"UTC"


def test_what_is_not() -> None:
    pairs = {"HTTP_PROXY": b"x", "UWSGI_SCRIPT": b"x", "A B": b"x", "1A": b"x", "NUL": b"a\0b", "A=B": b"x", "": b"x"}
    found = made(CONTENT_LENGTH=b"", CONTENT_TYPE=b"", **pairs)
    assert not {name.encode() for name in pairs} & found.keys()
    assert not {b"SECRET", b"CONTENT_LENGTH", b"CONTENT_TYPE", b"PATH_INFO"} & found.keys() - {b"PATH_INFO"}
    assert found[b"QUERY_STRING"] == b""
    assert b"CONTENT_LENGTH" not in made(CONTENT_LENGTH=b"-1")


@pytest.mark.parametrize(
    ("block", "status", "headers"),
    [
        (b"Content-Type: a", b"200 OK", [(b"Content-Type", b"a")]),
        (b"Status: 404\nA:b", b"404 Not Found", [(b"A", b"b")]),
        (b"A: b\r\nStatus: 299 Fine  ", b"299 Fine", [(b"A", b"b")]),
        (b"status: 599\nA: b", b"599 Unknown", [(b"A", b"b")]),
        (b"Location: /x", b"302 Found", [(b"Location", b"/x")]),
        (b"Location: /x\nStatus: 301 Gone Away", b"301 Gone Away", [(b"Location", b"/x")]),
        (b"HTTP/1.1 403 No\nA: b", b"403 No", [(b"A", b"b")]),
        (b"HTTP/1.0 204", b"204 No Content", []),
        (b"Connection: close\nTransfer-Encoding: chunked\nUpgrade: x\nA: b", b"200 OK", [(b"A", b"b")]),
    ],
)
def test_heads(block: bytes, status: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    head = parse(block)
    assert (head.status, list(head.headers)) == (status, headers)


@pytest.mark.parametrize(
    "block",
    [
        b"nothing",
        b"A B: c",
        b": x",
        b"A: b\n continued",
        b"A: b\0",
        b"A: b\rC: d",
        b"Status: 100",
        b"Status: 600",
        b"Status: abc",
        b"Status: 200x",
        b"HTTP/1.1 x",
        b"Content-Length: x",
        b"Content-Length: 1\nContent-Length: 2",
        b"Content-Length: " + b"1" * 19,
    ],
)
def test_what_is_no_head(block: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(block)


def test_a_length() -> None:
    assert parse(b"A: b").length is None
    assert parse(b"Content-Length: 5\ncontent-length: 5").length == 5


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_a_head_in_pieces(ends: bytes) -> None:
    raw = b"A: b" + ends + b"C: d" + ends + ends + b"\nbody\n\n"
    for cut in range(1, len(raw)):
        reader = HeadReader()
        head = reader.feed(raw[:cut])
        rest = raw[cut:]
        if head is None:
            head, rest = reader.feed(rest), b""
        assert head is not None and list(head.headers) == [(b"A", b"b"), (b"C", b"d")]
        assert reader.rest + rest == b"\nbody\n\n"


@pytest.mark.parametrize("data", [b"\n", b"\r\n", b"\n\n", b"A: " + b"x" * HEAD_MOST])
def test_heads_that_are_empty_or_too_long(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        HeadReader().feed(data)


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_are_a_head_or_refused(data: bytes, size: int) -> None:
    reader = HeadReader()
    try:
        for at in range(0, len(data), size):
            head = reader.feed(data[at : at + size])
            if head is not None:
                encoded = head.encode()
                assert encoded.endswith(b"\r\n\r\n") and encoded.count(b"\r\n\r\n") == 1 and b"\0" not in encoded
                return
    except ProtocolError:
        pass


def test_what_goes_out() -> None:
    head = Head(b"200 OK", ((b"A", b"b"),), None)
    assert head.encode() == b"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert chunk(b"x" * 20) == b"14\r\n" + b"x" * 20 + b"\r\n"

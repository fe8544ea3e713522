"""What is noted of a request: the status and the head of a response, however it comes in pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.wire import packet
from uwsgirouter.worker.record import HEAD_MOST, Record, status_of

HEAD = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def shown(pieces: list[bytes], keeps_head: bool) -> Record:
    record = Record(keeps_head)
    for piece in pieces:
        record.show(piece)
    return record


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@given(st.lists(st.integers(0, 500)), st.booleans(), st.integers(0, 2))
def test_the_status_is_found_however_the_response_is_cut(places: list[int], keeps_head: bool, interims: int) -> None:
    record = shown(cut(INTERIM * interims + HEAD + b"no", places), keeps_head)
    assert record.status == 404
    assert record.head == (HEAD if keeps_head else b"")


@pytest.mark.parametrize("line", [b"SSH-2.0-OpenSSH", b"HTTP/1.1 2x0 OK", b"HTTP/1.1"])
def test_what_is_no_http_has_no_status(line: bytes) -> None:
    assert status_of(line) == 0


def test_another_protocol_is_an_answer() -> None:
    assert shown([b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x00\x01"], True).status == 101


def test_a_head_without_an_end_is_not_collected_for_ever() -> None:
    record = shown([b"HTTP/1.1 200 OK\r\n", *[b"A: " + b"x" * 997 + b"\r\n"] * 100], True)
    assert record.status == 200
    assert record.head == b""
    assert HEAD_MOST < 100_000


def test_a_body_says_no_status() -> None:
    assert shown([HEAD, b"HTTP/1.1 500 Internal Server Error\r\n\r\n"], False).status == 404


@pytest.mark.parametrize("body", [b"", b"x" * 10, b"\xff" * 70000])
def test_a_body_behind_the_packet_is_not_kept(body: bytes) -> None:
    """One that was gathered in memory is sent with the packet, as one piece."""
    whole = packet([(b"HTTP_HOST", b"a.example")])
    record = Record(False)
    record.keep(whole + body, len(whole + body))
    assert record.packet == whole


def test_a_packet_that_is_not_whole_is_not_kept() -> None:
    record = Record(False)
    for end in (0, 3):
        record.keep(b"\x00\x10\x00", end)
    assert record.packet == b""

"""Failure answers: every cause gives a complete HTTP response that a web server and a person can use."""

from __future__ import annotations

import re
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path

import pytest

from uwsgirouter.model.counters import ROW_CELLS, Counter
from uwsgirouter.protocol.answers import RETRY_AFTER, Cause, encode_answer

STATUSES = {
    "bad-packet": 400,
    "no-key": 400,
    "client-timeout": 408,
    "no-node": 503,
    "overload": 503,
    "connect-failed": 502,
    "node-closed": 502,
    "node-reset": 502,
    "connect-timeout": 504,
    "first-byte-timeout": 504,
    "internal-error": 500,
    "stopped": 503,
    "idle-timeout": 504,
    "bad-key": 400,
    "too-large": 413,
    "body-cut": 400,
    "storage": 507,
    "mapper-failed": 502,
    "mapper-timeout": 504,
    "queue-full": 503,
    "queue-timeout": 503,
    "rule-break": 403,
    "rule-failed": 500,
    "rules-timeout": 504,
    "harakiri": 504,
    "no-file": 404,
    "bad-header": 400,
    "bad-answer": 502,
    "answer-too-large": 502,
    "service-failed": 502,
    "service-busy": 503,
    "cgi-failed": 502,
    "cgi-timeout": 504,
    "cgi-busy": 503,
    "limited": 429,
}


class Wire:
    """Stands where http.client wants a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        assert mode == "rb"
        return BytesIO(self._data)


def read(data: bytes, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    response = HTTPResponse(Wire(data), method=method)  # type: ignore[arg-type]
    response.begin()
    return response, response.read()


def test_the_table_is_the_documented_one() -> None:
    assert {cause.value.word: cause.value.status for cause in Cause} == STATUSES
    assert len(Cause.__members__) == len(STATUSES), "two causes with equal rows are one to Enum"
    assert Counter.FAILURES + len(Cause) <= ROW_CELLS, "each cause needs a cell"
    assert not [cell for cell in Counter if Counter.FAILURES < cell < Counter.FAILURES + len(Cause)]


def test_the_documentation_has_the_same_rows(project: Path) -> None:
    rows = re.findall(r"^\| ([0-9-]+) \| `([a-z-]+)` \|", (project / "docs" / "failures.md").read_text(), re.MULTILINE)
    assert {word for _, word in rows} == set(STATUSES)
    for status, word in rows:
        assert status in (str(STATUSES[word]), "-"), f"{word}: the table says {status}"


@pytest.mark.parametrize("cause", Cause)
def test_a_complete_response(cause: Cause) -> None:
    response, body = read(encode_answer(cause))
    assert (response.status, response.reason) == (cause.value.status, cause.value.reason)
    assert response.version == 11
    assert response.getheader("Content-Length") == str(len(body))
    assert response.getheader("X-Uwsgirouter-Cause") == cause.value.word
    assert response.getheader("Cache-Control") == "no-store"
    assert response.getheader("Connection") == "close"
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    assert cause.value.sentence.encode() in body
    assert b"<title>%d " % cause.value.status in body


@pytest.mark.parametrize("cause", Cause)
def test_the_length_is_that_of_the_body(cause: Cause) -> None:
    head, _, body = encode_answer(cause).partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert b"\n" not in head.replace(b"\r\n", b"")


@pytest.mark.parametrize("cause", Cause)
def test_an_answer_to_head_is_the_head_alone(cause: Cause) -> None:
    whole = encode_answer(cause)
    head = encode_answer(cause, head_only=True)
    assert head == whole[: whole.index(b"\r\n\r\n") + 4]
    assert read(head, "HEAD")[1] == b""


@pytest.mark.parametrize("cause", Cause)
def test_only_a_503_says_when_to_come_back(cause: Cause) -> None:
    response, _ = read(encode_answer(cause))
    assert response.getheader("Retry-After") == (str(RETRY_AFTER) if cause.value.status == 503 else None)

"""Remote calls: bytes out, bytes in, at any split."""

from __future__ import annotations

import pytest

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.packet import encode_packet
from uwsgirouter.protocol.rpc import ARGUMENTS_MOST, RESULT_MOST, Answer, encode_call

LARGE = bytes(range(256)) * 300


def large(result: bytes, length: bytes | None = None) -> bytes:
    size = str(len(result)).encode() if length is None else length
    return encode_packet([(b"CONTENT_LENGTH", size)], 173, 5) + result


def test_a_call() -> None:
    assert encode_call(b"hello", [b"a", b""]) == b"\xad\x0c\x00\x00\x05\x00hello\x01\x00a\x00\x00"
    assert encode_call(b"f", [], raw=True) == b"\xad\x03\x00\x01\x01\x00f"


@pytest.mark.parametrize(
    ("name", "arguments"), [(b"", []), (b"f", [b"x" * 65_535]), (b"f", [b""] * (ARGUMENTS_MOST + 1))]
)
def test_a_call_that_does_not_fit(name: bytes, arguments: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        encode_call(name, arguments)


@pytest.mark.parametrize(("answer", "result"), [(b"\xad\x03\x00\x00abc", b"abc"), (large(LARGE), LARGE)])
@pytest.mark.parametrize("step", [1, 3, 100_000])
def test_answers_at_any_split(answer: bytes, result: bytes, step: int) -> None:
    if step == 1 and len(answer) > 1000:
        answer, result = large(b"x" * 100), b"x" * 100
    reader = Answer()
    found = None
    for start in range(0, len(answer), step):
        assert found is None, "the result came before its end"
        found = reader.feed(answer[start : start + step])
    assert found == result


def test_a_raw_answer_ends_with_its_connection() -> None:
    reader = Answer(raw=True)
    assert reader.feed(b"\xad\x03\x00") is None
    assert reader.end() == b"\xad\x03\x00"


@pytest.mark.parametrize(
    "answer", [large(b"", b"-1"), large(b"", b""), large(b"", str(RESULT_MOST + 1).encode()), b"\xad\x03\x00\x05abc"]
)
def test_bad_answers(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        Answer().feed(answer)


def test_an_answer_that_is_cut() -> None:
    reader = Answer()
    reader.feed(b"\xad\x03\x00\x00ab")
    with pytest.raises(ProtocolError):
        reader.end()


def test_what_is_held_is_bounded() -> None:
    reader = Answer(raw=True)
    with pytest.raises(ProtocolError):
        for _ in range(40):
            reader.feed(bytes(1 << 20))

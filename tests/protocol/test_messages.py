"""Messages between master and worker: any split gives the same ones, and no bytes give another exception."""

from __future__ import annotations

import json
from itertools import pairwise
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.messages import MESSAGE_MAX, Message, MessageReader, encode_message

REASONS = {"too large", "not JSON", "not a message"}

EXAMPLES: list[tuple[bytes, Message]] = [
    (b'\0\0\0\x08["stop"]', ["stop"]),
    (b'\0\0\0\x0e["drain",true]', ["drain", True]),
    (b'\0\0\0\x18["nodes",1,false,[],[7]]', ["nodes", 1, False, [], [7]]),
    (b'\0\0\0\x1b["failed",3,"\\udcff\\u00e9"]', ["failed", 3, "\udcffé"]),
]


def framed(text: bytes) -> bytes:
    return pack("!I", len(text)) + text


def messages() -> st.SearchStrategy[list[Message]]:
    plain = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.just("\udcff\x00")
    )
    items = st.one_of(plain, st.lists(st.lists(plain, max_size=3), max_size=2))
    return st.lists(st.lists(items, min_size=1, max_size=4), max_size=4)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize(("data", "message"), EXAMPLES, ids=lambda value: str(value)[:20])
def test_examples(data: bytes, message: Message) -> None:
    """Written, read whole, byte by byte, and with more bytes behind."""
    assert encode_message(*message) == data
    assert MessageReader().feed(data) == [message]
    reader = MessageReader()
    found = [reader.feed(data[i : i + 1]) for i in range(len(data))]
    assert found == [[]] * (len(data) - 1) + [[message]]
    reader = MessageReader()
    assert reader.feed(data + data[:5]) == [message]
    assert reader.feed(data[5:]) == [message]
    assert reader.feed(b"") == []


@given(messages(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_gives_the_same_messages(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(encode_message(*message) for message in sent)
    reader = MessageReader()
    assert [message for piece in pieces(stream, cuts) for message in reader.feed(piece)] == sent
    assert MessageReader().feed(stream) == sent


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (framed(b""), "not JSON"),
        (framed(b"{"), "not JSON"),
        (framed(b"\xff\xfe"), "not JSON"),
        (framed(b"\0\0"), "not JSON"),
        (framed(b"[1]x"), "not JSON"),
        (framed(b"1" * 5000), "not JSON"),
        (framed(b"[" * 200_000), "not JSON"),
        (framed(b'{"a":' * 100_000), "not JSON"),
        (framed(b"[]"), "not a message"),
        (framed(b"{}"), "not a message"),
        (framed(b"7"), "not a message"),
        (framed(b"null"), "not a message"),
        (framed(b'"stop"'), "not a message"),
        (pack("!I", MESSAGE_MAX + 1), "too large"),
        (b"\xff\xff\xff\xff", "too large"),
    ],
    ids=lambda value: str(value[:16]),
)
def test_what_cannot_be_a_message(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        MessageReader().feed(data)
    assert caught.value.reason == reason
    reader = MessageReader()
    with pytest.raises(ProtocolError) as caught:
        for i in range(min(len(data), 5000)):
            reader.feed(data[i : i + 1])
        reader.feed(data[5000:])
    assert caught.value.reason == reason


def test_a_size_up_to_the_limit_is_waited_for() -> None:
    reader = MessageReader()
    assert reader.feed(pack("!I", MESSAGE_MAX)) == []
    assert reader.feed(b'["') == []


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=60).map(framed), st.text(max_size=40).map(str.encode)))
def test_any_bytes_give_messages_or_a_protocol_error(data: bytes) -> None:
    for stream in (data, framed(data)):
        try:
            found = MessageReader().feed(stream)
        except ProtocolError as error:
            assert error.reason in REASONS
        else:
            assert all(isinstance(message, list) and message for message in found)


def test_a_message_is_plain_json_without_spaces() -> None:
    data = encode_message("nodes", 1, [[1, "ké"]])
    assert data[4:] == b'["nodes",1,[[1,"k\\u00e9"]]]'
    assert json.loads(data[4:]) == ["nodes", 1, [[1, "ké"]]]

"""The snapshot's bytes: what goes in comes out, and what is not whole does not count."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.test_subscription import announces
from uwsgirouter.model.node import Order, State
from uwsgirouter.model.orders import Word
from uwsgirouter.model.snapshot import (
    BadSnapshot,
    SavedLease,
    SavedNode,
    Snapshot,
    decode_snapshot,
    encode_snapshot,
)
from uwsgirouter.protocol.subscription import Announce, encode_announce
from uwsgirouter.settings.address import NOWHERE, Kind, parse_peer

HERE = parse_peer("127.0.0.1:3031")
ONE = Snapshot(
    1_700_000_000.5,
    (
        SavedNode(Announce(b"foo.com", HERE, 5, 6, weight=3, backup=1, algo="lrc"), State.UP, 1.7e9, 1.6e9, 1.5e9),
        SavedNode(Announce(b"\xff\n", parse_peer("/tmp/\udcff")), State.DOWN, 1.7e9, 1.6e9),
        SavedNode(Announce(b"v", NOWHERE, vassal=b"one.ini", inactive=True), State.INACTIVE, 0.0, 1.6e9, standing=1e9),
    ),
    (SavedLease(Announce(b"n", parse_peer("app.internal:3031")), 1.7e9, ("10.0.0.1", "::1")),),
    (Word(b"foo.com", HERE, Order.DRAIN, 7, "root", 1.6e9), Word(b"foo.com", parse_peer("/other"), weight=2)),
    ((b"foo.com", "127.0.0.1:3031", 1_700_000_000), (b"foo.com", "", 5)),
)


def clothed(*rows: object) -> bytes:
    """Lines with a good end."""
    body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return body + json.dumps({"rows": len(rows) - 1, "crc32": zlib.crc32(body)}).encode() + b"\n"


def text(announce: Announce) -> str:
    return base64.b64encode(encode_announce(announce)).decode()


NAMED = Announce(b"n", parse_peer("app.internal:3031"))
NODE = {"n": text(Announce(b"foo.com", HERE)), "state": "up", "heard": 1, "since": 1}
NAME = {"name": text(NAMED), "heard": 1, "hosts": []}
WORD = {"o": "aw==", "a": "/a", "order": "down", "weight": None, "who": "root", "since": 1}
HEAD = {"what": "uwsgirouter snapshot", "version": 1, "written": 5}


def test_round_trip() -> None:
    assert decode_snapshot(encode_snapshot(ONE)) == ONE
    assert decode_snapshot(encode_snapshot(Snapshot(0.0))) == Snapshot(0.0)


def test_it_is_text_that_people_can_look_at() -> None:
    lines = encode_snapshot(ONE).decode("ascii").splitlines()
    assert json.loads(lines[0]) == {"what": "uwsgirouter snapshot", "version": 1, "written": 1_700_000_000.5}
    assert len(lines) == 1 + 3 + 1 + 2 + 2 + 1


def test_fields_of_tomorrow_are_read_over() -> None:
    text = clothed({**HEAD, "more": 1}, {"z": 1}, {"k": "aw==", "a": "/a", "unix": 7, "more": []})
    assert decode_snapshot(text) == Snapshot(5.0, clocks=((b"k", "/a", 7),))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty or cut off"),
        (b"\n", "lines of JSON"),
        (b"junk\n", "lines of JSON"),
        (b"[1]\n", "no JSON object"),
        (b"{}\n", "checksum"),
        (encode_snapshot(ONE)[:-1], "cut off"),
        (b"".join(encode_snapshot(ONE).splitlines(True)[:-1]), "checksum"),
        (b"".join(encode_snapshot(ONE).splitlines(True)[1:]), "checksum"),
        (clothed({**HEAD, "what": "else"}), "no snapshot of uwsgirouter"),
        (clothed({**HEAD, "version": 2}), "version 2, and only 1"),
        (clothed({**HEAD, "version": "1"}), "version '1'"),
        (clothed({**HEAD, "written": None}), "cannot be read"),
        (clothed({**HEAD, "written": float("nan")}), "cannot be read"),
        (clothed({"what": "uwsgirouter snapshot", "version": 1}), "cannot be read"),
        (clothed({**HEAD, "written": 10**400}), "cannot be read"),
        (clothed({**HEAD, "written": float("inf")}), "cannot be read"),
        (clothed(HEAD, {**NODE, "n": "not base64!"}), "cannot be read"),
        (clothed(HEAD, {**NODE, "n": 5}), "cannot be read"),
        (clothed(HEAD, {**NODE, "n": "4AAAAA=="}), "could not have been announced: no key"),
        (clothed(HEAD, {**NODE, "n": text(NAMED)}), "cannot be read"),
        (clothed(HEAD, {**NODE, "n": text(Announce(b"foo.com", HERE, leaving=True))}), "cannot be read"),
        (clothed(HEAD, {**NODE, "state": "well"}), "cannot be read"),
        (clothed(HEAD, {**NODE, "since": "long ago"}), "cannot be read"),
        (clothed(HEAD, {**NAME, "name": NODE["n"]}), "cannot be read"),
        (clothed(HEAD, {**NAME, "hosts": [1]}), "cannot be read"),
        (clothed(HEAD, {**WORD, "order": "go away"}), "cannot be read"),
        (clothed(HEAD, {**WORD, "weight": True}), "cannot be read"),
        (clothed(HEAD, {**WORD, "weight": -5}), "cannot be read"),
        (clothed(HEAD, {**NAME, "hosts": ["app.internal"]}), "cannot be read"),
        (clothed(HEAD, {**WORD, "a": ""}), "could not have been announced: an empty address"),
        (clothed(HEAD, {"k": "aw==", "a": 1, "unix": 7}), "cannot be read"),
        (clothed(HEAD, {"k": "aw==", "a": "/a", "unix": True}), "cannot be read"),
    ],
)
def test_what_is_no_snapshot(data: bytes, says: str) -> None:
    with pytest.raises(BadSnapshot) as caught:
        decode_snapshot(data)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_cut_off_anywhere_does_not_count() -> None:
    data = encode_snapshot(ONE)
    for end in range(len(data)):
        with pytest.raises(BadSnapshot):
            decode_snapshot(data[:end])


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_seen(position: int, change: int) -> None:
    data = bytearray(encode_snapshot(ONE))
    position %= len(data)
    data[position] ^= change
    try:
        assert decode_snapshot(bytes(data)) == ONE, "white space, or the like, behind the checksum"
    except BadSnapshot:
        return


TIMES = st.floats(0, 4e9)
NODES = st.builds(
    SavedNode,
    announces().map(lambda announce: announce._replace(leaving=False)),
    st.sampled_from(State),
    *[TIMES] * 4,
).filter(lambda node: node.announce.address.kind is not Kind.NAME)
HOSTS = st.lists(st.ip_addresses().map(str), max_size=3).map(tuple)
LEASES = st.builds(SavedLease, st.just(NAMED), TIMES, HOSTS)
WORDS = st.builds(
    Word,
    st.binary(max_size=20),
    st.sampled_from([HERE, parse_peer("/a")]),
    st.sampled_from(Order),
    st.none() | st.integers(1, 100),
    st.text(max_size=9),
    TIMES,
)
CLOCKS = st.tuples(st.binary(max_size=20), st.text(max_size=20), st.integers(0, 1 << 62))


@given(st.builds(Snapshot, TIMES, *(st.lists(some, max_size=4).map(tuple) for some in (NODES, LEASES, WORDS, CLOCKS))))
def test_any_registry(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


@given(
    st.one_of(
        st.binary(max_size=200), st.recursive(st.integers() | st.text(), st.lists).map(lambda row: clothed(HEAD, row))
    )
)
def test_any_bytes_are_a_snapshot_or_refused(data: bytes) -> None:
    try:
        decode_snapshot(data)
    except BadSnapshot:
        return

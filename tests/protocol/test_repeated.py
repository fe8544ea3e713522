"""What is remembered of datagrams makes no difference but the time that it saves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol import repeated
from uwsgirouter.protocol.packet import encode_packet
from uwsgirouter.protocol.repeated import SIZE_MOST, Reader, digest_of
from uwsgirouter.protocol.subscription import Announce, decode_announce, encode_announce
from uwsgirouter.settings.address import parse_peer


def told(read: Callable[[bytes], Announce], datagram: bytes) -> Announce | tuple[str, str]:
    try:
        return read(datagram)
    except ProtocolError as error:
        return error.reason, str(error)


def made(key: bytes, address: str, load: int = 0, unix: int = 0) -> bytes:
    return encode_announce(Announce(key, parse_peer(address), load=load, unix=unix))


POOL = [
    *(made(key, address, load) for key in (b"a", b"b") for address in ("/x", "[::1]:80") for load in (0, 1)),
    made(b"a", ":3031"),
    made(b"a", "/x", unix=17),
    made(b"a", "/" + "x" * 90),
    encode_announce(Announce(b"a", parse_peer("/x"), leaving=True)),
    encode_packet([(b"key", b"a")]),
    b"",
    b"noise",
    made(b"a", "/x")[:-1],
]


@given(st.lists(st.one_of(st.sampled_from(POOL), st.just(None)), max_size=40), st.integers(1, 5))
def test_the_same_announcements_as_without_a_memory(steps: list[bytes | None], most: int) -> None:
    """None: time passes, and the tables are turned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated, "MOST", most)
        reader = Reader()
        for datagram in steps:
            if datagram is None:
                reader.turn()
            else:
                assert reader.recall(digest_of(datagram)) in (None, expected := told(decode_announce, datagram))
                assert told(reader.read, datagram) == expected
            assert len(reader) <= 2 * most


def test_what_comes_again_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    first, other = reader.read(POOL[0]), reader.read(POOL[2])
    reader.turn()
    monkeypatch.setattr(repeated, "decode_announce", lambda datagram: pytest.fail("it was read again"))
    again = reader.read(bytes(bytearray(POOL[0])))
    assert again == first == reader.recall(digest_of(POOL[0]))
    assert again.address is first.address
    assert reader.read(POOL[2]) == other


def test_what_does_not_come_again_is_forgotten() -> None:
    reader = Reader()
    reader.read(POOL[0])
    reader.read(POOL[1])
    reader.turn()
    reader.read(POOL[0])
    reader.turn()
    assert len(reader) == 1


@pytest.mark.parametrize("datagram", [made(b"a", "/x", unix=17), b"noise"])
def test_what_will_not_come_again_is_not_kept(datagram: bytes) -> None:
    reader = Reader()
    told(reader.read, datagram)
    assert len(reader) == 0


def test_nobody_can_have_much_kept() -> None:
    reader = Reader()
    padded = encode_packet([(b"key", b"a"), (b"address", b"/x"), (b"other", b"x" * SIZE_MOST)])
    assert reader.read(padded).key == b"a"
    assert len(reader) == 0

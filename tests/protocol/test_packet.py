"""The uwsgi packet: an example table cut everywhere, round trips, and two readers that must agree on any bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.protocol.blocks import Variables, framed, mutated, string, values, variables
from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.packet import (
    BLOCK_MAX,
    HEADER_SIZE,
    KEY_MAX,
    LENGTH_MOST,
    LENGTH_UNKNOWN,
    decode_header,
    decode_vars,
    encode_packet,
    scan,
    value_of,
    values_of,
    with_variable,
)

REASONS = {"short", "bad size", "overrun", "empty name"}

EXAMPLES: list[tuple[bytes, Variables, tuple[bytes, int, bool]]] = [
    (b"\0\0\0\0", [], (b"", -1, False)),
    (b"\0\x05\0\0\x01\0a\0\0", [(b"a", b"")], (b"", -1, False)),
    (
        b"\0\x14\0\0\x09\0HTTP_HOST\x07\0foo.com",
        [(b"HTTP_HOST", b"foo.com")],
        (b"foo.com", -1, False),
    ),
    (
        b"\x05\x16\0\x07\x0b\0SERVER_NAME\x07\0foo.com",
        [(b"SERVER_NAME", b"foo.com")],
        (b"foo.com", -1, False),
    ),
    (
        b"\0\x3c\0\0\x0b\0SERVER_NAME\x01\0s\x14\0UWSGI_FASTROUTER_KEY\x01\0k\x09\0HTTP_HOST\x01\0h\x01\0x\0\0",
        [(b"SERVER_NAME", b"s"), (b"UWSGI_FASTROUTER_KEY", b"k"), (b"HTTP_HOST", b"h"), (b"x", b"")],
        (b"k", -1, False),
    ),
    (
        b"\0\x2d\0\0\x0e\0CONTENT_LENGTH\x02\x0042\x0c\0HTTP_UPGRADE\x09\0websocket",
        [(b"CONTENT_LENGTH", b"42"), (b"HTTP_UPGRADE", b"websocket")],
        (b"", 42, True),
    ),
    (
        b"\0\x0b\x01\0\x02\x01" + b"n" * 258 + b"\x05\0value",
        [(b"n" * 258, b"value")],
        (b"", -1, False),
    ),
]


def ids(value: object) -> str:
    return repr(value[:24]) if isinstance(value, bytes) else ""


def reference(variables: Variables) -> tuple[bytes, int, bool]:
    """What :func:`scan` must find, said as plainly as possible."""

    def having(name: bytes) -> list[bytes]:
        return [value for key, value in variables if key == name and 0 < len(value) <= 255]

    key = (having(b"UWSGI_FASTROUTER_KEY")[-1:] or having(b"HTTP_HOST")[-1:] or having(b"SERVER_NAME")[:1] or [b""])[0]
    lengths = [value for name, value in variables if name == b"CONTENT_LENGTH"]
    upgrades = [value for name, value in variables if name == b"HTTP_UPGRADE"]
    length = LENGTH_UNKNOWN
    if lengths and set(lengths[-1]) <= set(b"0123456789"):
        length = min(int(lengths[-1] or b"0"), LENGTH_MOST)
    return key, length, upgrades[-1:] not in ([], [b""])


def scanned(packet: bytes, body: bytes = b"") -> tuple[bytes, int, bool] | None:
    """What :func:`scan` finds with ``body`` behind the packet in the buffer; None for a refusal."""
    try:
        key, length, upgrade = scan(packet + body, len(packet))
    except ProtocolError as error:
        assert error.reason in REASONS
        return None
    return key, length, upgrade


def decoded(packet: bytes) -> Variables | None:
    """What :func:`decode_vars` finds; None for a refusal."""
    try:
        return decode_vars(packet)
    except ProtocolError as error:
        assert error.reason in REASONS
        return None


def assert_readers_agree(block: bytes, body: bytes) -> None:
    packet = framed(block)
    found = decoded(packet)
    assert scanned(packet, body) == (None if found is None else reference(found))


# -- examples: whole, byte by byte, with trailing bytes ------------------------------------------------------------


@pytest.mark.parametrize(("packet", "expected", "found"), EXAMPLES, ids=ids)
class TestExamples:
    def test_whole(self, packet: bytes, expected: Variables, found: tuple[bytes, int, bool]) -> None:
        assert decode_vars(packet) == expected
        assert scanned(packet) == found
        modifier1, size, modifier2 = decode_header(packet)
        assert (modifier1, modifier2, size) == (packet[0], packet[3], len(packet) - HEADER_SIZE)
        assert encode_packet(expected, modifier1, modifier2) == packet

    def test_every_cut(self, packet: bytes, expected: Variables, found: tuple[bytes, int, bool]) -> None:
        """A block that ends early is read up to a boundary of variables, or refused."""
        whole = {HEADER_SIZE: 0}
        position = HEADER_SIZE
        for count, (name, value) in enumerate(expected, start=1):
            position += 4 + len(name) + len(value)
            whole[position] = count
        for end in range(len(packet)):
            with pytest.raises(ProtocolError, match=r"^(short|bad size)"):
                decode_vars(packet[:end])
        for end in range(HEADER_SIZE, len(packet) + 1):
            cut = framed(packet[HEADER_SIZE:end])
            left = expected[: whole[end]] if end in whole else None
            assert decoded(cut) == left
            assert scanned(cut) == (None if left is None else reference(left))
            assert scanned(cut, packet[end:]) == scanned(cut), "bytes behind the end were read"

    def test_trailing_bytes(self, packet: bytes, expected: Variables, found: tuple[bytes, int, bool]) -> None:
        for trailing in (b"\0", b"\0\0\0\0", b"body", string(b"HTTP_HOST") + string(b"evil.com"), packet):
            assert scanned(packet, trailing) == found
            with pytest.raises(ProtocolError, match=r"^bad size"):
                decode_vars(packet + trailing)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\0\0\0\0", "empty name"),
        (b"\0\0\x01\0a", "empty name"),
        (string(b"HTTP_HOST") + string(b"foo.com") + b"\0\0\0\0", "empty name"),
        (b"\x01", "overrun"),
        (b"\x01\0", "overrun"),
        (b"\x01\0a", "overrun"),
        (b"\x01\0a\0", "overrun"),
        (b"\x01\0a\x01\0", "overrun"),
        (b"\x02\0a\0\0", "overrun"),
        (b"\xff\xffa\0\0", "overrun"),
        (b"\x01\0a\xff\xffb", "overrun"),
        (string(b"HTTP_HOST") + b"\x08\0foo.com", "overrun"),
    ],
    ids=ids,
)
@pytest.mark.parametrize("body", [b"", b"\0" * 70000, b"\x01" * 70000])
def test_broken_blocks(block: bytes, reason: str, body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_vars(framed(block))
    assert caught.value.reason == reason
    with pytest.raises(ProtocolError) as caught:
        scan(framed(block) + body, HEADER_SIZE + len(block))
    assert caught.value.reason in REASONS


def test_as_many_variables_as_are_wanted() -> None:
    variables = [(b"a", b"1"), (b"b", b"2")]
    assert decode_vars(encode_packet(variables), 2) == variables
    with pytest.raises(ProtocolError, match=r"^too many variables: more than 1"):
        decode_vars(encode_packet(variables), 1)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0", b"\0\x01\0\0", b"\0\0\0\0x", b"\0\xff\xff\0"])
def test_wrong_sizes(data: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^(short|bad size)"):
        decode_vars(data)


# -- the key --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "key"),
    [
        ("H", b"H0"),
        ("S", b"S0"),
        ("K", b"K0"),
        ("SH HS", b"H2"),
        ("HS", b"H0"),
        ("SHK", b"K2"),
        ("KHS", b"K0"),
        ("HKS", b"K1"),
        ("HHH", b"H2"),
        ("KKH", b"K1"),
        ("SSS", b"S0"),
        ("", b""),
    ],
)
def test_precedence_and_repetition(names: str, key: bytes) -> None:
    """The last HTTP_HOST and UWSGI_FASTROUTER_KEY and the first SERVER_NAME count, in any order."""
    full = {"H": b"HTTP_HOST", "S": b"SERVER_NAME", "K": b"UWSGI_FASTROUTER_KEY"}
    items = [(full[n], f"{n}{i}".encode()) for i, n in enumerate(names.replace(" ", ""))]
    packet = encode_packet(items)
    assert scan(packet, len(packet))[0] == key


@pytest.mark.parametrize("name", [b"HTTP_HOST", b"SERVER_NAME", b"UWSGI_FASTROUTER_KEY"])
@pytest.mark.parametrize("other", [b"HTTP_HOST", b"SERVER_NAME", b"UWSGI_FASTROUTER_KEY"])
@pytest.mark.parametrize("bad", [b"", b"k" * 256, b"k" * 4000, b"k" * 60000])
def test_empty_and_long_values_count_as_absent(name: bytes, other: bytes, bad: bytes) -> None:
    for items in ([(name, bad), (other, b"good")], [(other, b"good"), (name, bad)]):
        packet = encode_packet(items)
        assert scan(packet, len(packet))[0] == b"good"
    packet = encode_packet([(name, bad)])
    assert scan(packet, len(packet))[0] == b""


@pytest.mark.parametrize("name", [b"HTTP_HOST", b"SERVER_NAME", b"UWSGI_FASTROUTER_KEY"])
def test_the_longest_key(name: bytes) -> None:
    packet = encode_packet([(name, b"k" * KEY_MAX)])
    assert scan(packet, len(packet))[0] == b"k" * 255


def test_a_value_is_never_taken_for_a_name() -> None:
    hidden = string(b"HTTP_HOST") + string(b"evil.com")
    packet = encode_packet([(b"QUERY_STRING", hidden), (b"SERVER_NAME", b"good.com"), (hidden, hidden)])
    assert scan(packet, len(packet))[0] == b"good.com"


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"", 0),
        (b"0", 0),
        (b"007", 7),
        (b"9" * 18, 10**18 - 1),
        (b"9" * 19, LENGTH_MOST),
        (b"0" * 30 + b"7", 7),
        (b"1" * 60_000, LENGTH_MOST),
        (b"-7", LENGTH_UNKNOWN),
        (b"+5", LENGTH_UNKNOWN),
        (b"1_0", LENGTH_UNKNOWN),
        (b" 5", LENGTH_UNKNOWN),
        (b"0x10", LENGTH_UNKNOWN),
        (b"abc", LENGTH_UNKNOWN),
        (b"\xb2", LENGTH_UNKNOWN),
        ("٣".encode(), LENGTH_UNKNOWN),
    ],
)
def test_content_length(value: bytes, length: int) -> None:
    packet = encode_packet([(b"CONTENT_LENGTH", value)])
    assert scan(packet, len(packet))[1] == length


# -- limits of what is written --------------------------------------------------------------------------------------


def test_the_largest_block() -> None:
    packet = encode_packet([(b"a", b"v" * (BLOCK_MAX - 5))], 224, 1)
    assert len(packet) == 65539
    assert packet[:4] == b"\xe0\xff\xff\x01"
    assert decode_vars(packet) == [(b"a", b"v" * 65530)]
    assert scanned(packet) == (b"", -1, False)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([(b"a", b"v" * (BLOCK_MAX - 4))], "too large"),
        ([(b"a", b"v" * 70000)], "too large"),
        ([(b"a" * 70000, b"")], "too large"),
        ([(b"a", b"v" * 40000), (b"b", b"v" * 40000)], "too large"),
        ([(b"", b"v")], "empty name"),
    ],
    ids=["one byte over", "value", "name", "sum", "empty"],
)
def test_what_cannot_be_written(items: Variables, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_packet(items)
    assert caught.value.reason == reason


# -- any bytes ------------------------------------------------------------------------------------------------------


@given(variables(), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=60))
def test_round_trip(items: Variables, modifier1: int, modifier2: int, body: bytes) -> None:
    packet = encode_packet(items, modifier1, modifier2)
    assert decode_vars(packet) == items
    assert decode_header(packet + body) == (modifier1, len(packet) - 4, modifier2)
    assert scanned(packet, body) == reference(items)


@given(st.binary(max_size=200))
def test_any_bytes_give_variables_or_a_protocol_error(data: bytes) -> None:
    found = decoded(data)
    if found is not None:
        assert encode_packet(found, data[0], data[3]) == data


@given(st.binary(max_size=120), st.binary(max_size=300))
@example(b"\x09", b"\0HTTP_HOST\x01\0h")
@example(b"\x09\0HTTP_HOST\x01", b"\0h")
@example(b"\x09\0HTTP_HOST\x01\0", b"h")
@example(b"\x09\x01HTTP_HOST\x01\0h", b"x" * 300)
def test_the_readers_agree_on_any_block(block: bytes, body: bytes) -> None:
    assert_readers_agree(block, body)


@given(
    st.lists(st.one_of(values(), values().map(string), st.sampled_from([b"\0", b"\0\0", b"\x01\0"])), max_size=8),
    st.binary(max_size=40),
)
def test_the_readers_agree_on_scrambled_variables(parts: list[bytes], body: bytes) -> None:
    assert_readers_agree(b"".join(parts)[:BLOCK_MAX], body)


@given(variables(), st.integers(0, 2**32), st.binary(max_size=40))
def test_the_readers_agree_on_mutated_blocks(items: Variables, seed: int, body: bytes) -> None:
    block = mutated(encode_packet(items)[HEADER_SIZE:], random.Random(seed))
    assert_readers_agree(block[:BLOCK_MAX], body)


def test_two_thousand_random_and_two_thousand_mutated_packets() -> None:
    dice = random.Random(2031)
    whole = encode_packet(
        [(b"HTTP_HOST", b"foo.com"), (b"SERVER_NAME", b"s"), (b"CONTENT_LENGTH", b"12"), (b"REQUEST_URI", b"/a" * 40)]
    )
    refused = 0
    for number in range(4000):
        block = dice.randbytes(dice.randrange(80)) if number % 2 else mutated(whole[HEADER_SIZE:], dice)
        assert_readers_agree(block, dice.randbytes(20))
        refused += decoded(framed(block)) is None
    assert 2000 < refused < 4000, "both sorts of outcome must have been seen"


# -- one value ------------------------------------------------------------------------------------------------------


@given(variables(), values(), st.binary(max_size=8))
def test_one_value_is_the_first_one_of_that_name(items: Variables, wanted: bytes, body: bytes) -> None:
    packet = encode_packet(items)
    for name in {name for name, _ in items} | {b"REMOTE_ADDR", wanted}:
        expected = next((value for other, value in items if other == name), b"")
        assert value_of(packet + body, len(packet), name) == expected


def test_one_value_is_never_taken_from_another_one_or_from_the_body() -> None:
    inner = string(b"REMOTE_ADDR") + string(b"192.0.2.66")
    packet = encode_packet([(b"A", inner), (b"REMOTE_ADDR", b"192.0.2.1"), (b"REMOTE_ADDR", b"192.0.2.2")])
    assert value_of(packet, len(packet), b"REMOTE_ADDR") == b"192.0.2.1"
    bare = encode_packet([(b"A", inner)])
    assert value_of(bare + inner, len(bare), b"REMOTE_ADDR") == b""
    assert value_of(encode_packet([]), 4, b"REMOTE_ADDR") == b""


# -- several values, and one more -------------------------------------------------------------------------------------


@given(variables(), values())
def test_several_values_are_the_last_ones_of_their_names(items: Variables, wanted: bytes) -> None:
    packet = encode_packet(items)
    names = {name for name, _ in items[::2]} | {b"REMOTE_ADDR", wanted}
    assert values_of(packet, names) == {name: value for name, value in items if name in names}
    assert values_of(packet, ()) == {}


@given(variables(), st.binary(min_size=1, max_size=20), values())
def test_one_more_variable_stands_at_the_end(items: Variables, name: bytes, value: bytes) -> None:
    packet = encode_packet(items, 5, 7)
    more = with_variable(packet, name, value)
    assert decode_vars(more) == [*items, (name, value)]
    assert decode_header(more) == (5, len(more) - HEADER_SIZE, 7)


def test_a_packet_has_no_room_for_more_than_its_header_can_say() -> None:
    full = encode_packet([(b"A", b"x" * (BLOCK_MAX - 5 - 5))])
    assert len(with_variable(full, b"B", b"")) == HEADER_SIZE + BLOCK_MAX
    with pytest.raises(ProtocolError, match="too large: 65536 bytes of variables, at most 65535"):
        with_variable(full, b"B", b"y")

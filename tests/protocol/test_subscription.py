"""Subscription datagrams: what a node may say of itself, and that no bytes get through that cannot be used."""

from __future__ import annotations

import random
import re
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.blocks import framed, mutated, string
from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.packet import decode_vars, encode_packet
from uwsgirouter.protocol.subscription import (
    BACKUP_MAX,
    HOPS_MAX,
    VARIABLES_MAX,
    WEIGHT_MAX,
    Announce,
    decode_announce,
    encode_announce,
)
from uwsgirouter.settings.address import NOWHERE, Kind, parse_peer

REASONS = {
    "short",
    "bad size",
    "overrun",
    "empty name",
    "too many variables",
    "no key",
    "key too long",
    "no address",
    "address too long",
    "bad address",
    "other protocol",
    "bad modifier1",
    "bad modifier2",
    "bad weight",
    "bad cores",
    "bad load",
    "bad inactive",
    "bad clear",
    "bad vassal",
    "vassal too long",
    "no vassal",
    "bad backup",
    "bad algo",
    "bad notify",
    "notify too long",
    "bad unix",
    *(f"bad {name}" for name in ("sni_key", "sni_crt", "sni_ca")),
    *(f"{name} too long" for name in ("sni_key", "sni_crt", "sni_ca")),
    "bad router-path",
    "too many hops",
}

REAL = (
    b"\xe0\x53\0\0\x03\0key\x07\0foo.com\x07\0address\x0e\x00127.0.0.1:3031\x09\0modifier1\x01\x000"
    b"\x05\0cores\x01\x004\x04\0load\x01\x000\x06\0weight\x01\x003"
)


def datagram(modifiers: tuple[int, int] = (224, 0), /, **variables: bytes) -> bytes:
    given = {"key": b"foo.com", "address": b"127.0.0.1:3031"} | variables
    return encode_packet([(name.encode(), value) for name, value in given.items()], *modifiers)


def test_more_variables_than_any_node_sends_are_not_read_to_the_end() -> None:
    """Hundreds of them would be dear, and a flood of such datagrams would leave no time for others."""
    extra = {f"other{number}": b"" for number in range(VARIABLES_MAX - 2)}
    assert decode_announce(datagram(**extra)).key == b"foo.com"
    assert refusal(datagram(**extra, last=b"")) == "too many variables"


def refusal(data: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode_announce(data)
    return caught.value.reason


def assert_usable(announce: Announce) -> None:
    """What the registry and a worker's connect rely on, whoever sent the datagram."""
    assert 1 <= len(announce.key) <= 255
    assert len(announce.vassal) <= 255
    assert announce.vassal or not (announce.inactive or announce.cleared)
    if announce.address == NOWHERE:
        assert announce.inactive
        return
    assert 1 <= len(announce.address.text.encode("utf-8", "surrogateescape")) <= 255
    assert announce.address.kind in (Kind.TCP4, Kind.TCP6, Kind.UNIX, Kind.ABSTRACT, Kind.NAME)
    assert announce.address.kind is not Kind.NAME or re.fullmatch(r"[\w.-]+", announce.address.host, re.ASCII)
    assert announce.address.is_unix or 1 <= announce.address.port <= 65535
    assert announce.notify == NOWHERE or announce.notify.kind in (Kind.TCP4, Kind.TCP6, Kind.UNIX, Kind.ABSTRACT)
    assert 0 <= announce.backup <= BACKUP_MAX and 0 <= announce.unix < 1 << 63
    assert len(announce.algo) <= 32 and announce.algo.isprintable()
    assert max(map(len, (announce.sni_key, announce.sni_crt, announce.sni_ca))) <= 1023
    assert announce.hops <= HOPS_MAX and all(len(id) == 16 for id in announce.route)
    assert 0 <= announce.modifier1 <= 255 and 0 <= announce.modifier2 <= 255
    assert 1 <= announce.weight <= WEIGHT_MAX
    assert announce.cores >= 0 and 0 <= announce.load < 1 << 63
    assert parse_peer(announce.address.text) == announce.address


def judged(data: bytes) -> Announce | None:
    """The announcement, or None when it was refused for one of the fixed reasons."""
    try:
        announce = decode_announce(data)
    except ProtocolError as error:
        assert error.reason in REASONS
        assert len(str(error)) < 2000
        return None
    assert_usable(announce)
    return announce


# -- examples -------------------------------------------------------------------------------------------------------


def test_a_real_announcement_whole() -> None:
    assert decode_announce(REAL) == Announce(b"foo.com", parse_peer("127.0.0.1:3031"), weight=3, cores=4)


def test_a_real_announcement_byte_by_byte_and_with_trailing_bytes() -> None:
    for end in range(len(REAL)):
        assert refusal(REAL[:end]) in ("short", "bad size")
    for trailing in (b"\0", b"\0\0\0\0", REAL):
        assert refusal(REAL + trailing) == "bad size"
    for end in range(4, len(REAL)):
        judged(framed(REAL[4:end], 224))


def test_defaults() -> None:
    announce = decode_announce(datagram())
    assert announce == Announce(b"foo.com", parse_peer("127.0.0.1:3031"), 0, 0, 1, 0, 0, False)


@pytest.mark.parametrize(("modifier2", "leaving"), [(0, False), (1, True), (2, True), (255, True)])
@pytest.mark.parametrize("modifier1", [0, 5, 224, 255])
def test_modifier2_says_whether_it_comes_or_goes_and_modifier1_nothing(
    modifier1: int, modifier2: int, leaving: bool
) -> None:
    assert decode_announce(datagram((modifier1, modifier2))).leaving is leaving


def test_order_and_unknown_variables_do_not_matter_and_the_last_of_a_name_counts() -> None:
    items = [(b"x", b"y"), (b"weight", b"9"), (b"address", b"/a"), (b"key", b"old"), (b"key", b"k"), (b"weight", b"2")]
    assert decode_announce(encode_packet(items, 224)) == Announce(b"k", parse_peer("/a"), weight=2)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("weight", b"0", 1),
        ("weight", b"", 1),
        ("weight", b"1000000", 1_000_000),
        ("modifier1", b"255", 255),
        ("modifier2", b"007", 7),
        ("cores", b"", 0),
        ("load", b"9223372036854775807", (1 << 63) - 1),
    ],
)
def test_numbers(name: str, value: bytes, expected: int) -> None:
    assert getattr(decode_announce(datagram(**{name: value})), name) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight", b"1000001"),
        ("weight", b"-1"),
        ("weight", b"1.5"),
        ("weight", b"abc"),
        ("weight", b"1_0"),
        ("weight", b"9" * 3000),
        ("modifier1", b"256"),
        ("modifier1", b"\xb2"),
        ("modifier2", b" 1"),
        ("cores", b"1000001"),
        ("load", b"9223372036854775808"),
        ("load", b"0" * 20),
    ],
)
def test_numbers_out_of_range(name: str, value: bytes) -> None:
    assert refusal(datagram(**{name: value})) == f"bad {name}"


# -- keys and addresses of every size (a long key corrupts the heap of the C FastRouter) -----------------------------


@pytest.mark.parametrize(("size", "reason"), [(0, "no key"), (256, "key too long"), (4000, "key too long")])
def test_keys_of_a_wrong_size(size: int, reason: str) -> None:
    assert refusal(datagram(key=b"k" * size)) == reason


@pytest.mark.parametrize("size", [1, 254, 255])
def test_keys_of_a_right_size(size: int) -> None:
    assert decode_announce(datagram(key=b"k" * size)).key == b"k" * size


def test_any_bytes_are_a_key() -> None:
    every = bytes(range(1, 256))
    assert decode_announce(datagram(key=every)).key == every


@pytest.mark.parametrize(
    ("size", "reason"),
    [(0, "no address"), (255, "bad address"), (256, "address too long"), (4000, "address too long")],
)
@pytest.mark.parametrize("first", [b"/", b"@", b"1"])
def test_addresses_of_a_wrong_size(first: bytes, size: int, reason: str) -> None:
    assert refusal(datagram(address=(first * 4000)[:size])) == reason


def test_without_key_or_address() -> None:
    assert refusal(encode_packet([(b"address", b"/a")])) == "no key"
    assert refusal(encode_packet([(b"key", b"k")])) == "no address"
    assert refusal(encode_packet([])) == "no key"


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:3031", "[::1]:3031", "[fe80::1%eth0]:3031", "/run/app.sock", "app.sock", "@app", ":3031", "0.0.0.0:1"],
)
def test_addresses_of_every_kind(text: str) -> None:
    assert decode_announce(datagram(address=text.encode())).address == parse_peer(text)


@pytest.mark.parametrize(
    "text",
    ["app.internal:3031", "localhost:1", "a:65535", "App-1.Example.Com.:80", "_app._tcp.x:80", "1.2.3.4.app:80"],
)
def test_host_names(text: str) -> None:
    address = decode_announce(datagram(address=text.encode())).address
    assert address == parse_peer(text)
    assert address.kind is Kind.NAME


@pytest.mark.parametrize(
    "name",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0X7F.0.0.0x1",
        "1.2.3.4.5",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a b",
        "ä",
        "a/b",
        "a%b",
    ]
    + ["a" * 64, "a." * 127 + "a", "."],
)
def test_what_is_no_host_name(name: str) -> None:
    """Neither what the system's look-up would take for an IP address of an old form."""
    assert refusal(datagram(address=f"{name}:80".encode())) in ("bad address", "address too long")


@pytest.mark.parametrize(
    "address",
    [
        b"127.0.0.1:0",
        b"127.0.0.1:65536",
        b"127.0.0.1:",
        b"127.0.0.1:-1",
        b"127.0.0.*:3031",
        b"*:3031",
        b"::1:3031",
        b"[::1]",
        b"[::1]3031",
        b"[nonsense]:3031",
        b"[::1%\xff]:3031",
        "[::1%é]:3031".encode(),
        b"@",
        b"/a\0b",
        b"/" + b"a" * 107,
        b"/tmp/\x1b[2Jx",
        b"/tmp/a\nb",
        b"/tmp/a\x7f",
        "1٣.0.0.1:80".encode(),
        "127.0.0.1:٣".encode(),
    ],
)
def test_addresses_that_nobody_can_use(address: bytes) -> None:
    assert refusal(datagram(address=address)) == "bad address"


def test_only_the_uwsgi_protocol() -> None:
    assert (
        decode_announce(datagram(proto=b"uwsgi")) == decode_announce(datagram(proto=b"")) == decode_announce(datagram())
    )
    for protocol in (b"http", b"fastcgi", b"UWSGI", b"x" * 3000):
        assert refusal(datagram(proto=protocol)) == "other protocol"


def test_a_refusal_names_what_was_wrong_in_one_printable_line() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_announce(datagram(address=b"\x1b[2J\n\xff:99999"))
    assert str(caught.value).isprintable()


# -- any announcement, any bytes ------------------------------------------------------------------------------------


def addresses() -> st.SearchStrategy[str]:
    ports = st.integers(1, 65535)
    names = st.text(st.characters(exclude_characters=":\0", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=26)
    return st.one_of(
        st.builds("{}:{}".format, st.ip_addresses(v=4), ports),
        st.builds("[{}]:{}".format, st.ip_addresses(v=6), ports),
        names.map(lambda name: "/" + name),
        names.map(lambda name: "@" + name),
        st.just("/tmp/\udcff\udc80.sock"),
    )


def paths() -> st.SearchStrategy[bytes]:
    return st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60).map(str.encode)


def said(**fields: Any) -> Announce:
    """(From the type alone, hypothesis would make values for fields that have one.)"""
    return Announce(**fields)


def announces() -> st.SearchStrategy[Announce]:
    any_node = st.builds(
        said,
        key=st.binary(min_size=1, max_size=255),
        address=addresses().map(parse_peer),
        modifier1=st.integers(0, 255),
        modifier2=st.integers(0, 255),
        weight=st.integers(1, WEIGHT_MAX),
        cores=st.integers(0, 1_000_000),
        load=st.integers(0, (1 << 63) - 1),
        leaving=st.booleans(),
        backup=st.integers(0, BACKUP_MAX),
        algo=st.sampled_from(["", "wrr", "lrc", "wlrc", "iphash", "p2c", "of.tomorrow_2"]),
        notify=st.one_of(
            st.just(NOWHERE), addresses().map(parse_peer).filter(lambda a: a.is_unix or not a.is_wildcard)
        ),
        unix=st.integers(0, (1 << 63) - 1),
        sni_key=paths(),
        sni_crt=paths(),
        sni_ca=paths(),
        route=st.lists(st.integers(0, (1 << 64) - 1).map(lambda id: b"%016x" % id), max_size=HOPS_MAX).map(tuple),
    )
    vassals = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).map(str.encode)
    anywhere = st.one_of(st.just(NOWHERE), addresses().map(parse_peer))
    return st.one_of(
        any_node,
        st.builds(Announce._replace, any_node, vassal=vassals, cleared=st.booleans()),
        st.builds(Announce._replace, any_node, vassal=vassals, inactive=st.just(True), address=anywhere),
    )


def test_a_vassal_tells_its_name() -> None:
    announce = decode_announce(datagram(vassal=b"one.ini"))
    assert (announce.vassal, announce.inactive, announce.address.text) == (b"one.ini", False, "127.0.0.1:3031")


def test_an_inactive_vassal_with_its_address() -> None:
    """As the tutorial announces it: addr=127.0.0.1:3036,vassal=one.ini,inactive=1."""
    announce = decode_announce(datagram(vassal=b"one.ini", inactive=b"1"))
    assert (announce.vassal, announce.inactive, announce.leaving) == (b"one.ini", True, False)
    assert not decode_announce(datagram(vassal=b"one.ini", inactive=b"0")).inactive


def test_without_an_address_it_can_only_be_inactive() -> None:
    announce = decode_announce(datagram(vassal=b"one.ini", address=b""))
    assert (announce.address, announce.inactive) == (NOWHERE, True)
    assert refusal(datagram(address=b"")) == "no address"


def test_only_a_vassal_can_be_inactive() -> None:
    assert refusal(datagram(inactive=b"1")) == "no vassal"


@pytest.mark.parametrize("name", [b"one\n.ini", b"\0", b"\x7f"])
def test_a_vassals_name_can_be_written_into_a_log(name: bytes) -> None:
    assert refusal(datagram(vassal=name)) == "bad vassal"


def test_a_vassals_name_has_a_limit() -> None:
    assert decode_announce(datagram(vassal=b"v" * 255)).vassal == b"v" * 255
    assert refusal(datagram(vassal=b"v" * 256)) == "vassal too long"


def test_a_vassal_that_stops_may_ask_to_be_kept() -> None:
    """subscription-clear-on-shutdown: not an unsubscribe, the vassal can be started again."""
    announce = decode_announce(datagram(vassal=b"one.ini", clear=b"1"))
    assert (announce.cleared, announce.leaving) == (True, False)
    other = decode_announce(datagram(clear=b"1"))
    assert (other.cleared, other.leaving) == (False, True), "nobody could start it again"


# -- the fields of uWSGI 2.1 ----------------------------------------------------------------------------------------

EVERYTHING = {
    "backup": b"2",
    "algo": b"lrc",
    "proto": b"uwsgi",
    "notify": b"/run/notify",
    "sni_key": b"/etc/key.pem",
    "sni_crt": b"/etc/crt.pem",
    "sni_ca": b"/etc/ca.pem",
    "vassal": b"one.ini",
    "unix": b"1795339094",
    "sign": b"\x80" * 256,
}


def test_every_field_that_an_instance_can_send() -> None:
    announce = decode_announce(datagram(**EVERYTHING))
    assert announce == Announce(
        b"foo.com",
        parse_peer("127.0.0.1:3031"),
        backup=2,
        algo="lrc",
        notify=parse_peer("/run/notify"),
        sni_key=b"/etc/key.pem",
        sni_crt=b"/etc/crt.pem",
        sni_ca=b"/etc/ca.pem",
        vassal=b"one.ini",
        unix=1795339094,
    )


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name != "vassal"])
def test_an_empty_field_is_an_absent_one(name: str) -> None:
    assert decode_announce(datagram(**{name: b""})) == decode_announce(datagram())


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("backup", b"-1", "bad backup"),
        ("backup", b"1000001", "bad backup"),
        ("unix", b"1e9", "bad unix"),
        ("algo", b"lrc;", "bad algo"),
        ("algo", b"a" * 33, "bad algo"),
        ("algo", "p\u00e9".encode(), "bad algo"),
        ("algo", b"lrc\n", "bad algo"),
        ("notify", b"/run/\nnotify", "bad notify"),
        ("notify", b"localhost:99", "bad notify"),
        ("notify", b"0.0.0.0:99", "bad notify"),
        ("notify", b":99", "bad notify"),
        ("notify", b"127.0.0.1:0", "bad notify"),
        ("notify", b"/" + b"n" * 107, "bad notify"),
        ("notify", b"/" + b"n" * 255, "notify too long"),
        ("sni_key", b"/a\0b", "bad sni_key"),
        ("sni_crt", b"/\x1b[2J", "bad sni_crt"),
        ("sni_ca", b"/" * 1024, "sni_ca too long"),
        ("proto", b"http", "other protocol"),
        ("router-path", b"0123456789abcdeg", "bad router-path"),
        ("router-path", b"0123456789abcdef,", "bad router-path"),
        ("router-path", b",".join([b"0123456789abcdef"] * (HOPS_MAX + 1)), "too many hops"),
    ],
)
def test_fields_out_of_bounds(name: str, value: bytes, reason: str) -> None:
    assert refusal(datagram(**{name: value})) == reason


def test_a_vassal_without_an_address_must_speak_uwsgi_too() -> None:
    assert refusal(datagram(vassal=b"one.ini", address=b"", proto=b"fastcgi")) == "other protocol"


def test_the_first_router_of_the_route_is_the_origin() -> None:
    announce = decode_announce(datagram(**{"router-path": b"00000000000000aa,00000000000000bb"}))
    assert (announce.origin, announce.hops) == (b"00000000000000aa", 2)
    assert (decode_announce(datagram()).origin, decode_announce(datagram()).hops) == (b"", 0)


@given(announces())
def test_round_trip(announce: Announce) -> None:
    data = encode_announce(announce)
    assert len(data) <= 4096
    assert decode_announce(data) == announce
    assert dict(decode_vars(data))[b"key"] == announce.key


def names() -> st.SearchStrategy[bytes]:
    return st.sampled_from([b"key", b"address", b"modifier1", b"weight", b"cores", b"load", b"proto", b"sign", b"unix"])


@given(
    st.lists(
        st.tuples(
            names(), st.one_of(st.binary(max_size=300), addresses().map(lambda a: a.encode("utf-8", "surrogateescape")))
        ),
        max_size=8,
    )
)
def test_any_variables(items: list[tuple[bytes, bytes]]) -> None:
    judged(encode_packet(items, 224))


@given(st.binary(max_size=130))
def test_any_address(address: bytes) -> None:
    judged(datagram(address=address))
    judged(datagram(address=b"[::1%" + address + b"]:80"))
    judged(datagram(address=address + b":80"))


@given(announces())
def test_whatever_is_accepted_can_be_dialled(announce: Announce) -> None:
    """A socket call may fail, but only by OSError: anything else would end a session without a word."""
    assert_connectable(announce)


@given(st.one_of(st.text(max_size=60), st.text("[]:%.@/*0123456789abcdef", max_size=24)))
def test_whatever_text_is_accepted_can_be_dialled(text: str) -> None:
    for candidate in (text, f"[::1%{text}]:80"):
        announce = judged(datagram(address=candidate.encode("utf-8", "replace")))
        if announce is not None:
            assert_connectable(announce)


def assert_connectable(announce: Announce) -> None:
    """The address converts to what the system takes; nothing is sent (a datagram socket only notes its peer)."""
    with socket.socket(announce.address.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect_ex(announce.address.sockaddr)
        except OSError:
            return


def test_two_thousand_random_datagrams() -> None:
    dice = random.Random(2)
    for number in range(2000):
        data = dice.randbytes(dice.choice([0, 3, 4, 5, 60, 4096]) if number % 4 == 0 else dice.randrange(200))
        assert judged(data) is None
        judged(framed(data, 224, dice.randrange(3)))


def test_two_thousand_mutated_datagrams() -> None:
    dice = random.Random(3)
    originals = [
        REAL,
        datagram(key=b"k" * 255),
        datagram(address=b"[::1]:3031", weight=b"3", load=b"17", unix=b"1700000000", proto=b"uwsgi"),
        datagram((224, 1), address=b"@" + b"a" * 100, cores=b"8", sign=b"\x80" * 128),
    ]
    accepted = 0
    for number in range(2000):
        data = mutated(originals[number % 4], dice)
        if number % 3:
            data = framed(data[4:], *data[:1])
        accepted += judged(data) is not None
    assert 20 < accepted < 1900, "both sorts of outcome must have been seen"


def test_a_variable_hidden_in_a_value_says_nothing() -> None:
    hidden = string(b"key") + string(b"evil") + string(b"address") + string(b"/evil")
    announce = decode_announce(datagram(remark=hidden))
    assert (announce.key, announce.address.text) == (b"foo.com", "127.0.0.1:3031")


def test_addresses_in_bulk_keep_their_value() -> None:
    for number in range(1, 1 << 32, 40_000_003):
        text = f"{IPv4Address(number)}:{1 + number % 65535}"
        assert decode_announce(datagram(address=text.encode())).address.sockaddr == (
            str(IPv4Address(number)),
            1 + number % 65535,
        )
    long_form = IPv6Address(7).exploded
    assert decode_announce(datagram(address=f"[{long_form}]:80".encode())).address.sockaddr == ("::7", 80)

"""The datagrams of uWSGI 2.1, which nobody packages: byte for byte as its source writes them, in its order.

What 2.0 sends is tested with the real thing (tests/end_to_end/test_announcements.py). New in 2.1: ``backup``, always
there in a subscribe2, ``vassal``, ``proto``, ``algo``, ``inactive``; and ``clear`` in the place of an unsubscribe when
``subscription-clear-on-shutdown`` is set. A subscribe-to is as in 2.0.
"""

from __future__ import annotations

import pytest

from tests.protocol.blocks import string
from uwsgirouter.errors import ProtocolError
from uwsgirouter.protocol.signing import split_signed
from uwsgirouter.protocol.subscription import Announce, decode_announce
from uwsgirouter.settings.address import parse_peer

NODE = parse_peer("127.0.0.1:3031")

PLAIN = (
    b"\xe0l\x00\x00\x03\x00key\x07\x00foo.com\x07\x00address\x0e\x00127.0.0.1:3031\t\x00modifier1\x01\x000"
    b"\t\x00modifier2\x01\x000\x05\x00cores\x01\x001\x04\x00load\x01\x000\x06\x00weight\x01\x001\x06\x00backup\x01\x000"
)
"""subscribe2 = server=...,key=foo.com"""

WHOLE = (
    b"\xe0\xc8\x00\x00\x03\x00key\x07\x00foo.com\x07\x00address\x0e\x00127.0.0.1:3031\t\x00modifier1\x01\x005"
    b"\t\x00modifier2\x01\x006\x05\x00cores\x01\x008\x04\x00load\x01\x000\x06\x00weight\x01\x003\x06\x00backup\x01\x002"
    b"\x06\x00vassal\x07\x00one.ini\x07\x00sni_key\x02\x00/k\x07\x00sni_crt\x02\x00/c\x06\x00sni_ca\x02\x00/a"
    b"\x05\x00proto\x05\x00uwsgi\x04\x00algo\x03\x00lrc\x06\x00notify\x02\x00/n"
)
"""The same with every field but ``inactive``, and subscription-notify-socket."""


def with_more(datagram: bytes, *items: tuple[bytes, bytes], modifier2: int = 0) -> bytes:
    """The datagram with variables at its end, and another command."""
    block = datagram[4:] + b"".join(string(name) + string(value) for name, value in items)
    return b"\xe0" + len(block).to_bytes(2, "little") + bytes([modifier2]) + block


def without(datagram: bytes, name: bytes, value: bytes) -> bytes:
    """The datagram without a variable."""
    block = datagram[4:].replace(string(name) + string(value), b"")
    assert len(block) < len(datagram) - 4
    return with_more(datagram[:4] + block)


def test_the_least() -> None:
    assert decode_announce(PLAIN) == Announce(b"foo.com", NODE, cores=1)


def test_every_field() -> None:
    assert decode_announce(WHOLE) == Announce(
        b"foo.com",
        NODE,
        modifier1=5,
        modifier2=6,
        weight=3,
        cores=8,
        vassal=b"one.ini",
        backup=2,
        algo="lrc",
        notify=parse_peer("/n"),
        sni_key=b"/k",
        sni_crt=b"/c",
        sni_ca=b"/a",
    )


def test_unsubscribe() -> None:
    assert decode_announce(with_more(PLAIN, modifier2=1)) == Announce(b"foo.com", NODE, cores=1, leaving=True)


def test_a_vassal_that_does_not_run() -> None:
    announce = decode_announce(with_more(WHOLE, (b"inactive", b"1")))
    assert (announce.inactive, announce.vassal, announce.address) == (True, b"one.ini", NODE)


def test_clear_on_shutdown() -> None:
    """The command is 0 then; a signed one is dated like an announcement."""
    gone = decode_announce(with_more(WHOLE, (b"clear", b"1")))
    assert (gone.cleared, gone.leaving, gone.vassal) == (True, False, b"one.ini")
    plain = decode_announce(with_more(PLAIN, (b"clear", b"1")))
    assert (plain.cleared, plain.leaving) == (False, True)


def test_the_signature_is_behind_all_of_it() -> None:
    datagram = with_more(WHOLE, (b"clear", b"1"), (b"unix", b"1795339094"), (b"sign", b"\x80" * 256))
    signed, signature = split_signed(datagram)
    assert signed == WHOLE[4:] + string(b"clear") + string(b"1") + string(b"unix") + string(b"1795339094")
    assert signature == b"\x80" * 256
    assert decode_announce(datagram).unix == 1795339094


@pytest.mark.parametrize("protocol", [b"uwsgi", b"u"])
def test_the_protocol_counts_by_its_first_letter(protocol: bytes) -> None:
    datagram = with_more(without(WHOLE, b"proto", b"uwsgi"), (b"proto", protocol))
    assert decode_announce(datagram) == decode_announce(WHOLE)


@pytest.mark.parametrize("protocol", [b"http", b"h", b"fastcgi", b"f", b"scgi", b"s"])
def test_a_node_that_speaks_something_else_is_refused(protocol: bytes) -> None:
    with pytest.raises(ProtocolError, match="other protocol"):
        decode_announce(with_more(without(WHOLE, b"proto", b"uwsgi"), (b"proto", protocol)))


@pytest.mark.parametrize("name", [b"wrr", b"lrc", b"wlrc", b"iphash", b"of-tomorrow"])
def test_algorithms(name: bytes) -> None:
    datagram = with_more(without(WHOLE, b"algo", b"lrc"), (b"algo", name))
    assert decode_announce(datagram).algo == name.decode()

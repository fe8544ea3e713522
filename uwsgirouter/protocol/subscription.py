"""The subscription datagram: a uwsgi packet by which a node announces itself or takes leave.

One idea: a datagram is either an :class:`Announce` that can be used as it stands or a :class:`ProtocolError` with a
short reason to count. No socket, no clock, no registry. Source: SubscriptionServer.rst and uWSGI 2.0.31 (observed):
modifier1 is not checked, modifier2 0 subscribes and any other value unsubscribes, order and unknown variables do not
matter, a variable that is repeated counts as it stands last. From uWSGI 2.1: ``vassal``, the name by which an Emperor
can start the node; ``inactive``, it does not run (as it does not when it has no address); ``clear``, it stopped.

Invariant: key and address are 1 to 255 bytes, numbers are in range. (The real one lets a longer key corrupt its heap.)
Only the announcement of a vassal may lack an address, and only that of a vassal may be inactive.
"""

from __future__ import annotations

from dataclasses import dataclass

from uwsgirouter.errors import ConfigError, ProtocolError
from uwsgirouter.protocol.packet import KEY_MAX, decode_header, decode_vars, encode_packet
from uwsgirouter.settings.address import NOWHERE, Address, Kind, parse_peer

DATAGRAM_MAX = 4096
"""Bytes of a datagram that are read."""

SUBSCRIPTION_MODIFIER = 224
WEIGHT_MAX = 1_000_000


@dataclass(frozen=True)
class Announce:
    """One announcement. ``leaving`` is an unsubscribe; ``cores`` and ``load`` are what the node says of itself.

    ``inactive``: somebody says of ``vassal`` that it can be started; ``cleared``: it says itself that it stopped.
    """

    key: bytes
    address: Address
    modifier1: int = 0
    modifier2: int = 0
    weight: int = 1
    cores: int = 0
    load: int = 0
    leaving: bool = False
    vassal: bytes = b""
    inactive: bool = False
    cleared: bool = False


def encode_announce(announce: Announce) -> bytes:
    """The datagram that a uWSGI instance would send. Raises :class:`ProtocolError` when it is too large."""
    variables = [
        (b"key", announce.key),
        *_if_any(b"address", announce.address.text.encode("utf-8", "surrogateescape")),
        (b"modifier1", b"%d" % announce.modifier1),
        (b"modifier2", b"%d" % announce.modifier2),
        (b"cores", b"%d" % announce.cores),
        (b"load", b"%d" % announce.load),
        (b"weight", b"%d" % announce.weight),
        *_if_any(b"vassal", announce.vassal),
        *_if_any(b"inactive", b"1" if announce.inactive else b""),
        *_if_any(b"clear", b"1" if announce.cleared else b""),
    ]
    return encode_packet(variables, SUBSCRIPTION_MODIFIER, 1 if announce.leaving else 0)


def _if_any(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value)] if value else []


def decode_announce(datagram: bytes) -> Announce:
    """Read a datagram. Raises :class:`ProtocolError`; its ``reason`` is one of a few fixed words."""
    variables = dict(decode_vars(datagram))
    key = _text(variables, b"key")
    vassal = _vassal(variables)
    nowhere = bool(vassal) and not variables.get(b"address")
    inactive = bool(_number(variables, b"inactive", 0, 1_000_000)) or nowhere
    if inactive and not vassal:
        raise ProtocolError("no vassal", "an inactive node needs the name of its vassal")
    clear = bool(_number(variables, b"clear", 0, 1_000_000))
    return Announce(
        key=key,
        address=NOWHERE if nowhere else _address(_text(variables, b"address"), variables),
        modifier1=_number(variables, b"modifier1", 0, 255),
        modifier2=_number(variables, b"modifier2", 0, 255),
        weight=max(1, _number(variables, b"weight", 1, WEIGHT_MAX)),
        cores=_number(variables, b"cores", 0, 1_000_000),
        load=_number(variables, b"load", 0, (1 << 63) - 1),
        leaving=decode_header(datagram)[2] != 0 or (clear and not vassal),
        vassal=vassal,
        inactive=inactive,
        cleared=clear and bool(vassal),
    )


def _text(variables: dict[bytes, bytes], name: bytes) -> bytes:
    value = variables.get(name, b"")
    if not value:
        raise ProtocolError(f"no {name.decode()}")
    if len(value) > KEY_MAX:
        raise ProtocolError(f"{name.decode()} too long", f"{len(value)} bytes, at most {KEY_MAX}")
    return value


def _vassal(variables: dict[bytes, bytes]) -> bytes:
    if not variables.get(b"vassal"):
        return b""
    name = _text(variables, b"vassal")
    if any(byte < 32 or byte == 127 for byte in name):
        raise ProtocolError("bad vassal", f"{name!r} holds a control character")
    return name


def _address(text: bytes, variables: dict[bytes, bytes]) -> Address:
    protocol = variables.get(b"proto", b"uwsgi")
    if protocol not in (b"uwsgi", b""):
        raise ProtocolError("other protocol", repr(protocol[:16]))
    if any(byte < 32 or byte == 127 for byte in text):
        raise ProtocolError("bad address", f"{text!r} holds a control character")
    try:
        address = parse_peer(text.decode("utf-8", "surrogateescape"))
    except ConfigError as error:
        raise ProtocolError("bad address", error.message) from None
    if address.kind is Kind.NAME:
        raise ProtocolError("bad address", f"{address.text!r} is a name: an announcement needs an IP address")
    if "*" in address.host and not address.is_unix:
        raise ProtocolError("bad address", repr(address.text))
    return address


def _number(variables: dict[bytes, bytes], name: bytes, default: int, high: int) -> int:
    value = variables.get(name, b"")
    if not value:
        return default
    if not value.isdigit() or len(value) > 19 or int(value) > high:
        raise ProtocolError(f"bad {name.decode()}", repr(value[:24]))
    return int(value)

"""The subscription datagram: a uwsgi packet by which a node announces itself or takes leave.

One idea: a datagram is either an :class:`Announce` that can be used as it stands or a :class:`ProtocolError` with a
short reason to count. No socket, no clock, no registry. Source: SubscriptionServer.rst and uWSGI 2.0.31 (observed):
modifier1 is not checked, modifier2 0 subscribes and any other value unsubscribes, order and unknown variables do not
matter, a variable that is repeated counts as it stands last. From uWSGI 2.1: ``vassal``, the name by which an Emperor
can start the node; ``inactive``, it does not run (as it does not when it has no address); ``clear``, it stopped;
``backup``, ``algo``, ``proto``, ``notify``, ``sni_*``. Whether a datagram can be trusted is not known here (signing,
replay, and model/trust.py, which judges).

Invariant: key and address are 1 to 255 bytes, numbers are in range. (The real one lets a longer key corrupt its heap.)
Only the announcement of a vassal may lack an address, and only that of a vassal may be inactive. An address may be a
host name and a port; what it means is not known here (model/leases.py).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from uwsgirouter.errors import ConfigError, ProtocolError
from uwsgirouter.protocol.packet import KEY_MAX, decode_header, decode_vars, encode_packet
from uwsgirouter.settings.address import NOWHERE, Address, Kind, parse_peer

DATAGRAM_MAX = 4096
"""Bytes of a datagram that are read."""
VARIABLES_MAX = 64
"""Variables of a datagram; uWSGI sends some twenty. Hundreds would be dear to read."""

SUBSCRIPTION_MODIFIER = 224
WEIGHT_MAX = 1_000_000
BACKUP_MAX = 1_000_000
"""The last backup level."""
PATH_MAX = 1023
"""Bytes of a certificate's path."""
ALGO_MAX = 32
"""Bytes of the name of an algorithm."""
HOPS_MAX = 8
"""Routers that an announcement may have passed."""
ROUTE = b"router-path"
"""The variable in which routers that pass an announcement on leave their ids; uWSGI reads over it."""

HOST_NAME_MAX = 253
"""Characters of a host name, the last dot not needed."""

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_ROUTER_ID = re.compile(rb"[0-9a-f]{16}")
_NUMBER_MAX = 1_000_000
_LONG_MAX = (1 << 63) - 1


class Announce(NamedTuple):
    """One announcement. ``leaving`` is an unsubscribe; ``cores`` and ``load`` are what the node says of itself.

    ``inactive``: somebody says of ``vassal`` that it can be started; ``cleared``: it says itself that it stopped.
    ``backup`` is a level (0: the first), ``algo`` the name of a balancing algorithm (empty: the router's; no algorithm
    may have that name), ``notify`` the datagram address that wants to hear of its acceptance, ``sni_*`` are paths,
    ``unix`` is the node's clock in whole seconds (0: not said), ``route`` the ids of the routers that passed it on.
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
    backup: int = 0
    algo: str = ""
    notify: Address = NOWHERE
    unix: int = 0
    sni_key: bytes = b""
    sni_crt: bytes = b""
    sni_ca: bytes = b""
    route: tuple[bytes, ...] = ()

    @property
    def origin(self) -> bytes:
        """The id of the router that the node itself announced to; empty when this is that announcement."""
        return self.route[0] if self.route else b""

    @property
    def sni(self) -> tuple[bytes, bytes, bytes] | None:
        """Key, certificate and authority file of a TLS front end; None when it names none."""
        if not (self.sni_key or self.sni_crt or self.sni_ca):
            return None
        return (self.sni_key, self.sni_crt, self.sni_ca)

    @property
    def hops(self) -> int:
        """How many routers passed it on."""
        return len(self.route)


def encode_announce(announce: Announce) -> bytes:
    """The datagram that a uWSGI instance would send. Raises :class:`ProtocolError` when it is too large."""
    return encode_packet(variables_of(announce), SUBSCRIPTION_MODIFIER, 1 if announce.leaving else 0)


def variables_of(announce: Announce) -> list[tuple[bytes, bytes]]:
    """The variables of the datagram, in the order of a uWSGI instance; a signature would follow them."""
    return [
        (b"key", announce.key),
        *_if_any(b"address", announce.address.text.encode("utf-8", "surrogateescape")),
        (b"modifier1", b"%d" % announce.modifier1),
        (b"modifier2", b"%d" % announce.modifier2),
        (b"cores", b"%d" % announce.cores),
        (b"load", b"%d" % announce.load),
        (b"weight", b"%d" % announce.weight),
        *_if_any(b"backup", b"%d" % announce.backup if announce.backup else b""),
        *_if_any(b"vassal", announce.vassal),
        *_if_any(b"sni_key", announce.sni_key),
        *_if_any(b"sni_crt", announce.sni_crt),
        *_if_any(b"sni_ca", announce.sni_ca),
        *_if_any(b"algo", announce.algo.encode()),
        *_if_any(b"inactive", b"1" if announce.inactive else b""),
        *_if_any(b"notify", announce.notify.text.encode("utf-8", "surrogateescape")),
        *_if_any(b"clear", b"1" if announce.cleared else b""),
        *_if_any(ROUTE, b",".join(announce.route)),
        *_if_any(b"unix", b"%d" % announce.unix if announce.unix else b""),
    ]


def _if_any(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value)] if value else []


def decode_announce(datagram: bytes) -> Announce:
    """Read a datagram. Raises :class:`ProtocolError`; its ``reason`` is one of a few fixed words."""
    variables = dict(decode_vars(datagram, VARIABLES_MAX))
    key = _text(variables, b"key")
    vassal = _vassal(variables)
    nowhere = bool(vassal) and not variables.get(b"address")
    inactive = bool(_number(variables, b"inactive", 0, _NUMBER_MAX)) or nowhere
    if inactive and not vassal:
        raise ProtocolError("no vassal", "an inactive node needs the name of its vassal")
    clear = bool(_number(variables, b"clear", 0, _NUMBER_MAX))
    _only_uwsgi(variables)
    return Announce(
        key=key,
        address=NOWHERE if nowhere else _address(_text(variables, b"address")),
        modifier1=_number(variables, b"modifier1", 0, 255),
        modifier2=_number(variables, b"modifier2", 0, 255),
        weight=max(1, _number(variables, b"weight", 1, WEIGHT_MAX)),
        cores=_number(variables, b"cores", 0, _NUMBER_MAX),
        load=_number(variables, b"load", 0, _LONG_MAX),
        leaving=decode_header(datagram)[2] != 0 or (clear and not vassal),
        vassal=vassal,
        inactive=inactive,
        cleared=clear and bool(vassal),
        backup=_number(variables, b"backup", 0, BACKUP_MAX),
        algo=_algo(variables),
        notify=_notify(variables),
        unix=_number(variables, b"unix", 0, _LONG_MAX),
        sni_key=_printable(variables, b"sni_key", PATH_MAX),
        sni_crt=_printable(variables, b"sni_crt", PATH_MAX),
        sni_ca=_printable(variables, b"sni_ca", PATH_MAX),
        route=_route(variables),
    )


def _text(variables: dict[bytes, bytes], name: bytes) -> bytes:
    value = variables.get(name, b"")
    if not value:
        raise ProtocolError(f"no {name.decode()}")
    if len(value) > KEY_MAX:
        raise ProtocolError(f"{name.decode()} too long", f"{len(value)} bytes, at most {KEY_MAX}")
    return value


def _printable(variables: dict[bytes, bytes], name: bytes, most: int) -> bytes:
    """An optional value that can be written into a log; empty when it is not there."""
    value = variables.get(name, b"")
    word = name.decode()
    if len(value) > most:
        raise ProtocolError(f"{word} too long", f"{len(value)} bytes, at most {most}")
    if any(byte < 32 or byte == 127 for byte in value):
        raise ProtocolError(f"bad {word}", f"{value!r} holds a control character")
    return value


def _vassal(variables: dict[bytes, bytes]) -> bytes:
    return _printable(variables, b"vassal", KEY_MAX)


def _algo(variables: dict[bytes, bytes]) -> str:
    name = variables.get(b"algo", b"")
    if len(name) > ALGO_MAX or not re.fullmatch(rb"[\w.-]*", name):
        raise ProtocolError("bad algo", repr(name[:40]))
    return name.decode("ascii")


def _notify(variables: dict[bytes, bytes]) -> Address:
    text = _printable(variables, b"notify", KEY_MAX)
    if not text:
        return NOWHERE
    try:
        address = parse_peer(text.decode("utf-8", "surrogateescape"))
    except ConfigError as error:
        raise ProtocolError("bad notify", error.message) from None
    if address.kind is Kind.NAME or (address.is_wildcard and not address.is_unix):
        raise ProtocolError("bad notify", f"{address.text!r}: an acknowledgement needs an IP address or a unix socket")
    return address


def _route(variables: dict[bytes, bytes]) -> tuple[bytes, ...]:
    text = variables.get(ROUTE, b"")
    if not text:
        return ()
    ids = text.split(b",", HOPS_MAX)
    if len(ids) > HOPS_MAX:
        raise ProtocolError("too many hops", f"passed on by more than {HOPS_MAX} routers")
    if not all(map(_ROUTER_ID.fullmatch, ids)):
        raise ProtocolError(f"bad {ROUTE.decode()}", repr(text[:40]))
    return tuple(ids)


def _only_uwsgi(variables: dict[bytes, bytes]) -> None:
    protocol = variables.get(b"proto", b"")
    # uWSGI 2.1 looks at the first letter alone.
    if protocol not in (b"uwsgi", b"u", b""):
        raise ProtocolError("other protocol", repr(protocol[:16]))


def _address(text: bytes) -> Address:
    if any(byte < 32 or byte == 127 for byte in text):
        raise ProtocolError("bad address", f"{text!r} holds a control character")
    try:
        address = parse_peer(text.decode("utf-8", "surrogateescape"))
    except ConfigError as error:
        raise ProtocolError("bad address", error.message) from None
    if address.kind is Kind.NAME and not _is_host_name(address.host):
        raise ProtocolError("bad address", f"{address.text!r} is neither an IP address nor a host name")
    if "*" in address.host and not address.is_unix:
        raise ProtocolError("bad address", repr(address.text))
    return address


def _is_host_name(name: str) -> bool:
    """Whether it may be looked up. The last label of a name is never a number: those are IP addresses of old forms."""
    labels = name.removesuffix(".").split(".")
    if len(name) > HOST_NAME_MAX or not all(map(_LABEL.fullmatch, labels)):
        return False
    return not labels[-1].isdigit() and not labels[-1].lower().startswith("0x")


def _number(variables: dict[bytes, bytes], name: bytes, default: int, high: int) -> int:
    value = variables.get(name, b"")
    if not value:
        return default
    if not value.isdigit() or len(value) > 19 or int(value) > high:
        raise ProtocolError(f"bad {name.decode()}", repr(value[:24]))
    return int(value)

"""Addresses as the options and the announcements write them.

One idea: the text of an address decides its kind, and the kind decides what a socket call is given. Pure: no name
is resolved and nothing is bound here. uWSGI's forms (Fastrouter.rst, observed on 2.0.31): ``host:port``,
``:port`` (every IPv4 interface), ``[v6]:port``, ``/path`` (whatever has no colon is a path), ``@abstract``
(on the wire ``\\0name\\0``: one trailing NUL, which peers must have too), ``=N`` (shared-socket N), ``fd://N``.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from uwsgirouter.errors import ConfigError

UNIX_PATH_MAX = 107
"""Bytes in ``sockaddr_un.sun_path`` that a path may use, its NUL not counted."""

DIGITS_MAX = 20
"""Digits of a number, leading zeros included; Python refuses to convert thousands of them."""


class Kind(Enum):
    """What an address is."""

    TCP4 = "IPv4"
    TCP6 = "IPv6"
    NAME = "host name"
    UNIX = "unix path"
    ABSTRACT = "abstract unix name"
    SHARED = "shared socket"
    FD = "inherited descriptor"

    __hash__ = object.__hash__
    """Each is one object; the library's own is a function in Python, and nodes are found by their addresses."""


class Address(NamedTuple):
    """One parsed address; compare addresses by :attr:`identity`.

    ``spelling`` is what was written when that is another text than the usual one, and else empty: there may be tens of
    thousands of addresses in memory, and nearly all are written in the usual way.
    """

    kind: Kind
    host: str
    port: int
    spelling: str = ""

    @property
    def text(self) -> str:
        """What was written."""
        return self.spelling or _usual(self.kind, self.host, self.port)

    @property
    def family(self) -> socket.AddressFamily:
        """The socket family (a host name has none until it is resolved: AF_UNSPEC)."""
        return _FAMILIES[self.kind]

    @property
    def sockaddr(self) -> tuple[str, int] | bytes | str:
        """What ``bind`` and ``connect`` take."""
        if self.kind is Kind.UNIX:
            return self.host
        if self.kind is Kind.ABSTRACT:
            return b"\0" + self.host.encode("utf-8", "surrogateescape") + b"\0"
        return (self.host, self.port)

    @property
    def identity(self) -> tuple[Kind, str, int]:
        """Equal for two spellings of one address (``127.0.0.1:80`` and ``127.0.0.1:080``)."""
        return self[:3]

    @property
    def is_unix(self) -> bool:
        """A unix socket of either sort."""
        return self.kind in (Kind.UNIX, Kind.ABSTRACT)

    @property
    def is_wildcard(self) -> bool:
        """An address that binds every interface: nobody can be reached at it from elsewhere."""
        return self.host in ("", "0.0.0.0", "::")


NOWHERE = Address(Kind.UNIX, "", 0)
"""The address of a node that has not told one yet (a vassal that does not run); nobody connects to it."""

_FAMILIES = {
    Kind.TCP4: socket.AF_INET,
    Kind.TCP6: socket.AF_INET6,
    Kind.NAME: socket.AF_UNSPEC,
    Kind.UNIX: socket.AF_UNIX,
    Kind.ABSTRACT: socket.AF_UNIX,
    Kind.SHARED: socket.AF_UNSPEC,
    Kind.FD: socket.AF_UNSPEC,
}

_one_number = lru_cache(maxsize=256)(int)
"""The number that digits stand for, the same object each time: most nodes have one of a few ports."""


def _usual(kind: Kind, host: str, port: int) -> str:
    """How an address is usually written."""
    match kind:
        case Kind.UNIX:
            return host
        case Kind.ABSTRACT:
            return f"@{host}"
        case Kind.TCP6:
            return f"[{host}]:{port}"
        case _:
            return f"{host}:{port}"


def _address(kind: Kind, host: str, port: int, text: str) -> Address:
    """The address that was written as ``text``."""
    return Address(kind, host, port, "" if text == _usual(kind, host, port) else text)


def parse_listen(text: str) -> Address:
    """An address to bind: every form is allowed. Raises :class:`ConfigError` that says what is."""
    if text.startswith("="):
        return _address(
            Kind.SHARED, "", _number(text, text[1:], 0, 1023, "=N takes the number of a shared-socket"), text
        )
    if text.startswith("fd://"):
        return _address(Kind.FD, "", _number(text, text[5:], 0, 1 << 20, "fd://N takes a descriptor's number"), text)
    return parse_peer(text, port_zero=True)


def parse_peer(text: str, port_zero: bool = False) -> Address:
    """An address to connect to: ``host:port``, ``[v6]:port``, ``/path`` or ``@name``."""
    if not text:
        raise ConfigError("an empty address: expected host:port, [v6]:port, /path or @name")
    if "\0" in text:
        raise ConfigError(f"address {text!r} holds a NUL byte")
    if text.startswith("@"):
        return _unix(Kind.ABSTRACT, text[1:], text)
    if text.startswith("["):
        return _bracketed(text, port_zero)
    if text.startswith("/") or ":" not in text:
        return _unix(Kind.UNIX, text, text)
    host, _, port_text = text.rpartition(":")
    port = _number(text, port_text, 0 if port_zero else 1, 65535, "a port is a number from 1 to 65535")
    if "*" in host and not port_zero:  # as an "IPv4 address" it would be looked up by the socket call, which waits
        raise ConfigError(f"address {text!r}: with a * it is several addresses, and only a listener can have those")
    return _address(_host_kind(host, text), host, port, text)


def at_host(host: str, port: int) -> Address:
    """The address of ``port`` at an IP address in text."""
    return parse_peer(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _host_kind(host: str, text: str) -> Kind:
    if host == "" or "*" in host:
        return Kind.TCP4
    if ":" in host:
        raise ConfigError(f"address {text!r}: an IPv6 address stands in brackets, as in [::1]:3017")
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return Kind.NAME
    return Kind.TCP4


def _bracketed(text: str, port_zero: bool) -> Address:
    host, closed, rest = text[1:].partition("]")
    if not closed or not rest.startswith(":"):
        raise ConfigError(f"address {text!r}: expected [v6]:port")
    if not host.isascii():  # an interface behind "%" would break the socket calls, which encode it as a host name
        raise ConfigError(f"address {text!r}: an IPv6 address is written in ASCII")
    try:
        host = str(ipaddress.IPv6Address(host))
    except ValueError as error:
        raise ConfigError(f"address {text!r}: {error}") from None
    port = _number(text, rest[1:], 0 if port_zero else 1, 65535, "a port is a number from 1 to 65535")
    return _address(Kind.TCP6, host, port, text)


def _unix(kind: Kind, name: str, text: str) -> Address:
    size = len(name.encode("utf-8", "surrogateescape"))
    if not name:
        raise ConfigError(f"address {text!r}: an abstract name needs at least one character")
    limit = UNIX_PATH_MAX if kind is Kind.UNIX else UNIX_PATH_MAX - 1
    if size > limit:
        raise ConfigError(f"address {text!r}: {size} bytes, a unix socket's name has at most {limit}")
    return _address(kind, name, 0, text)


def _number(text: str, digits: str, low: int, high: int, allowed: str) -> int:
    if digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX and low <= int(digits) <= high:
        return _one_number(digits)
    raise ConfigError(f"address {text!r}: {allowed}")

"""Sockets to an address given on the command line.

One idea: every form of address (``host:port``, ``[v6]:port``, ``/path``, ``@abstract``) becomes a connected
socket, and every way in which that fails becomes a :class:`Failure` that says which address and why. It
does not know what is sent. A host name is tried at each of its addresses in turn.
"""

from __future__ import annotations

import socket

from uwsgirouter.control.base import Exit, Failure
from uwsgirouter.settings.address import Address, Kind, parse_peer

Target = tuple[socket.AddressFamily, "tuple[str, int] | bytes | str"]


def peer(text: str) -> Address:
    """An address that can be connected to. Raises ConfigError (form) or :class:`Failure` (a pattern)."""
    address = parse_peer(text)
    if "*" in address.host and not address.is_unix:
        raise Failure(Exit.USAGE, f"address {text!r}: a pattern is for listening only, expected one host")
    return address


def connect(address: Address, timeout: float) -> socket.socket:
    """A connected stream socket; ``timeout`` in seconds is for each address of a host name."""
    targets = _targets(address)
    for family, sockaddr in targets[:-1]:
        try:
            return _connect(family, sockaddr, timeout)
        except OSError:
            continue  # the last address of the name is the one whose failure is told
    family, sockaddr = targets[-1]
    try:
        return _connect(family, sockaddr, timeout)
    except TimeoutError:
        raise Failure(Exit.TIMEOUT, f"{address.text}: no connection within {timeout:g} s") from None
    except OSError as error:
        raise Failure(Exit.NO_CONNECTION, f"cannot connect to {address.text}: {error.strerror or error}") from None


def _connect(
    family: socket.AddressFamily,
    sockaddr: tuple[str, int] | bytes | str,
    timeout: float,
) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(sockaddr)
    except OSError:
        connection.close()
        raise
    return connection


def _targets(address: Address) -> list[Target]:
    if address.kind is not Kind.NAME:
        return [(address.family, address.sockaddr)]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failure(Exit.NO_ADDRESS, f"host name {address.host!r}: {error.strerror}") from None
    return [(family, (str(sockaddr[0]), int(sockaddr[1]))) for family, _, _, _, sockaddr in found]

"""Conditions about networks: ipv4in and ipv6in.

One idea: addresses become numbers, a network a mask; the forms are those of inet_aton and inet_pton. An address that
is none (or of the other family: an IPv6 client and ipv4in) is in no network; it does not end the request as it does in
uWSGI.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from uwsgirouter.rules.base import BadRule, Place, Test, condition
from uwsgirouter.rules.exchange import Exchange

Read = Callable[[bytes], int | None]
Network = tuple[int, int]
"""Address and mask, as numbers."""

_NONE = 0xFFFFFFFF
"""What inet_addr gives for what is no address, so 255.255.255.255 is none."""


def ipv4(text: bytes) -> int | None:
    """The number of an address such as 10.0.0.1; None for what is none."""
    try:
        found = int.from_bytes(socket.inet_aton(text.decode("ascii")), "big")
    except (OSError, ValueError):
        return None
    return None if found == _NONE else found


def ipv6(text: bytes) -> int | None:
    """The number of an address such as ::1; None for what is none."""
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text.decode("ascii")), "big")
    except (OSError, ValueError):
        return None


def network(text: bytes, read: Read, bits: int) -> Network | None:
    """``address/length``, or an address alone; None for what is none."""
    address, slash, length = text.partition(b"/")
    size = int(length) if length.isdigit() and len(length) < 4 else bits + 1
    if not slash:
        size = bits
    found = read(address)
    if found is None or size > bits:
        return None
    mask = ((1 << size) - 1) << (bits - size)
    return found & mask, mask


def _in(argument: bytes, place: Place, read: Read, bits: int) -> Test:
    left, semicolon, right = argument.partition(b";")
    if not semicolon:
        place.warn("there is no ; before the network, so the condition never holds")
        return lambda exchange: False
    address, wanted = place.template(left), place.template(right)
    constant = place.constant(right)
    fixed = None if constant is None else network(constant, read, bits)
    if constant is not None and fixed is None:
        _complain(constant, bits, place)

    def test(exchange: Exchange) -> bool:
        net = fixed or network(wanted(exchange, None), read, bits)
        found = read(address(exchange, None)) if net else None
        return found is not None and net is not None and found & net[1] == net[0]

    return test


def _complain(text: bytes, bits: int, place: Place) -> None:
    """A length that is no number is 0 in uWSGI, so every address is in that network: nobody can have meant it."""
    said = f"{text.decode('utf-8', 'backslashreplace')!r} is no network; expected ADDRESS, or ADDRESS/0 to /{bits}"
    _, slash, length = text.partition(b"/")
    if slash and not length.isdigit():
        raise BadRule(said)
    place.warn(f"{said}; the condition never holds")


@condition("ipv4in")
def ipv4in(argument: bytes, place: Place) -> Test:
    """ADDRESS;NETWORK/LENGTH: the IPv4 address is in that network."""
    return _in(argument, place, ipv4, 32)


@condition("ipv6in")
def ipv6in(argument: bytes, place: Place) -> Test:
    """ADDRESS;NETWORK/LENGTH: the IPv6 address is in that network."""
    return _in(argument, place, ipv6, 128)

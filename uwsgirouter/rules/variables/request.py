"""Variables made of what a request brings: cookie, qs, and other ways to write a variable (base64, hex, upper, lower).

Invariant: nothing is decoded but what is asked for, and nothing that comes out is looked at again.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

from uwsgirouter.rules.base import Place, Value, variable


def _first(text: bytes, separator: bytes, name: bytes, trim: bool) -> bytes:
    """The first value that is not empty of ``name=value`` between separators."""
    for item in text.split(separator):
        key, equals, value = (item.strip(b" ") if trim else item).partition(b"=")
        if equals and key == name and value:
            return value.strip(b" ") if trim else value
    return b""


@variable("cookie")
def cookie(argument: bytes, place: Place) -> Value:
    """The cookie of that name: its first value that is not empty, as it was sent; addvar does not change it."""
    place.variable(b"HTTP_COOKIE")
    return lambda exchange: _first(exchange.subject(b"HTTP_COOKIE"), b";", argument, trim=True)


@variable("qs")
def item(argument: bytes, place: Place) -> Value:
    """The item of the query string of that name: its first value that is not empty, not decoded.

    rewrite changes it, addvar does not.
    """
    place.variable(b"QUERY_STRING")
    return lambda exchange: _first(exchange.subject(b"QUERY_STRING"), b"&", argument, trim=False)


def _written(how: Callable[[bytes], bytes]) -> Callable[[bytes, Place], Value]:
    def make(argument: bytes, place: Place) -> Value:
        place.variable(argument)
        return lambda exchange: how(exchange.variable(argument))

    return make


variable("base64")(_written(b64encode))
variable("hex")(_written(lambda value: value.hex().upper().encode()))
variable("upper")(_written(bytes.upper))
variable("lower")(_written(bytes.lower))

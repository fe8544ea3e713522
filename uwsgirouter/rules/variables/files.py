"""Variables about files: their types by name (mime), and what is written beside them (xattr, xattr2).

One idea: a name is looked at, a file never opened. What is not there is empty.
"""

from __future__ import annotations

import os

from uwsgirouter.rules.base import BadRule, Place, Value, variable
from uwsgirouter.rules.exchange import Exchange
from uwsgirouter.rules.mime import mime_types
from uwsgirouter.rules.paths import inside


@variable("mime")
def mime(argument: bytes, place: Place) -> Value:
    """The type of a file of the name that the variable has."""
    types = mime_types(place.settings)
    place.variable(argument)
    return lambda exchange: types.of(exchange.variable(argument))


def _attribute(exchange: Exchange, file: bytes, name: bytes) -> bytes:
    try:
        return os.getxattr(inside(exchange.directory, file), name)
    except (OSError, ValueError):
        return b""


def _two(argument: bytes, form: str) -> tuple[bytes, bytes]:
    first, colon, second = argument.partition(b":")
    if not (first and colon and second):
        raise BadRule(f"expected {form}")
    return first, second


@variable("xattr")
def xattr(argument: bytes, place: Place) -> Value:
    """FILE:VARIABLE: the extended attribute of that file whose name the variable has."""
    file, name = _two(argument, "${xattr[FILE:VARIABLE]}, with the attribute's name in the variable")
    place.variable(name)
    return lambda exchange: _attribute(exchange, file, exchange.variable(name))


@variable("xattr2")
def xattr2(argument: bytes, place: Place) -> Value:
    """VARIABLE:VARIABLE: the same, the file's name in a variable, too."""
    file, name = _two(argument, "${xattr2[VARIABLE:VARIABLE]}: of the file's name, and of the attribute's")
    place.variable(file)
    place.variable(name)
    return lambda exchange: _attribute(exchange, exchange.variable(file), exchange.variable(name))

"""Options that make an address of a key: patterns and code strings, taken apart and checked.

Pure; the mappers use what is here, and so does the check of a configuration, so both mean the same.
"""

from __future__ import annotations

from typing import NamedTuple

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import Address, Kind, parse_peer

PYTHON_PLUGIN = "0"
"""The number (modifier1) of uWSGI's Python plugin."""

_NUMBERS = ("1", "1.1", "1.1.1")
"""Keys that show whether the key is part of a numeric address, or its port."""


def peer(text: str) -> Address:
    """An address to connect to. What binds every interface (``:3031``) is, as a place to connect to, this machine.

    Raises :class:`ConfigError`.
    """
    address = parse_peer(text)
    if address.is_wildcard and not address.is_unix:
        return parse_peer(f"[::1]:{address.port}" if address.kind is Kind.TCP6 else f"127.0.0.1:{address.port}")
    return address


def fill(pattern: str, key: str) -> str:
    """``pattern`` with ``%s`` replaced by ``key``, ``%%`` by a percent sign, and any other ``%x`` by nothing.

    As uWSGI does it (observed on 2.0.31). A base is the pattern ``BASE%s``.
    """
    parts = []
    position = 0
    while (found := pattern.find("%", position)) >= 0:
        parts.append(pattern[position:found])
        letter = pattern[found + 1 : found + 2]
        parts.append({"s": key, "%": "%"}.get(letter, ""))
        position = found + 2
    return "".join(parts) + pattern[position:]


def pattern_of_base(base: str) -> str:
    """The pattern that is plain concatenation."""
    return base.replace("%", "%%") + "%s"


def example(pattern: str) -> Address:
    """What the pattern makes of a harmless key: its kind is the one that is meant.

    A numeric address of which the key is a part (``10.0.0.%s:80``) is meant to be numeric, whatever a name in that
    place would lead to. Raises :class:`ConfigError` when no key can make an address of it.
    """
    for key in _NUMBERS:
        try:
            address = peer(fill(pattern, key))
        except ConfigError:
            continue
        if address.kind in (Kind.TCP4, Kind.TCP6):
            return address
    try:
        return peer(fill(pattern, "x"))
    except ConfigError:
        return peer(fill(pattern, "1"))  # the key is a port


class CodeString(NamedTuple):
    """``PLUGIN:FILE:FUNCTION``, taken apart."""

    plugin: str
    file: str
    function: str

    @classmethod
    def parse(cls, text: str) -> CodeString:
        """Raises :class:`ConfigError` that says what is allowed."""
        plugin, first, rest = text.partition(":")
        file, second, function = rest.rpartition(":")
        if not first or not second or not file or not function.isidentifier():
            raise ConfigError("expected 0:FILE:FUNCTION, as in 0:mapper.py:get")
        if plugin != PYTHON_PLUGIN:
            raise ConfigError(
                f"plugin {plugin} cannot be used: the router runs Python functions only, which are those of plugin 0"
            )
        if not file.endswith(".py"):
            raise ConfigError(f"{file} is no Python file: its name must end in .py")
        return cls(plugin, file, function)

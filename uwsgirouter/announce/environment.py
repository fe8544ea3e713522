"""What the environment says about announcing: ``UWSGIROUTER_SERVER`` and its like, as one value.

One idea: a program that is configured by its environment needs no code of its own for it. Each variable has the form
that the option of ``uwsgirouterctl subscribe`` has; several servers or keys have commas between them. Pure: the
variables are passed in. Invariant: a variable that is wrong, or that nobody knows, is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from uwsgirouter.announce.announcer import EVERY
from uwsgirouter.announce.signer import Signer
from uwsgirouter.errors import ConfigError

PREFIX = "UWSGIROUTER_"
DRAIN = 1.0
"""Seconds between the unsubscription and the end. A router knows within milliseconds; this is for a busy machine."""
ELSEWHERE = frozenset(("UWSGIROUTER_PURE", "UWSGIROUTER_CONTROL"))
"""Variables of the same prefix that others read."""

_NUMBERS = ("WEIGHT", "CORES", "MODIFIER1", "MODIFIER2", "BACKUP")
_TEXTS = ("ADDRESS", "ALGO", "VASSAL", "NOTIFY")
_OTHERS = ("SERVER", "KEY", "SIGN", "EVERY", "DRAIN")
KNOWN = frozenset(PREFIX + name for name in (*_NUMBERS, *_TEXTS, *_OTHERS)) | ELSEWHERE


class Plan(NamedTuple):
    """What :class:`Announcer` is to be called with: ``servers``, ``keys``, and ``fields`` by their names (those alone
    that are set). ``drain`` is seconds."""

    servers: tuple[str, ...]
    keys: tuple[str, ...]
    fields: dict[str, Any]
    drain: float


def read(environ: Mapping[str, str]) -> Plan | None:
    """The plan of an environment; None when it names no server, and nothing is to be announced.

    Raises :class:`ConfigError` that names the variable. That a router takes the values is for Announcer to see.
    """
    servers = _list(environ, "SERVER")
    if not servers:
        return None
    keys = _list(environ, "KEY")
    if not keys:
        raise ConfigError(f"{PREFIX}KEY is not set: what does this server serve? A host name, or several with commas")
    fields: dict[str, Any] = {}
    for name in _TEXTS:
        if environ.get(PREFIX + name):
            fields[name.lower()] = environ[PREFIX + name]
    for name in _NUMBERS:
        if environ.get(PREFIX + name):
            fields[name.lower()] = _whole(environ, name)
    if environ.get(f"{PREFIX}SIGN"):
        fields["sign"] = _signer(environ[f"{PREFIX}SIGN"])
    fields["every"] = _seconds(environ, "EVERY", EVERY)
    return Plan(servers, keys, fields, _seconds(environ, "DRAIN", DRAIN))


def unknown(environ: Mapping[str, str]) -> list[str]:
    """The variables with the prefix that mean nothing: typing errors, most likely."""
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in KNOWN)


def _list(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environ.get(PREFIX + name, "").split(",") if part.strip())


def _whole(environ: Mapping[str, str], name: str) -> int:
    text = environ[PREFIX + name].strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise ConfigError(f"{PREFIX}{name}={text}: expected a whole number")


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(PREFIX + name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value <= 86400:
        raise ConfigError(f"{PREFIX}{name}={text}: expected seconds, from 0 to 86400")
    return value


def _signer(text: str) -> Signer:
    try:
        return Signer.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{PREFIX}SIGN: {error}") from None
    except ImportError:
        raise ConfigError(f"{PREFIX}SIGN={text}: signing needs cryptography: pip install cryptography") from None

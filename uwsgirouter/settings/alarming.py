"""What the options say about alarms: each one's name, kind and target, and what is wrong with what was said.

One idea: the text of ``alarm`` becomes :class:`AlarmSpec`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import Address, Kind, parse_peer
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.settings import Settings


class AlarmKind(Enum):
    """What an alarm does; the value is its word."""

    LOG = "log"
    COMMAND = "cmd"
    SIGNAL = "signal"
    UDP = "udp"


_ABSENT = {
    "mule": "a router has no mules",
    "curl": "it is not built; cmd:curl ... does it",
    "xmpp": "it is not built; cmd:PROGRAM can do it",
    "speech": "it is not built; cmd:PROGRAM can do it",
}


@dataclass(frozen=True)
class AlarmSpec:
    """One alarm. ``text`` is a prefix (log), a shell command (cmd) or empty."""

    name: str
    kind: AlarmKind
    text: str = ""
    number: int = 0
    address: Address | None = None
    where: str = ""


def alarms(settings: Settings) -> dict[str, AlarmSpec]:
    """The alarms by name. Raises :class:`ConfigError`."""
    raise_all(list(alarm_faults(settings)))
    return {spec.name: spec for spec in _read(settings) if isinstance(spec, AlarmSpec)}


def alarm_faults(settings: Settings) -> Iterator[ConfigError]:
    """What is wrong with them."""
    seen: dict[str, str] = {}
    for found in _read(settings):
        if isinstance(found, ConfigError):
            yield found
        elif found.name in seen:
            yield ConfigError(f"alarm = {found.name} ...: there is one of that name ({seen[found.name]})", found.where)
        else:
            seen[found.name] = found.where


def _read(settings: Settings) -> Iterator[AlarmSpec | ConfigError]:
    for index, text in enumerate(settings.texts("alarm")):
        where = settings.where("alarm", index)
        try:
            yield _parse(text, where)
        except ConfigError as error:
            yield ConfigError(f"alarm = {text}: {error.message}", where)


def _parse(text: str, where: str) -> AlarmSpec:
    name, _, rest = text.partition(" ")
    word, colon, argument = rest.partition(":")
    if not name or not colon:
        raise ConfigError("expected NAME log:[PREFIX], NAME cmd:COMMAND, NAME signal:NUMBER or NAME udp:HOST:PORT")
    if word in _ABSENT:
        raise ConfigError(f"{word}: is not supported: {_ABSENT[word]}")
    if word not in {kind.value for kind in AlarmKind}:
        raise ConfigError(f"{word} is no kind of alarm, expected log, cmd, signal or udp")
    kind = AlarmKind(word)
    if kind is AlarmKind.SIGNAL:
        return AlarmSpec(name, kind, number=_signal(argument), where=where)
    if kind is AlarmKind.UDP:
        address = parse_peer(argument)
        if address.kind not in (Kind.TCP4, Kind.TCP6, Kind.NAME):
            raise ConfigError("udp: expected HOST:PORT")
        return AlarmSpec(name, kind, address=address, where=where)
    if kind is AlarmKind.COMMAND and not argument.strip():
        raise ConfigError("cmd: expected a command for the shell")
    return AlarmSpec(name, kind, argument, where=where)


def _signal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255):
        raise ConfigError(f"signal:{text}: expected a number from 0 to 255")
    return int(text)

"""The command line, cut into options in their order: ``--name value``, ``--name=value``, ``-c FILE``, a bare
FILE.ini.

It knows from the table which names take a value, and reads no file. Anything it cannot place is a
:class:`UsageError` with the nearest name. Commands (--help, --check ...) are set apart, since they say what
to do and not how to route.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import names, values
from uwsgirouter.settings.names import Verdict
from uwsgirouter.settings.table import BY_NAME, WITHOUT_VALUE, Option, Type

COMMAND_LINE = "command line"
"""Where an option of the command line was given, for messages."""

_FILES = (".ini", ".conf", ".cfg")
_OTHER_FORMATS = (".xml", ".yml", ".yaml", ".js", ".json")


class UsageError(ConfigError):
    """The command line cannot be understood (exit status 2)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


@dataclass
class Arguments:
    """What a command line says: (name, value) pairs in order, and the names of the commands."""

    given: list[tuple[str, str]] = field(default_factory=list)
    commands: set[str] = field(default_factory=set)


def parse(argv: Sequence[str]) -> Arguments:
    """Cut ``argv`` (without the program's name). Raises :class:`UsageError`."""
    arguments = Arguments()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "-" or word.startswith("-:") or not word.startswith("-"):
            arguments.given.append(("ini", _bare_file(word)))
            continue
        spelling, value = _split(word)
        name = _name(spelling)
        option = BY_NAME.get(name)
        text = _value(spelling, name, option, value, rest)
        if option is not None and option.type is Type.COMMAND:
            if values.is_bool(text) and values.parse(BY_NAME["strict"], text):
                arguments.commands.add(option.name)
        else:
            arguments.given.append((name, text))
    return arguments


def _split(word: str) -> tuple[str, str | None]:
    """``--name=value`` or ``-cVALUE`` in two; None when the word has no value in it."""
    if word.startswith("--"):
        spelling, equals, value = word.partition("=")
        return spelling, value if equals else None
    return word[:2], word[2:] or None


def _name(spelling: str) -> str:
    """The option's name without its dashes (short forms keep theirs); every other name is refused."""
    name = spelling[2:] if spelling.startswith("--") else spelling
    found = names.verdict(name)
    if found is Verdict.LATER:
        raise UsageError(names.not_available(spelling))
    if found is Verdict.REFUSED:
        raise UsageError(f"{spelling} is not supported: {names.REFUSED[name]}")
    if found in (Verdict.UNKNOWN, Verdict.OWN_FAMILY):
        raise UsageError(f"unknown option {spelling}{names.nearest(name)}")
    return name


def _value(spelling: str, name: str, option: Option | None, value: str | None, rest: list[str]) -> str:
    if value is not None:
        return value
    if option is None:
        return _next(spelling, rest) if names.takes_value(name) else "true"
    if option.name in WITHOUT_VALUE:
        return ""
    if option.bare is None:
        return _next(spelling, rest)
    if option.type in (Type.BOOL, Type.COMMAND):
        return rest.pop(0) if option.type is Type.BOOL and rest and values.is_bool(rest[0]) else option.bare
    return option.bare if not rest or rest[0].startswith("-") else rest.pop(0)


def _next(spelling: str, rest: list[str]) -> str:
    if not rest or rest[0].startswith("--"):
        raise UsageError(f"{spelling} needs a value")
    return rest.pop(0)


def _bare_file(word: str) -> str:
    """A word that is no option: the name of an ini file, perhaps with a section."""
    path = word if word.endswith(_FILES) else word.rpartition(":")[0] or word
    if path.endswith(_OTHER_FORMATS):
        raise UsageError(f"{word}: only ini files are read")
    if path != "-" and not path.endswith(_FILES):
        raise UsageError(f"unexpected argument {word}: neither an option nor an ini file (-c {word} reads any name)")
    return word

"""collect-header and pull-header: which response headers become variables.

One idea: a list of pairs, read from the settings once. Invariant: names of headers are compared without regard to
case, so they are kept in lower case.
"""

from __future__ import annotations

from dataclasses import dataclass

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.judge import raise_all
from uwsgirouter.settings.settings import Settings

_OPTIONS = {"collect-header": False, "pull-header": True}


@dataclass(frozen=True)
class HeaderVariable:
    """``header`` (lower case) becomes ``variable``; ``pulled``: and is taken out of the response."""

    header: bytes
    variable: bytes
    pulled: bool
    written: str
    """The header's name as the configuration writes it."""


@dataclass(frozen=True)
class Collected:
    """All of a configuration, in order."""

    pairs: tuple[HeaderVariable, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def describe(self) -> list[str]:
        """As uWSGI prints them at start."""
        words = {False: "collecting header", True: "pulling header"}
        lines = (
            f"{words[one.pulled]} {one.written} to var {one.variable.decode('utf-8', 'backslashreplace')}"
            for one in self.pairs
        )
        return sorted(lines, key=lambda line: line.startswith("pulling"))


def collected(settings: Settings) -> Collected:
    """What the settings say. Raises :class:`ConfigError`."""
    errors: list[ConfigError] = []
    pairs = []
    for option, text, where in settings.sequence(_OPTIONS):
        header, space, variable = text.partition(" ")
        if not space or not header or not variable.strip():
            errors.append(ConfigError(f"{option} = {text}: expected HEADER VARIABLE, one space between them", where))
            continue
        name = header.lower().encode("utf-8", "surrogateescape")
        data = variable.encode("utf-8", "surrogateescape")
        pairs.append(HeaderVariable(name, data, _OPTIONS[option], header))
    raise_all(errors)
    return Collected(tuple(pairs))

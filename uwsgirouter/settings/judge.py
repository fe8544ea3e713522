"""From the gathered options to settings: what each name means here, and whether each value is allowed.

Every fault is collected, so that one reading shows them all. A doubt (a name that nothing knows and nothing
uses) is a notice, or an error where the reading is strict. Invariant: nothing is dropped without an error or
a notice that names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from uwsgirouter.errors import ConfigError, ConfigErrors
from uwsgirouter.settings import names
from uwsgirouter.settings.expand import Entry, Expansion, unresolved
from uwsgirouter.settings.gather import Gathering
from uwsgirouter.settings.names import Verdict
from uwsgirouter.settings.rows.routing import RULES
from uwsgirouter.settings.settings import Given, Settings, give
from uwsgirouter.settings.table import BY_NAME, Option, Type
from uwsgirouter.settings.values import is_bool, parse


@dataclass
class Judgement:
    """What the entries come to. ``strict`` turns doubts into errors."""

    used: set[str]
    given: dict[str, list[Given]] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)
    doubts: list[ConfigError] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    applications: dict[str, str] = field(default_factory=dict)
    turns: list[str] = field(default_factory=list)
    """The option of each value taken so far, in order."""

    def entry(self, entry: Entry) -> None:
        """Judge one entry."""
        if entry.is_placeholder:
            return
        try:
            _BY_VERDICT[names.verdict(entry.name)](self, entry)
        except ConfigError as error:
            self.errors.append(error)

    def option(self, entry: Entry) -> None:
        """A row of the table."""
        option = BY_NAME[entry.name]
        if option.type is Type.COMMAND:
            self.ignored.setdefault(entry.name, entry.where)
        if not option.is_value:
            return
        left = unresolved(entry.text.replace("%(", "%[") if option.name == "logformat" else entry.text)
        if left is not None and not (option.name in RULES and not left[2:-1].isidentifier()):
            raise ConfigError(f"{entry.name} = {entry.text}: {self._missing(left)}", entry.where)
        if option.name == "fastrouter" and entry.text.lower() in ("", "true", "yes", "on"):
            return
        given = give(option, _text(option, entry.text), entry.where, len(self.turns))
        self.turns.append(option.name)
        self.given.setdefault(option.name, []).append(given)

    def finish(self, gathering: Gathering) -> Settings:
        """The settings, or all the errors."""
        strict = self._strict()
        doubts = gathering.doubts + self.doubts
        if self.errors or (strict and doubts):
            raise_all(self.errors + (doubts if strict else []))
        warnings = [str(doubt) for doubt in doubts]
        notices = gathering.notices + warnings + self.notices + self._lists()
        written = [(entry.name, entry.text) for entry in gathering.entries]
        return Settings(os.path.basename(gathering.first_file), self.given, notices, written)

    def _strict(self) -> bool:
        found = self.given.get("strict")
        return bool(found and found[-1].value)

    def _missing(self, left: str) -> str:
        name = left[2:-1]
        if left[0] == "$":
            return f"the environment variable {name} is not set"
        return f"nothing defines the placeholder {left}"

    def _lists(self) -> list[str]:
        """The notices about options of uWSGI, one for each sort."""
        found = []
        if self.ignored:
            found.append(f"these options mean nothing in a router and are ignored: {_places(self.ignored)}")
        if self.applications:
            found.append(
                "these options of uWSGI's application server have no counterpart in the router or its application and "
                f"do nothing: {_places(self.applications)}"
            )
        return found


def judge(gathering: Gathering, strict: bool) -> Settings:
    """Settings from what was gathered, or :class:`ConfigError` (:class:`ConfigErrors` for several)."""
    expansion = Expansion(gathering.entries, gathering.environment, gathering.cwd)
    judgement = Judgement(expansion.used)
    for entry in gathering.entries:
        judgement.entry(entry)
    if strict:
        judgement.given.setdefault("strict", []).append(Given(True, "true", "--check"))
    return judgement.finish(gathering)


def raise_all(errors: list[ConfigError]) -> None:
    """Raise one error as itself and several as one."""
    if errors:
        raise errors[0] if len(errors) == 1 else ConfigErrors(errors)


def _ignored(judgement: Judgement, entry: Entry) -> None:
    judgement.ignored.setdefault(entry.name, entry.where)


def _application(judgement: Judgement, entry: Entry) -> None:
    judgement.applications.setdefault(entry.name, entry.where)


def _later(judgement: Judgement, entry: Entry) -> None:
    raise ConfigError(names.not_available(entry.name), entry.where)


def _refused(judgement: Judgement, entry: Entry) -> None:
    raise ConfigError(f"{entry.name} is not supported: {names.REFUSED[entry.name]}", entry.where)


def _own_family(judgement: Judgement, entry: Entry) -> None:
    raise ConfigError(f"unknown option {entry.name}{names.nearest(entry.name)}", entry.where)


def _unknown(judgement: Judgement, entry: Entry) -> None:
    if entry.name not in judgement.used:
        nearest = names.nearest(entry.name)
        judgement.doubts.append(
            ConfigError(f"{entry.name} is no option, and nothing uses it as %({entry.name}){nearest}", entry.where)
        )


_BY_VERDICT: dict[Verdict, Callable[[Judgement, Entry], None]] = {
    Verdict.OPTION: Judgement.option,
    Verdict.IGNORED: _ignored,
    Verdict.APPLICATION: _application,
    Verdict.LATER: _later,
    Verdict.REFUSED: _refused,
    Verdict.OWN_FAMILY: _own_family,
    Verdict.UNKNOWN: _unknown,
}


def _text(option: Option, text: str) -> str:
    """The value's text; an option whose name alone has a meaning may be written ``name = true`` as well."""
    if option.type is Type.MODE and is_bool(text) and parse(BY_NAME["strict"], text):
        return option.bare or text
    return text or option.bare or ""


def _places(found: dict[str, str]) -> str:
    return ", ".join(f"{name} ({where})" for name, where in found.items())

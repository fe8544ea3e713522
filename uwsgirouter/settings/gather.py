"""All options of a command line and of the files it names, in one list, in their order.

"Expand as soon as possible" is uWSGI's rule: a file is read where it is named, its options stand there, and if,
for and the magic variables work while they are read; placeholders wait until all is gathered. Nothing is judged
here: whether a name means something is decided later. Invariant: the list depends only on what was passed in and
on the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import ini, logic, magic
from uwsgirouter.settings.arguments import COMMAND_LINE, Arguments
from uwsgirouter.settings.expand import Entry
from uwsgirouter.settings.table import BY_NAME, Type

DEFAULT_SECTIONS = ("uwsgirouter", "uwsgi")
DEPTH = 16
"""Most files within files: beyond it they are taken to name each other in a circle."""


@dataclass
class Gathering:
    """The reading of one configuration. ``doubts`` are warnings, or errors where it is strict."""

    cwd: str
    environment: Mapping[str, str]
    standard_input: Callable[[], str]
    started: float
    reloading: bool = False
    entries: list[Entry] = field(default_factory=list)
    doubts: list[ConfigError] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    first_file: str = ""
    _block: logic.Block | None = None
    _last_file: str = ""
    _depth: int = 0
    _magic: dict[str, str] = field(default_factory=dict)
    _first: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._magic = magic.of_process(self.cwd, self.started)

    def arguments(self, arguments: Arguments) -> None:
        """Take a whole command line."""
        for name, text in arguments.given:
            self._line(name, text, COMMAND_LINE)
        self._close()

    def lookup(self, name: str) -> str | None:
        """The first value given under ``name`` so far."""
        return next((entry.text for entry in self.entries if entry.name == name), None)

    def _line(self, name: str, text: str, where: str) -> None:
        option = BY_NAME.get(name)
        if option is None or option.type is not Type.LOGIC:
            for value in [text] if self._block is None else self._block.expand(text):
                self._give(name, value, where)
        elif option.name in logic.END:
            self._block = None
        elif option.name == "else":
            if self._block is None:
                raise ConfigError("else without an if-... above it", where)
            self._block = self._block.otherwise(where)
        elif self._block is not None:
            raise ConfigError(f"{name} inside {self._block.opening} ({self._block.where}): blocks do not nest", where)
        else:
            self._block = logic.open_block(option.name, text, where, self)

    def _give(self, name: str, text: str, where: str) -> None:
        """One option that counts, its logic resolved."""
        option = BY_NAME.get(name)
        self.entries.append(Entry(name, text, where))
        if option is None:
            return
        if option.type is Type.FILE:
            self._file(text, where, is_include=option.name == "include")
        elif option.type is Type.PLACEHOLDER:
            self._placeholder(option.name, text, where)

    def _placeholder(self, by: str, text: str, where: str) -> None:
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not name or not equals:
            raise ConfigError(f"{by} = {text}: expected name=value", where)
        if by == "set-placeholder" and name in BY_NAME:
            raise ConfigError(f"{by} = {text}: {name} is an option, so it cannot be a placeholder; write {text}", where)
        if by == "set":
            self._give(name, value, where)
        else:
            self.entries.append(Entry(name, value, where, is_placeholder=True))

    def _file(self, text: str, where: str, is_include: bool) -> None:
        """Read ``file``, ``file:section`` or ``:section`` (of the last file read) in its place."""
        if self._depth == DEPTH:
            raise ConfigError(f"ini = {text}: more than {DEPTH} files within files; do they name each other?", where)
        if "://" in text:
            raise ConfigError(f"ini = {text}: only files are read, and - for standard input", where)
        given, section = self._named(text, where)
        content = self._read(given, where)
        self._last_file = given
        if not self.first_file:
            self.first_file = given
        own = magic.of_file(given, section, self.cwd)
        if text.startswith(":"):
            own["o"] = ""  # as uWSGI: the name was not given
        if not self._first and not is_include:
            self._first = magic.of_first(own)
        outer, self._block = self._block, None
        self._depth += 1
        self._content(content, given, section, self._magic | self._first | own)
        self._close()
        self._depth -= 1
        self._block = outer

    def _named(self, text: str, where: str) -> tuple[str, str]:
        given, colon, section = text.rpartition(":")
        if not colon or os.path.exists(os.path.join(self.cwd, text)):
            return text, ""
        if not given and not self._last_file:
            raise ConfigError(f"ini = {text}: no file was read before, so it must be named", where)
        return given or self._last_file, section

    def _read(self, given: str, where: str) -> str:
        if given == magic.STANDARD_INPUT:
            return self.standard_input()
        try:
            with open(
                os.path.join(self.cwd, given), encoding="utf-8-sig", errors="surrogateescape", newline=""
            ) as file:
                text = file.read()
        except OSError as error:
            raise ConfigError(f"cannot read {given}: {error.strerror}{self._hint(given, where)}", where) from None
        if "\0" in text:
            raise ConfigError(f"{given} holds a NUL byte: it is no ini file", where)
        return text

    def _hint(self, given: str, where: str) -> str:
        """Why a file may not have been found; relative names surprise people."""
        if "%(" in given:
            return " (placeholders are not known yet when a file is read; magic variables such as %d are)"
        beside = os.path.join(os.path.dirname(self._last_file), given)
        if where != COMMAND_LINE and os.path.exists(os.path.join(self.cwd, beside)):
            start = f"relative names start at the working directory {self.cwd}"
            return f" ({start}; write %d{given} for the file beside this one)"
        return ""

    def _content(self, content: str, given: str, section: str, variables: Mapping[str, str]) -> None:
        found = False
        for line in ini.parse(content, given):
            where = f"{given}:{line.number}"
            header, _ = magic.substitute(line.section, variables)
            if not line.section:
                self.doubts.append(ConfigError(f"{line.key} stands before the first [section]: it is not read", where))
                continue
            if header not in ((section,) if section else DEFAULT_SECTIONS):
                continue
            found = True
            key, unknown = magic.substitute(line.key, variables)
            value, more = magic.substitute(line.value, variables)
            for letter in unknown + more:
                sign = "%%"
                self.notices.append(
                    f"{where}: %{letter} is no magic variable and is left out; write {sign} for a percent sign"
                )
            self._line(key, value, where)
        if not found:
            wanted = f"[{section}]" if section else "[uwsgirouter] or [uwsgi]"
            self.doubts.append(ConfigError(f"no option in a section {wanted}", given))

    def _close(self) -> None:
        """The end of a file, or of the command line, ends an open block."""
        if self._block is not None:
            end = "endfor" if self._block.is_loop else "endif"
            self.notices.append(f"{self._block.where}: {self._block.opening} has no {end}; it ends with its file")
            self._block = None

"""``if-...`` and ``for...``: whether, and for which words, the lines of a block count.

A block is decided once, at its opening line. It then turns a value into the list of values that take its
place: none when the condition does not hold, one per word of a ``for``, with ``%(_)`` replaced. Blocks do not
nest, as in uWSGI.
"""

from __future__ import annotations

import glob
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from uwsgirouter.errors import ConfigError

END = frozenset({"endif", "endfor"})
BUILT_IN = frozenset({"fastrouter", "corerouter"})
"""uWSGI plugins whose work this program does."""


class World(Protocol):
    """What conditions look at."""

    @property
    def cwd(self) -> str:
        """Directory that relative paths start from."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables."""

    @property
    def reloading(self) -> bool:
        """Whether this is a later reading of the same configuration."""

    def lookup(self, name: str) -> str | None:
        """The first value given to an option or placeholder so far."""


@dataclass(frozen=True)
class Block:
    """An open block. ``words``: what %(_) stands for, one repetition each; none: the lines do not count."""

    opening: str
    where: str
    words: tuple[str | None, ...]

    @property
    def is_loop(self) -> bool:
        """A ``for`` of any sort."""
        return self.opening.startswith("for")

    def expand(self, value: str) -> list[str]:
        """The values that take the place of ``value``."""
        return [value if word is None else value.replace("%(_)", word) for word in self.words]

    def otherwise(self, where: str) -> Block:
        """The block after ``else``."""
        if self.is_loop:
            raise ConfigError(f"else stands in a {self.opening} block ({self.where}); it belongs to if-...", where)
        return replace(self, words=() if self.words else (None,))


def open_block(name: str, text: str, where: str, world: World) -> Block:
    """The block that ``name = text`` opens (``name`` is the row's name, not an alias)."""
    if name in _LOOPS:
        return Block(name, where, tuple(_LOOPS[name](text, where, world)))
    found = _CONDITIONS[name.replace("if-not-", "if-")](text, where, world)
    if not name.startswith("if-not-"):
        return Block(name, where, () if found is None else (found,))
    word = "" if name in ("if-not-env", "if-not-opt") else text
    return Block(name, where, (word,) if found is None else ())


def _compared(text: str, value_of: Callable[[str], str | None]) -> str | None:
    name, equals, wanted = text.partition("=")
    value = value_of(name)
    return None if value is None or (equals and value != wanted) else value


def _env(text: str, where: str, world: World) -> str | None:
    return _compared(text, world.environment.get)


def _opt(text: str, where: str, world: World) -> str | None:
    return _compared(text, world.lookup)


def _file(text: str, where: str, world: World) -> str | None:
    return text if os.path.isfile(os.path.join(world.cwd, text)) else None


def _dir(text: str, where: str, world: World) -> str | None:
    return text if os.path.isdir(os.path.join(world.cwd, text)) else None


def _exists(text: str, where: str, world: World) -> str | None:
    return text if os.access(os.path.join(world.cwd, text), os.R_OK) else None


def _hostname(text: str, where: str, world: World) -> str | None:
    return text if socket.gethostname() == text else None


def _hostname_match(text: str, where: str, world: World) -> str | None:
    try:
        return text if re.search(text, socket.gethostname()) else None
    except re.error as error:
        raise ConfigError(f"{text!r} is no regular expression: {error}", where) from None


def _plugin(text: str, where: str, world: World) -> str | None:
    return text if text in BUILT_IN else None


def _reload(text: str, where: str, world: World) -> str | None:
    return text if world.reloading else None


_CONDITIONS: dict[str, Callable[[str, str, World], str | None]] = {
    "if-env": _env,
    "if-opt": _opt,
    "if-file": _file,
    "if-dir": _dir,
    "if-exists": _exists,
    "if-hostname": _hostname,
    "if-hostname-match": _hostname_match,
    "if-plugin": _plugin,
    "if-reload": _reload,
}


def _for(text: str, where: str, world: World) -> list[str]:
    return [word for word in text.split(" ") if word]


def _for_glob(text: str, where: str, world: World) -> list[str]:
    found = sorted(glob.glob(os.path.join(world.cwd, text)))
    if not os.path.isabs(text):
        found = [os.path.relpath(path, world.cwd) for path in found]
    marked = [path + "/" if os.path.isdir(os.path.join(world.cwd, path)) else path for path in found]
    return marked or [text]


def _for_readline(text: str, where: str, world: World) -> list[str]:
    try:
        with open(os.path.join(world.cwd, text), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError as error:
        raise ConfigError(f"for-readline = {text}: {error.strerror}", where) from None


def _for_times(text: str, where: str, world: World) -> list[str]:
    if not re.fullmatch("[0-9]{1,5}", text):
        raise ConfigError(f"for-times = {text}: expected a whole number up to 99999", where)
    return [str(number) for number in range(1, int(text) + 1)]


_LOOPS: dict[str, Callable[[str, str, World], list[str]]] = {
    "for": _for,
    "for-glob": _for_glob,
    "for-readline": _for_readline,
    "for-times": _for_times,
}

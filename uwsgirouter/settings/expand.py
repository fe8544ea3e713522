"""``$(ENV)``, ``@(file)`` and ``%(placeholder)`` in the values, once all options are gathered.

Three passes over all values, in this order, so that a file's name may come from the environment and a
placeholder may hold either. A placeholder is the FIRST value given under its name, wherever that stands; what
it brings is expanded in turn. What cannot be resolved stays as it is written (:func:`unresolved` finds it),
except a missing file and a circle: errors.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from uwsgirouter.errors import ConfigError


@dataclass
class Entry:
    """One option as given; ``text`` is expanded in place. ``is_placeholder``: set-placeholder defined it."""

    name: str
    text: str
    where: str
    is_placeholder: bool = False


class Expansion:
    """The values of one configuration, expanded. ``used`` are the names that placeholders asked for."""

    def __init__(self, entries: list[Entry], environment: Mapping[str, str], cwd: str) -> None:
        self.used: set[str] = set()
        self._environment = environment
        self._cwd = cwd
        self._first: dict[str, Entry] = {}
        for entry in entries:
            self._first.setdefault(entry.name, entry)
        for entry in entries:
            entry.text = _replace(entry.text, "$", self._variable)
        for entry in entries:
            entry.text = _replace(entry.text, "@", functools.partial(self._file, entry.where))
        self._raw = {name: entry.text for name, entry in self._first.items()}
        for entry in entries:
            owner = entry.name if self._first[entry.name] is entry else ""
            entry.text = self._placeholders(entry.text, (owner,), entry.where)

    def _variable(self, key: str) -> str | None:
        found = re.fullmatch(r"([^:-]*)(:?-)(.*)", key, re.DOTALL)
        if not found or key in self._environment:
            return self._environment.get(key)
        value = self._environment.get(found[1])
        return found[3] if value is None or (found[2] == ":-" and not value) else value

    def _file(self, where: str, name: str) -> str:
        if "://" in name:
            raise ConfigError(f"@({name}): only files are read", where)
        try:
            with open(os.path.join(self._cwd, name), encoding="utf-8", errors="surrogateescape") as file:
                return file.read().removesuffix("\n")
        except OSError as error:
            raise ConfigError(f"@({name}): {error.strerror}", where) from None

    def _placeholders(self, text: str, owners: tuple[str, ...], where: str) -> str:
        return _replace(text, "%", lambda key: self._placeholder(key, owners, where))

    def _placeholder(self, key: str, owners: tuple[str, ...], where: str) -> str | None:
        if " " not in key:
            return self._value(key, owners, where)
        return calculate(key, lambda name: self._value(name, owners, where) or "")

    def _value(self, name: str, owners: tuple[str, ...], where: str) -> str | None:
        self.used.add(name)
        if name not in self._first:
            return None
        if name in owners:
            raise ConfigError(f"%({name}) stands for itself: {' -> '.join((*filter(None, owners), name))}", where)
        return self._placeholders(self._raw[name], (*owners, name), where)


def unresolved(text: str) -> str | None:
    """The first ``$(...)`` or ``%(...)`` that is left in an expanded value."""
    found = re.search(r"[$%]\([^()\s]+\)", text)
    return found[0] if found else None


def calculate(formula: str, value_of: Callable[[str], str]) -> str:
    """Placeholder arithmetic: from left to right, ``++`` and ``--`` count, no operator joins the texts."""
    current, operator = "", ""
    for word in formula.split(" "):
        if word in ("+", "-", "*", "/"):
            operator = word
            continue
        if word in ("++", "--"):
            current = str(_leading(current) + (1 if word == "++" else -1)) if current else current
        elif word:
            value = word if word.isascii() and word.isdigit() else value_of(word)
            current = str(_apply(_leading(current), operator, _leading(value))) if operator else current + value
        operator = ""
    return current


def _apply(left: int, operator: str, right: int) -> int:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        return 0
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _leading(text: str) -> int:
    found = re.match(r"\s*([+-]?[0-9]+)", text)
    return int(found[1]) if found else 0


def _replace(text: str, sign: str, resolve: Callable[[str], str | None]) -> str:
    """Each ``sign(key)`` by what ``resolve`` gives (None: left alone); a key may hold balanced parentheses."""
    if sign + "(" not in text:
        return text
    done: list[str] = []
    position = 0
    while (start := text.find(sign + "(", position)) >= 0:
        end = _closing(text, start + 2)
        if end < 0:
            break
        key = text[start + 2 : end]
        value = resolve(key) if key else None
        done += [text[position:start], text[start : end + 1] if value is None else value]
        position = end + 1
    return "".join(done) + text[position:]


def _closing(text: str, position: int) -> int:
    depth = 0
    for place in range(position, len(text)):
        if text[place] == "(":
            depth += 1
        elif text[place] == ")":
            if not depth:
                return place
            depth -= 1
    return -1

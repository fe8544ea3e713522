"""Where a part of a rule stands, and what it may ask while the table is built.

One idea: parts see the table through this. It keeps what the table must know of them: the variables they look at, and
whether one of them may wait. Invariant: a text is taken apart once, here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from uwsgirouter.rules import expansion, pattern
from uwsgirouter.rules.arguments import number
from uwsgirouter.rules.base import BadRule, Broken, ChainName, Expand, Found, Part, Parts, Value

if TYPE_CHECKING:
    from uwsgirouter.rules.exchange import Exchange
    from uwsgirouter.settings.settings import Settings


_WORDS = """
    goon symcall symcall-next xmldir
    """
LATER = frozenset(_WORDS.split())
"""Actions of uWSGI and its plugins that are not built: they need another service, or C functions of the server's."""


@dataclass
class Needs:
    """What a table's parts need: variables by name, and the chains in which something may wait."""

    names: set[bytes] = field(default_factory=set)
    waits: set[ChainName] = field(default_factory=set)
    transforms_wait: bool = False
    """Whether a transformation may wait."""
    scripts: bool = False
    """Whether functions of the operator's scripts may be called."""
    limits: bool = False
    """Whether anything counts in the memory for limits."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """What is worth a line at start, and the places that it is about."""


@dataclass
class RulePlace:
    """See :class:`uwsgirouter.rules.base.Place`. ``groups``: whether $0 to $9 mean something here."""

    chain: ChainName
    number: int
    where: str
    settings: Settings
    parts: Parts
    needs: Needs
    say: Callable[[str], None]
    labels: dict[bytes, int] = field(default_factory=dict)
    """The labels of the chain, with their numbers."""
    groups: bool = True
    rule: bytes = b""
    """As it was written."""

    def template(self, text: bytes) -> Expand:
        """``text`` with $0..$9 and ${...}. Raises :class:`BadRule`."""
        return expansion.of_pieces(expansion.cut(text, self.groups), self._braces)

    def constant(self, text: bytes) -> bytes | None:
        """``text`` when it is the same for all requests, else None."""
        pieces = expansion.cut(text, self.groups)
        if not pieces:
            return b""
        only = pieces[0]
        return only if len(pieces) == 1 and isinstance(only, bytes) else None

    def pattern(self, text: bytes) -> re.Pattern[bytes]:
        """A regular expression. Raises :class:`BadRule`."""
        return pattern.compiled(text)

    def search(self, text: bytes) -> Callable[[bytes], re.Match[bytes] | None]:
        """What looks for a regular expression anywhere in a text. Raises :class:`BadRule`."""
        return pattern.searching(text)

    def jumps(self, target: bytes) -> None:
        """Warn when a goto that always goes to ``target`` must fail."""
        shown = repr(target.decode("utf-8", "backslashreplace"))
        position = self.labels.get(target)
        if position is None:
            if not _is_number(target):
                known = [label.decode("utf-8", "backslashreplace") for label in self.labels]
                near = nearest(target.decode("utf-8", "backslashreplace"), known) if known else "; there are none"
                self.say(f"there is no label {shown} in this chain{near}; a request that comes here ends")
                return
            position = number(target)
            if position < 0:
                return  # as in uWSGI: behind the end
            shown = f"rule {position}"
        if position <= self.number:
            self.say(f"{shown} is not further down (a goto only jumps forward); a request that comes here ends")

    def note(self, text: str) -> None:
        """One line at start for all rules with the same text, and no error under --check."""
        self.needs.notes.setdefault(text, []).append(self.where)

    def warn(self, text: str) -> None:
        """A line of the log at start, an error under --check."""
        self.say(text)

    def waits(self) -> None:
        """Say that what is built here may wait."""
        self.needs.waits.add(self.chain)

    def scripts(self) -> None:
        """Say that what is built here calls functions of scripts."""
        self.needs.scripts = True

    def limits(self) -> None:
        """Say that what is built here counts in the memory for limits."""
        self.needs.limits = True

    def variable(self, name: bytes) -> None:
        """Say that the part looks at this variable: it is then found in the same walk as the others."""
        self.needs.names.add(name)

    def take(self, kind: dict[str, Part], what: str, name: bytes) -> Part:
        """The part of that name. Raises :class:`BadRule` with the nearest one."""
        text = name.decode("utf-8", "surrogateescape")
        found = kind.get(text)
        if found is None and text in LATER:
            raise BadRule(f"{text} is a known {what} of uWSGI, not available in this version")
        if found is None:
            raise BadRule(f"unknown {what} {text!r}{nearest(text, kind)}")
        if found.waits:
            self.needs.waits.add(self.chain)
        return found

    def _braces(self, braces: expansion.Braces) -> Expand:
        inside = braces.inside
        first = inside[0] if inside else b""
        name, bracket, rest = first.partition(b"[") if isinstance(first, bytes) else (b"", b"", b"")
        last = inside[-1] if inside else b""
        if bracket and isinstance(last, bytes) and last.endswith(b"]"):
            pieces = (rest[:-1],) if len(inside) == 1 else (rest, *inside[1:-1], last[:-1])
            return self._function(self.take(self.parts.variables, "variable", name), pieces)
        if len(inside) <= 1 and isinstance(first, bytes):
            self.variable(first)
            return lambda exchange, found: exchange.variable(first)
        named = expansion.of_pieces(inside, self._braces)
        return lambda exchange, found: exchange.variable(named(exchange, found))

    def _function(self, part: Part, pieces: Iterable[expansion.Piece]) -> Expand:
        listed = [piece for piece in pieces if piece != b""]
        if all(isinstance(piece, bytes) for piece in listed):
            value = cast(Value, part.make(b"".join(cast("list[bytes]", listed)), self))
            return lambda exchange, found: value(exchange)
        argument = expansion.of_pieces(listed, self._braces)
        quiet = replace(self, needs=Needs(), say=lambda text: None)  # what a request asks for is no news at start

        def expand(exchange: Exchange, found: Found) -> bytes:
            try:
                return cast(Value, part.make(argument(exchange, found), quiet))(exchange)
            except BadRule as error:
                raise Broken(str(error)) from None

        return expand


def _is_number(text: bytes) -> bool:
    return text.lstrip(b" \t+-")[:1].isdigit()


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean X?``, or all that there are when none is alike."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else f"; there are {' '.join(names)}"

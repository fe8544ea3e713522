"""What a part of a rule is: actions, conditions, variables and transformations, and how packages add their own.

One idea: a part is a function that is called once for each rule when the table is built, with the text that the rule
gives it, and returns what is called for each request. So whatever can be wrong with a rule is said at start, and a
request pays only for what depends on it. It knows no part by name. Invariant: a name is registered once.

    @action("hello")
    def hello(argument: bytes, place: Place) -> Act:
        text = place.template(argument)

        def act(exchange: Exchange, found: Found) -> Verdict:
            exchange.response.add_header(b"X-Hello", text(exchange, found))
            return Verdict.NEXT

        return act
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeVar

from uwsgirouter.errors import RouterError
from uwsgirouter.protocol.answers import Cause

if TYPE_CHECKING:
    from uwsgirouter.rules.exchange import Exchange
    from uwsgirouter.rules.transform import Transform
    from uwsgirouter.settings.settings import Settings


class Verdict(Enum):
    """What a rule says should happen next."""

    NEXT = "go on with the next rule"
    CONTINUE = "no more rules of this chain: run the request"
    BREAK = "no more rules, and no node: what was answered so far is the answer"
    GOTO = "go on at exchange.jump"


class ChainName(Enum):
    """The chains of rules, and when they run."""

    REQUEST = ""
    ERROR = "error"
    RESPONSE = "response"
    FINAL = "final"

    number: int
    """Its place in a table. (Hashing a member calls Python code; an attribute does not.)"""

    def __init__(self, text: str) -> None:
        self.number = len(type(self).__members__)


Found = re.Match[bytes] | None
"""What $0 to $9 mean in a rule: the match of its own regular expression."""

Act = Callable[["Exchange", Found], Verdict]
"""What a rule does, each time. May raise :class:`Broken`."""

Test = Callable[["Exchange"], "re.Match[bytes] | bool | None"]
"""Whether a condition holds; a match also says what $0 to $9 are. May raise :class:`Broken`."""

Value = Callable[["Exchange"], bytes]
"""The value of ``${name[...]}`` for one request."""

Expand = Callable[["Exchange", Found], bytes]
"""A text with its $1 and ${...} filled in."""


class BadRule(RouterError):
    """A rule that cannot be built; ``str()`` says why, without the rule's place."""


class Broken(RouterError):
    """A rule that cannot go on with this request: the request ends (BREAK), and ``str()`` is the reason for the log.

    ``cause``: what the client is told.
    """

    def __init__(self, message: str, cause: Cause = Cause.RULE_FAILED) -> None:
        super().__init__(message)
        self.cause = cause


class Place(Protocol):
    """Where a part stands, and what it may ask while the table is built (rules/table.py makes one for each rule)."""

    chain: ChainName
    number: int
    """The rule's number in its chain, from 0, labels counted."""
    where: str
    """``router.conf:12``."""
    settings: Settings
    rule: bytes
    """The rule, as it was written."""

    def template(self, text: bytes) -> Expand:
        """``text`` with $0..$9 and ${...}. Raises :class:`BadRule` for a variable function that nobody knows."""

    def constant(self, text: bytes) -> bytes | None:
        """``text`` when it is the same for all requests, else None."""

    def pattern(self, text: bytes) -> re.Pattern[bytes]:
        """A regular expression. Raises :class:`BadRule` with the position, and a way to write it when PCRE could and
        re cannot.
        """

    def search(self, text: bytes) -> Callable[[bytes], re.Match[bytes] | None]:
        """What looks for a regular expression anywhere in a text: faster than the pattern's own search."""

    def waits(self) -> None:
        """What is built here may wait (a slow hash): its chain runs in a greenlet. For parts that may not."""

    def scripts(self) -> None:
        """What is built here calls functions of the operator's scripts: workers then run the scripts, too."""

    def limits(self) -> None:
        """What is built here counts in the memory that all workers share for limits."""

    def variable(self, name: bytes) -> None:
        """What is built here looks at this variable (``exchange.variable(name)``): it is then found in one walk with
        others.
        """

    def jumps(self, target: bytes) -> None:
        """What is built here goes to ``target``, always: warns when there is no such label (or number) further down."""

    def note(self, text: str) -> None:
        """Something that is as it should be, and yet worth a line at start; one for all rules with the same text."""

    def warn(self, text: str) -> None:
        """Something to tell the operator at start: a line of the log, an error under --check."""


Made = TypeVar("Made")
Make = Callable[[bytes, Place], Made]


@dataclass(frozen=True)
class Part:
    """One registered part. ``make(argument, place)`` builds it for a rule."""

    name: str
    make: Callable[[bytes, Place], object]
    waits: bool = False
    """Whether what it makes may wait (for a program, a server, a user's function): its chain then runs in a greenlet.
    """


@dataclass
class Parts:
    """All that is registered, by kind and name."""

    actions: dict[str, Part] = field(default_factory=dict)
    conditions: dict[str, Part] = field(default_factory=dict)
    variables: dict[str, Part] = field(default_factory=dict)
    transformations: dict[str, Part] = field(default_factory=dict)

    def copy(self) -> Parts:
        """The same parts, for :meth:`restore`."""
        return Parts(*(dict(kind) for kind in self._kinds()))

    def restore(self, other: Parts) -> None:
        """Be as ``other`` is, in place."""
        for kind, old in zip(self._kinds(), other._kinds(), strict=True):
            kind.clear()
            kind.update(old)

    def _kinds(self) -> tuple[dict[str, Part], ...]:
        return self.actions, self.conditions, self.variables, self.transformations


PARTS = Parts()


def _registered(kind: dict[str, Part], names: tuple[str, ...], waits: bool) -> Callable[[Make[Made]], Make[Made]]:
    def register(make: Make[Made]) -> Make[Made]:
        for name in names:
            if name in kind:
                raise ValueError(f"{name} is registered twice, by {kind[name].make.__module__} and {make.__module__}")
            kind[name] = Part(name, make, waits)
        return make

    return register


def action(*names: str, waits: bool = False) -> Callable[[Make[Act]], Make[Act]]:
    """Register ``make(argument, place) -> act`` under ``names``; each name gets the argument as the rule gives it."""
    return _registered(PARTS.actions, names, waits)


def condition(*names: str, waits: bool = False) -> Callable[[Make[Test]], Make[Test]]:
    """Register ``make(argument, place) -> test``; the argument is all behind the colon."""
    return _registered(PARTS.conditions, names, waits)


def variable(*names: str, waits: bool = False) -> Callable[[Make[Value]], Make[Value]]:
    """Register ``make(argument, place) -> value``; the argument is what stands between the brackets."""
    return _registered(PARTS.variables, names, waits)


def transformation(
    *names: str,
    waits: bool = False,
) -> Callable[[Make[Callable[[Exchange, Found], Transform]]], Make[Callable[[Exchange, Found], Transform]]]:
    """Register ``make(argument, place) -> (exchange, found) -> Transform``. A rule names it like an action; it returns
    NEXT. ``waits``: what it does to a body may wait, so all that makes or passes on an answer runs in a greenlet.
    """
    return _registered(PARTS.transformations, names, waits)

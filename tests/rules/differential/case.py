"""What is compared: rules, and the requests that are sent to them.

A case is a few lines of rules as an ini file has them, and requests. Many cases share one table: the harness puts each behind
a label of its own (see table.py), so a case must not number its rules, and its rules end with it. ``group`` names the
instances that it runs in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.rules.differential.outcome import Outcome, same
from tests.servers.wire import Variables

CHAINS = ("request", "error", "response", "final")


@dataclass(frozen=True)
class Ask:
    """One request. ``variables`` replace the usual ones of their name in place, or are appended."""

    path: str = "/"
    method: str = "GET"
    body: bytes = b""
    variables: Sequence[tuple[bytes, bytes]] = ()
    without: Sequence[bytes] = ()
    """Usual variables that are left out."""
    modifiers: tuple[int, int] = (0, 0)
    app: dict[str, Any] = field(default_factory=dict)
    """What the application answers (app.py)."""

    def packet(self, case: str, chains: Sequence[str], number: str) -> Variables:
        """The variables as nginx sends them, and what steers the two sides."""
        path, _, query = self.path.partition("?")
        usual: Variables = [
            (b"QUERY_STRING", query.encode("latin-1")),
            (b"REQUEST_METHOD", self.method.encode("latin-1")),
            (b"CONTENT_TYPE", b""),
            (b"CONTENT_LENGTH", b"%d" % len(self.body) if self.body else b""),
            (b"REQUEST_URI", self.path.encode("latin-1")),
            (b"PATH_INFO", path.encode("latin-1")),
            (b"DOCUMENT_ROOT", b"/usr/share/nginx/html"),
            (b"SERVER_PROTOCOL", b"HTTP/1.1"),
            (b"REQUEST_SCHEME", b"http"),
            (b"REMOTE_ADDR", b"127.0.0.1"),
            (b"REMOTE_PORT", b"40000"),
            (b"SERVER_PORT", b"80"),
            (b"SERVER_NAME", b"server.example"),
            (b"HTTP_HOST", b"a.example"),
        ]
        given = dict(self.variables)
        named = [(name, given.get(name, value)) for name, value in usual if name not in self.without]
        known = {name for name, _ in named}
        more = [pair for pair in self.variables if pair[0] not in known]
        steering: Variables = [
            (b"CASE", case.encode()),
            (b"CHAINS", b" ".join(chain.encode() for chain in chains)),
            (b"X_ID", number.encode()),
        ]
        if self.app:
            steering.append((b"X_APP", json.dumps(self.app).encode()))
        return [*steering, *named, *more]


def ask(
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes = b"",
    v: dict[str, str | bytes] | None = None,
    more: Sequence[tuple[bytes, bytes]] = (),
    without: Sequence[bytes] = (),
    modifiers: tuple[int, int] = (0, 0),
    **app: Any,
) -> Ask:
    """A request; ``v`` are variables by name, ``more`` are appended even when they repeat, ``app`` goes to the application."""
    given = tuple((name.encode(), _bytes(value)) for name, value in (v or {}).items())
    return Ask(path, method, body, (*given, *more), without, modifiers, app)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


Check = Callable[[Outcome, Outcome], None]
"""Given what uWSGI did and what the router did; raises AssertionError."""


@dataclass(frozen=True)
class Differs:
    """A difference that is meant: what it is, for docs/differences.md, and what the router must do instead."""

    why: str
    check: Check


@dataclass(frozen=True)
class Case:
    """Rules and requests. ``name`` is unique."""

    name: str
    rules: tuple[str, ...]
    asks: tuple[Ask, ...]
    group: str = "main"
    differs: Differs | None = None
    dates: bool = False
    framing: bool = False
    """What outcome.same allows."""

    def compare(self, real: Outcome, ours: Outcome) -> None:
        """AssertionError unless they are the same, or differ as they are meant to."""
        if self.differs:
            self.differs.check(real, ours)
        else:
            same(real, ours, dates=self.dates, framing=self.framing)

    def guards_errors(self) -> bool:
        """Whether its rules of the error chain can do without a label (see table.py)."""
        options = [rule.partition("=")[0].strip() for rule in self.rules if chain_of(rule) == "error"]
        return set(options) == {"error-route-run"}

    def chains(self) -> list[str]:
        """The chains in which it has a label."""
        having = {chain_of(rule) for rule in self.rules}
        return [chain for chain in CHAINS if chain in having and not (chain == "error" and self.guards_errors())]


def chain_of(rule: str) -> str:
    """The chain of a line ``error-route-run = ...``."""
    prefix = rule.partition("=")[0].strip().partition("route")[0]
    return prefix.rstrip("-") or "request"


CASES: list[Case] = []


def case(
    name: str,
    rules: str,
    *asks: Ask,
    group: str = "main",
    differs: Differs | None = None,
    dates: bool = False,
    framing: bool = False,
) -> None:
    """Add a case. Without asks it is one plain request."""
    lines = tuple(line.strip() for line in rules.strip().splitlines() if line.strip())
    assert name not in {known.name for known in CASES}, name
    CASES.append(Case(name, lines, asks or (ask(),), group, differs, dates, framing))

"""What is compared: rules, and the requests that are sent to them.

A case is a few lines of rules as an ini file has them, and requests. Many cases share one table: the harness puts
each behind a label of its own (see table.py), so a case must not number its rules, and its rules end with it.
``group`` names the instances that it runs in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.rules.differential.outcome import Outcome, framed_head, same, unframed
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
    kept: str = ""
    """``redis:KEY``: it is sent when there is such an item."""

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
    v: Mapping[str, str | bytes] | None = None,
    more: Sequence[tuple[bytes, bytes]] = (),
    without: Sequence[bytes] = (),
    modifiers: tuple[int, int] = (0, 0),
    kept: str = "",
    **app: Any,
) -> Ask:
    """A request; ``v`` are variables by name, ``more`` are appended even when they repeat, ``app`` goes to the
    application.
    """
    given = tuple((name.encode(), _bytes(value)) for name, value in (v or {}).items())
    return Ask(path, method, body, (*given, *more), without, modifiers, app, kept)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


@dataclass(frozen=True)
class Differs:
    """A difference that is meant: why, for docs/differences.md, and what the router does instead.

    What is None is as on uWSGI's side. ``answer`` and ``head`` may be made of uWSGI's; with ``head`` the bodies are
    the same without their codings.
    """

    why: str
    answer: bytes | Callable[[Outcome], bytes] | None = None
    cause: str = ""
    """A failure answer with this cause."""
    head: Callable[[list[bytes]], list[bytes]] | None = None
    log: Sequence[str] | None = None
    asked: bool | None = None
    """Whether the application was asked."""
    variables: dict[str, str | None] = field(default_factory=dict)
    """Variables that the application sees otherwise; None: not at all."""

    def check(self, real: Outcome, ours: Outcome) -> None:
        """AssertionError unless ours is as described."""
        if self.cause:
            assert ours.cause == self.cause, ours.answer[:300]
        elif self.head:
            assert framed_head(ours) == self.head(framed_head(real))
            assert unframed(ours) == unframed(real)
        elif self.answer is not None:
            assert ours.answer == (self.answer if isinstance(self.answer, bytes) else self.answer(real))
        else:
            assert ours.answer == real.answer
        assert ours.log == (real.log if self.log is None else list(self.log))
        if self.asked is not None:
            assert bool(ours.seen) is self.asked
            return
        expected = [{**report, "vars": self._changed(report["vars"])} for report in real.seen]
        assert ours.seen == expected

    def _changed(self, variables: dict[str, str]) -> dict[str, str]:
        both = {**variables, **self.variables}
        return {name: value for name, value in both.items() if value is not None}


@dataclass(frozen=True)
class Case:
    """Rules and requests. ``name`` is unique."""

    name: str
    rules: tuple[str, ...]
    asks: tuple[Ask, ...]
    group: str = "main"
    differs: dict[int, Differs] = field(default_factory=dict)
    """By the request's number, -1 for all."""
    dates: bool = False
    framing: bool = False
    """What outcome.same allows."""

    def compare(self, number: int, real: Outcome, ours: Outcome) -> None:
        """AssertionError unless what came of a request is the same, or differs as it is meant to."""
        differs = self.differs.get(number, self.differs.get(-1))
        if not differs:
            same(real, ours, dates=self.dates, framing=self.framing)
            return
        differs.check(real, ours)
        with pytest.raises(AssertionError):  # else there is no difference any more
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
    differs: Differs | dict[int, Differs] | None = None,
    dates: bool = False,
    framing: bool = False,
) -> None:
    """Add a case. Without asks it is one plain request. ``differs`` for all its requests, or by their numbers."""
    lines = tuple(line.strip() for line in rules.strip().splitlines() if line.strip())
    assert name not in {known.name for known in CASES}, name
    by_number = differs if isinstance(differs, dict) else {-1: differs} if differs else {}
    CASES.append(Case(name, lines, asks or (ask(),), group, by_number, dates, framing))

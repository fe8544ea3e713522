"""The rules of uWSGI and of the router, side by side: the same requests, and the same of everything that came of them.

All requests of a group are sent in one go, when the first of its cases is asked for; each test then looks at one case.
"""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.rules.differential.case import Case
from tests.rules.differential.cases import load
from tests.rules.differential.groups import GROUPS
from tests.rules.differential.outcome import Outcome, framed_head, unframed
from tests.rules.differential.places import places
from tests.rules.differential.sides import Sides
from tests.servers import Servers
from uwsgirouter.rules import parts
from uwsgirouter.settings.rows.routing import RULES

CASES = load()
Found = tuple[dict[str, list[Outcome]], dict[str, list[Outcome]]]


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Callable[[str], Found]]:
    """What came of a group's requests on both sides, by case."""
    servers = Servers()
    known: dict[str, Found] = {}

    def of(name: str) -> Found:
        if name not in known:
            cases = [case for case in CASES if case.group == name]
            sides = Sides(servers, name, GROUPS[name], cases, places(servers))
            started = [sides.start_real(), sides.start_ours()]
            known[name] = sides.run(started[0]), sides.run(started[1])
            sides.reports.close()
            for side in (*started, sides.node):
                side.process.signal(signal.SIGTERM)  # all at once: each takes its time
        return known[name]

    try:
        yield of
    finally:
        servers.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, outcomes: Callable[[str], Found]) -> None:
    """Both do the same, or differ as they are meant to."""
    real, ours = outcomes(case.group)
    different = []
    for number, (one, other) in enumerate(zip(real[case.name], ours[case.name], strict=True)):
        try:
            case.compare(number, one, other)
        except AssertionError as error:
            different.append(f"request {number}: {error}\nuWSGI  {one.show()}\nrouter {other.show()}")
    assert not different, "\n".join([*case.rules, *different])


def test_there_are_enough() -> None:
    """What was asked for."""
    assert sum(len(case.asks) for case in CASES) >= 300


def test_requests_beside_each_other(servers: Servers) -> None:
    """Twelve at a time, in any order, get what each gets alone."""
    cases = [case for case in CASES if case.group == "main" and not used(REMEMBERED, "\n".join(case.rules))]
    sides = Sides(servers, "beside", GROUPS["main"], cases, places(servers))
    ours = sides.start_ours()
    jobs = [(case, number, asked) for case in cases for number, asked in enumerate(case.asks)]
    random.Random(1).shuffle(jobs)
    with ThreadPoolExecutor(12) as several:
        beside = list(several.map(lambda job: sides.one(ours, *job), jobs))
    alone = sides.run(ours)
    sides.reports.close()
    assert len(jobs) > 1000
    for (case, number, _), outcome in zip(jobs, beside, strict=True):
        assert alike(alone[case.name][number], outcome), (case.name, number, outcome.show())


REMEMBERED = "cache|metric|tofile|to-file|httptime|expires:value|time\\["
"""What depends on earlier requests, or on the time."""


def alike(one: Outcome, other: Outcome) -> bool:
    """The answers are the same but for the pieces that they are sent in, and for the names of failed requests."""
    return one.answer == other.answer or nameless(one) == nameless(other)


def nameless(outcome: Outcome) -> tuple[list[bytes], bytes]:
    """Head and body, with a mark in place of the ids that the router makes."""
    head = [ID.sub(b"id", line) for line in framed_head(outcome)]
    return head, ID.sub(b"id", unframed(outcome))


ID = re.compile(rb"[0-9a-fA-F]{32}")


_LOGINS = "beside a real uWSGI in tests/end_to_end/test_logins.py"
ELSEWHERE = {
    "access": "neither uWSGI has its plugin",
    "geoip": "neither uWSGI has its plugin",
    "httpconnect": "uWSGI's answers nothing",
    "proxyhttpconnect": "uWSGI's answers nothing",
    "lord": "the router refuses it",
    "setkey": "the router's own",
    "node": "the router's own",
    "limit": "the router's own",
    "concurrency": "the router's own",
    "ldapauth": _LOGINS,
    "ldapauth-next": _LOGINS,
    "radius": _LOGINS,
    "radius-next": _LOGINS,
    "spnego": "neither uWSGI has its plugin",
    "spnego-next": "neither uWSGI has its plugin",
    "cgi": "neither uWSGI has its plugin",
    "cgihelper": "neither uWSGI has its plugin",
    "gridfs": "neither uWSGI has its plugin",
    "ssi": "neither uWSGI has its plugin",
    "toxslt": "neither uWSGI has its plugin",
    "xslt": "neither uWSGI has its plugin",
}
"""Parts that no case has, and why."""


def test_no_part_is_forgotten() -> None:
    """Every action, condition, variable and transformation stands in a case."""
    known = parts.load()
    rules = "\n".join(rule for case in CASES for rule in case.rules)
    forgotten = [
        name for name in {**known.actions, **known.transformations} if not used(rf"[ =]{re.escape(name)}:", rules)
    ]
    forgotten += [name for name in known.conditions if not used(rf"route-if(-not)? = {re.escape(name)}:", rules)]
    forgotten += [name for name in known.variables if f"${{{name}[" not in rules]
    assert sorted(forgotten) == sorted(ELSEWHERE)


def test_no_option_is_forgotten() -> None:
    """Every option that holds a rule stands in a case."""
    options = {rule.partition("=")[0].strip() for case in CASES for rule in case.rules}
    assert sorted(set(RULES) - options) == []


def used(pattern: str, rules: str) -> bool:
    """Whether a rule has it."""
    return re.search(pattern, rules) is not None

"""The rules of uWSGI and of the router, side by side: the same requests, and the same of everything that came of them.

All requests of a group are sent in one go, when the first of its cases is asked for; each test then looks at one case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.rules.differential.case import Case
from tests.rules.differential.cases import load
from tests.rules.differential.groups import GROUPS
from tests.rules.differential.outcome import Outcome
from tests.rules.differential.places import places
from tests.rules.differential.sides import Sides
from tests.servers import Servers

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
            known[name] = sides.run(sides.start_real()), sides.run(sides.start_ours())
            sides.reports.close()
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
    """What issue 6 asks for."""
    assert sum(len(case.asks) for case in CASES) >= 300

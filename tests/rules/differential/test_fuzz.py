"""The grammar of ``make fuzz-rules``: what it draws are tables that the router takes, the same for the same seed."""

from __future__ import annotations

from scripts.fuzz_rules.__main__ import drawn, reduced
from tests.rules.differential.case import Case, chain_of
from tests.rules.differential.table import labelled
from uwsgirouter.rules.table import Table
from uwsgirouter.settings.settings import Settings


def test_what_is_drawn_is_a_table() -> None:
    """Every table of a batch, in all chains."""
    batch = drawn(1, 60)
    cases = [
        Case(f"f{index}", tuple(rule.replace("{case}", f"f{index}") for rule in table.rules), table.asks)
        for index, table in enumerate(batch)
    ]
    lines = ["cache2 = name=default,items=5", *labelled(cases)]
    given = [line.replace("%%", "%").partition(" = ") for line in lines]
    settings = Settings.listed(
        [(name, value, f"line {number}") for number, (name, _, value) in enumerate(given)], "drawn"
    )
    assert Table.build(settings, lambda warning: None) is not None
    assert {chain_of(rule) for table in batch for rule in table.rules} == {"request", "error", "response", "final"}


def test_the_same_seed_draws_the_same() -> None:
    """So that what was found can be found again."""
    assert drawn(7, 10) == drawn(7, 10) != drawn(8, 10)


def test_smaller_tables_lack_one_thing() -> None:
    """A rule, or something of the request."""
    table = next(table for table in drawn(3, 40) if len(table.rules) > 2 and len(table.asks) == 1)
    for smaller in reduced(table):
        assert len(smaller.rules) == len(table.rules) - 1 or smaller.asks != table.asks

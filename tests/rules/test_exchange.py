"""An exchange: what it knows of its packet, and what rules may change."""

from __future__ import annotations

import pytest

from tests.rules.made import Playground
from uwsgirouter.protocol.packet import BLOCK_MAX, decode_vars, encode_packet
from uwsgirouter.rules.base import Broken
from uwsgirouter.rules.exchange import Exchange

PAIRS = [(b"PATH_INFO", b"/1"), (b"A", b""), (b"B", b"b"), (b"PATH_INFO", b"/2"), (b"HTTP_COOKIE", b"c=1")]


def made(rules: str = "route-run = last:") -> Exchange:
    return Playground(rules).exchange(encode_packet(PAIRS, 5, 7))


@pytest.mark.parametrize("rules", ["route-run = last:", "route-run = log:${A} ${B} ${NEW}"])
def test_variables_that_the_table_looks_at_and_others(rules: str) -> None:
    exchange = made(rules)
    assert [exchange.variable(name) for name in (b"A", b"B", b"PATH_INFO", b"NOPE", b"")] == [
        b"",
        b"b",
        b"/2",
        b"",
        b"",
    ]
    assert [exchange.has(name) for name in (b"A", b"B", b"NOPE", b"NEW")] == [True, True, False, False]
    exchange.set_variable(b"NEW", b"n")
    exchange.set_variable(b"B", b"c")
    assert (exchange.variable(b"NEW"), exchange.has(b"NEW"), exchange.variable(b"B")) == (b"n", True, b"c")
    assert decode_vars(exchange.packet) == [*PAIRS, (b"NEW", b"n"), (b"B", b"c")]
    exchange.collected[b"B"] = b"from a header"
    assert exchange.variable(b"B") == b"from a header" and exchange.has(b"B")


@pytest.mark.parametrize("looked", [True, False])
def test_subjects_are_what_came(looked: bool) -> None:
    exchange = made()
    if looked:
        assert (exchange.subject(b"PATH_INFO"), exchange.variable(b"PATH_INFO")) == (b"/2", b"/2")
    exchange.set_variable(b"PATH_INFO", b"/3")
    exchange.set_variable(b"HTTP_COOKIE", b"c=2")
    assert (exchange.subject(b"PATH_INFO"), exchange.variable(b"PATH_INFO")) == (b"/2", b"/3")
    assert (exchange.subject(b"HTTP_COOKIE"), exchange.subject(b"NOPE")) == (b"c=1", b"")
    exchange.set_subject(b"PATH_INFO", b"/4")
    assert (exchange.subject(b"PATH_INFO"), exchange.variable(b"PATH_INFO")) == (b"/4", b"/4")


def test_a_request_that_is_full() -> None:
    exchange = made()
    before = exchange.packet
    with pytest.raises(Broken, match="BIG does not fit into the request: too large"):
        exchange.set_variable(b"BIG", b"x" * BLOCK_MAX)
    with pytest.raises(Broken, match="a variable without a name"):
        exchange.set_variable(b"", b"x")
    assert exchange.packet == before and not exchange.has(b"BIG")


def test_modifiers_and_identity() -> None:
    exchange = made()
    assert (exchange.modifiers, exchange.chosen) == ((5, 7), None)
    exchange.modifiers = (9, 0)
    assert (exchange.modifiers, exchange.chosen, decode_vars(exchange.packet)) == ((9, 0), (9, 0), PAIRS)
    assert exchange.uuid == exchange.uuid != made().uuid

"""Conditions that compare numbers, read as C's strtol reads them: what is no number is 0."""

from __future__ import annotations

from uwsgirouter.rules.arguments import number
from uwsgirouter.rules.base import Place, Test, condition
from uwsgirouter.rules.conditions.texts import compared


@condition("ishigher", ">")
def higher(argument: bytes, place: Place) -> Test:
    """A;B: A is more than B."""
    return compared(argument, place, lambda left, right: number(left) > number(right))


@condition("islower", "<")
def lower(argument: bytes, place: Place) -> Test:
    """A;B: A is less than B."""
    return compared(argument, place, lambda left, right: number(left) < number(right))


@condition("ishigherequal", ">=")
def higher_or_equal(argument: bytes, place: Place) -> Test:
    """A;B: A is B or more."""
    return compared(argument, place, lambda left, right: number(left) >= number(right))


@condition("islowerequal", "<=")
def lower_or_equal(argument: bytes, place: Place) -> Test:
    """A;B: A is B or less."""
    return compared(argument, place, lambda left, right: number(left) <= number(right))

"""Conditions that compare texts: equal, startswith, endswith, contains, empty, regexp."""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.rules.base import Place, Test, condition

Compare = Callable[[bytes, bytes], bool]


def compared(argument: bytes, place: Place, compare: Compare) -> Test:
    """``compare`` of what stands before and behind the first semicolon; never true without one."""
    left, semicolon, right = argument.partition(b";")
    if not semicolon:
        place.warn("there is no ; between what is compared, so the condition never holds")
        return lambda exchange: False
    first, second = place.template(left), place.template(right)
    wanted = place.constant(right)
    if wanted is None:
        return lambda exchange: compare(first(exchange, None), second(exchange, None))
    fixed = wanted
    return lambda exchange: compare(first(exchange, None), fixed)


@condition("equal", "isequal", "eq", "==")
def equal(argument: bytes, place: Place) -> Test:
    """A;B: the same bytes."""
    return compared(argument, place, lambda left, right: left == right)


@condition("startswith")
def startswith(argument: bytes, place: Place) -> Test:
    """A;B: A begins with B."""
    return compared(argument, place, bytes.startswith)


@condition("endswith")
def endswith(argument: bytes, place: Place) -> Test:
    """A;B: A ends with B."""
    return compared(argument, place, bytes.endswith)


@condition("contains", "contain")
def contains(argument: bytes, place: Place) -> Test:
    """A;B: B stands somewhere in A; an empty B stands nowhere."""
    return compared(argument, place, lambda left, right: bool(right) and right in left)


@condition("empty")
def empty(argument: bytes, place: Place) -> Test:
    """Nothing comes out."""
    text = place.template(argument)
    return lambda exchange: not text(exchange, None)


@condition("regexp", "re")
def regexp(argument: bytes, place: Place) -> Test:
    """A;PATTERN: the pattern matches; $0 to $9 are then its groups. The pattern is taken as it stands."""
    left, semicolon, right = argument.partition(b";")
    if not semicolon:
        place.warn("there is no ; before the pattern, so the condition never holds")
        return lambda exchange: False
    subject = place.template(left)
    search = place.search(right)
    return lambda exchange: search(subject(exchange, None))

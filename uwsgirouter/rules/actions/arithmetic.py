"""``+ - * /``: sums with a variable.

One idea: a variable is a number of 64 bits; the result is appended as uWSGI writes it (a negative one as an
unsigned number, observed on 2.0.31).
"""

from __future__ import annotations

from collections.abc import Callable

from uwsgirouter.rules.arguments import DIGITS_MOST, number, shown
from uwsgirouter.rules.base import Act, BadRule, Broken, Found, Make, Place, Verdict, action
from uwsgirouter.rules.exchange import Exchange

_MASK = (1 << 64) - 1


def quotient(value: int, by: int) -> int:
    """Towards zero, as C divides; 0 when ``by`` is."""
    if not by:
        return 0
    size = abs(value) // abs(by)
    return size if (value < 0) == (by < 0) else -size


def _value(text: bytes) -> int:
    """A number; also what an earlier step wrote of a negative one."""
    value = int(text) if text.isdigit() and len(text) <= DIGITS_MOST else 0
    return value - (_MASK + 1) if _MASK >> 1 < value <= _MASK else number(text)


def _math(step: Callable[[int, int], int]) -> Make[Act]:
    def make(argument: bytes, place: Place) -> Act:
        name, comma, text = argument.partition(b",")
        if not name:
            raise BadRule("expected VAR,N")
        place.variable(name)
        by = place.template(text if comma else b"1")

        def act(exchange: Exchange, found: Found) -> Verdict:
            if not exchange.has(name):
                raise Broken(f"there is no variable {shown(name)} to calculate with")
            result = step(_value(exchange.variable(name)), number(by(exchange, found)))
            exchange.set_variable(name, b"%d" % (result & _MASK))
            return Verdict.NEXT

        return act

    return make


action("+")(_math(lambda value, by: value + by))
action("-")(_math(lambda value, by: value - by))
action("*")(_math(lambda value, by: value * by))
action("/")(_math(quotient))

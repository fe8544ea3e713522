"""``${math[expression]}``: sums over variables, as GNU matheval calculates them for uWSGI.

One idea: a small grammar read once into functions of floating point numbers, so nothing that a request brings can
become code, nor make a number that takes long. The result is a whole number, cut towards zero; what has no value (a
division by zero, too large) is 0.

    sum     = product { ("+" | "-") product }
    product = sign { ("*" | "/") sign }
    sign    = { "-" | "+" } power
    power   = atom [ "^" sign ]
    atom    = number | VARIABLE | function "(" sum ")" | "(" sum ")"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from uwsgirouter.rules.base import BadRule, Place, Value, variable
from uwsgirouter.rules.exchange import Exchange

LONGEST = 1000
"""Bytes of an expression."""
DEEPEST = 50
"""Parentheses and signs within each other."""
_BITS = 63

Sum = Callable[[Exchange], float]

_TOKENS = re.compile(rb"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+|[A-Za-z_][A-Za-z0-9_]*|[-+*/^()])")
_NUMBER = re.compile(rb"\s*([+-]?[0-9]{1,300}(?:\.[0-9]{1,30})?)")
_FUNCTIONS: dict[bytes, Callable[[float], float]] = {
    b"abs": abs,
    b"sqrt": math.sqrt,
    b"exp": math.exp,
    b"log": math.log,
    b"step": lambda value: 0.0 if value < 0 else 1.0,
    b"delta": lambda value: 0.0 if value else 1.0,
}


class _Reader:
    """One expression, from left to right."""

    def __init__(self, text: bytes, place: Place) -> None:
        self._place = place
        self._tokens = _cut(text)
        self._position = 0
        self._depth = 0

    def whole(self) -> Sum:
        """The function of all of it. Raises :class:`BadRule`."""
        found = self._sum()
        if self._next():
            raise BadRule(f"math: {_shown(self._next())} is left over; {_ALLOWED}")
        return found

    def _next(self) -> bytes:
        return self._tokens[self._position] if self._position < len(self._tokens) else b""

    def _take(self) -> bytes:
        token = self._next()
        self._position += 1
        return token

    def _sum(self) -> Sum:
        left = self._product()
        while self._next() in (b"+", b"-"):
            left = _joined(self._take(), left, self._product())
        return left

    def _product(self) -> Sum:
        left = self._sign()
        while self._next() in (b"*", b"/"):
            left = _joined(self._take(), left, self._sign())
        return left

    def _sign(self) -> Sum:
        negative = False
        while self._next() in (b"+", b"-"):
            negative ^= self._take() == b"-"
        found = self._power()
        return (lambda exchange: -found(exchange)) if negative else found

    def _power(self) -> Sum:
        base = self._atom()
        if self._next() != b"^":
            return base
        self._take()
        self._enter()
        exponent = self._sign()
        self._depth -= 1
        return lambda exchange: math.pow(base(exchange), exponent(exchange))

    def _atom(self) -> Sum:
        token = self._take()
        if token == b"(":
            return self._inside()
        if token in _FUNCTIONS and self._next() == b"(":
            function, argument = _FUNCTIONS[token], self._parentheses()
            return lambda exchange: function(argument(exchange))
        if token[:1].isalpha() or token[:1] == b"_":
            self._place.variable(token)
            return lambda exchange: _number(exchange.variable(token))
        if not token or token in b"+-*/^)":
            raise BadRule(f"math: a number or a variable is missing {_where(token)}; {_ALLOWED}")
        value = float(token)
        return lambda exchange: value

    def _parentheses(self) -> Sum:
        self._take()
        return self._inside()

    def _inside(self) -> Sum:
        self._enter()
        found = self._sum()
        if self._take() != b")":
            raise BadRule(f"math: a ) is missing; {_ALLOWED}")
        self._depth -= 1
        return found

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadRule(f"math: more than {DEEPEST} parentheses within each other")


_ALLOWED = f"expected sums of numbers and variables with + - * / ^ ( ) and {', '.join(map(bytes.decode, _FUNCTIONS))}"


def _cut(text: bytes) -> list[bytes]:
    if len(text) > LONGEST:
        raise BadRule(f"math: {len(text)} bytes, at most {LONGEST}")
    tokens = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKENS.match(text, position)
        if not found:
            raise BadRule(f"math: {_shown(text[position:])} is no part of a sum; {_ALLOWED}")
        tokens.append(found[1])
        position = found.end()
    return tokens


def _shown(text: bytes) -> str:
    return repr(text[:32].decode("utf-8", "backslashreplace"))


def _where(token: bytes) -> str:
    return f"before {_shown(token)}" if token else "at the end"


def _number(text: bytes) -> float:
    found = _NUMBER.match(text)
    return float(found[1]) if found else 0.0


def _joined(operator: bytes, left: Sum, right: Sum) -> Sum:
    if operator == b"+":
        return lambda exchange: left(exchange) + right(exchange)
    if operator == b"-":
        return lambda exchange: left(exchange) - right(exchange)
    if operator == b"*":
        return lambda exchange: left(exchange) * right(exchange)
    return lambda exchange: left(exchange) / right(exchange)


@variable("math")
def calculated(argument: bytes, place: Place) -> Value:
    """The value of an expression, whole."""
    outcome = _Reader(argument, place).whole()

    def value(exchange: Exchange) -> bytes:
        try:
            found = outcome(exchange)
            return b"%d" % (int(found) if abs(found) < 2.0**_BITS else 0)
        except (ArithmeticError, ValueError):
            return b"0"

    return value

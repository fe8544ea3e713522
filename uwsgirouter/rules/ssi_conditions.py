"""What stands in ``<!--#if expr="..." -->``: Apache's older language, of which nginx's is a part.

One idea: strings, ``=``, ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``/patterns/``, ``!``, ``&&``, ``||`` and
brackets. A string alone holds when it is not empty. Variables are filled in after the text was taken apart, so a value
is never read as a part of the language. Pure. Invariant: how deep a test may be is bounded.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from uwsgirouter.errors import RouterError

DEPTH_MOST = 16
PATTERN_MOST = 256
"""Bytes of a pattern."""
TEXT_MOST = 4096
"""Bytes of a text that a pattern is looked for in."""

_TOKEN = re.compile(
    rb"""\s*(?:(\|\||&&|==|!=|<=|>=|[=<>!()])|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\""""
    rb"""|((?:[^\s=<>!()&|'"]|&(?!&)|\|(?!\|))+))"""
)
_COMPARE: dict[bytes, Callable[[bytes, bytes], bool]] = {
    b"=": operator.eq,
    b"==": operator.eq,
    b"!=": operator.ne,
    b"<": operator.lt,
    b"<=": operator.le,
    b">": operator.gt,
    b">=": operator.ge,
}
Expand = Callable[[bytes], bytes]
Token = tuple[bytes, bool]
"""Its text, and whether it is a part of the language."""


class BadTest(RouterError):
    """What is no test; ``str()`` says why."""


def holds(text: bytes, expand: Expand) -> bool:
    """Whether ``text`` holds; ``expand`` fills variables into a string. Raises :class:`BadTest`."""
    return _Test(_tokens(text), expand).result()


def _tokens(text: bytes) -> list[Token]:
    tokens: list[Token] = []
    position, text = 0, text.strip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise BadTest(f"{text[position:][:40]!r} is no test")
        string = next((group for group in found.groups()[1:] if group is not None), None)
        tokens.append((found[1], True) if string is None else (string, False))
        position = found.end()
    return tokens


class _Test:
    def __init__(self, tokens: list[Token], expand: Expand) -> None:
        self._tokens = tokens
        self._at = 0
        self._expand = expand
        self._depth = 0

    def result(self) -> bool:
        if not self._tokens:
            raise BadTest("an empty test")
        value = self._any()
        if self._at < len(self._tokens):
            raise BadTest(f"{self._tokens[self._at][0][:40]!r} does not belong there")
        return value

    def _next(self, *words: bytes) -> bytes:
        """Take the next token if it is one of ``words``; else nothing."""
        if self._at < len(self._tokens):
            text, is_word = self._tokens[self._at]
            if is_word and text in words:
                self._at += 1
                return text
        return b""

    def _any(self) -> bool:
        value = self._all()
        while self._next(b"||"):
            value = self._all() or value
        return value

    def _all(self) -> bool:
        value = self._one()
        while self._next(b"&&"):
            value = self._one() and value
        return value

    def _one(self) -> bool:
        self._depth += 1
        if self._depth > DEPTH_MOST:
            raise BadTest("a test is too deep")
        try:
            if self._next(b"!"):
                return not self._one()
            if self._next(b"("):
                value = self._any()
                if not self._next(b")"):
                    raise BadTest("a bracket is not closed")
                return value
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> bool:
        left = self._expand(self._string())
        word = self._next(*_COMPARE)
        if not word:
            return left != b""
        right = self._string()
        if len(right) > 1 and right[:1] == right[-1:] == b"/" and word in (b"=", b"==", b"!="):
            return _matches(right[1:-1], left) is (word != b"!=")
        return _COMPARE[word](left, self._expand(right))

    def _string(self) -> bytes:
        """Strings beside each other are one, with a space between."""
        parts = []
        while self._at < len(self._tokens) and not self._tokens[self._at][1]:
            parts.append(self._tokens[self._at][0])
            self._at += 1
        if not parts:
            raise BadTest("something to compare is missing")
        return b" ".join(parts)


def _matches(pattern: bytes, text: bytes) -> bool:
    if len(pattern) > PATTERN_MOST:
        raise BadTest(f"a pattern of more than {PATTERN_MOST} bytes")
    try:
        return re.search(pattern, text[:TEXT_MOST]) is not None
    except re.error as error:
        raise BadTest(f"the pattern {pattern!r}: {error}") from None

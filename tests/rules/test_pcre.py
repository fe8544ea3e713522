"""Patterns beside PCRE itself: random ones of a grammar that has every construct, over texts that tell them apart.

The library is libpcre2, with which uWSGI runs patterns; it is called by its own interface (pcre2api).
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p

import pytest

from tests.rules.test_pattern import FOUND
from uwsgirouter.rules.base import BadRule
from uwsgirouter.rules.pattern import searching

TOKENS = [
    *(
        rb"a b A . ^ $ | ( ) (?: (?= (?! (?<=a) (?<!b) (?P<n> (?> * + ? *? +? ++ *+ {2} {1,2} {a { } ] - # [ab] "
        rb"[^a] [a-b-] []a] [^]a] [[a] [a&&b] [a||b] [--a] [\b] [\x61-b] [\141] [\d-] [\v] [^\v] \w \W \d \s \b "
        rb"\B \A \Z \z \1 \2 \n \t \f \0 \v \e \ca \x41 \x4 \x{62} \012 \141 \o{101} \- \. \/ \[ \< \_ (?i) "
        rb"(?s) (?m) (?x) (?i: (?-i: (?s-m: (?#x) (?P=n) (?(1)a|b)"
    ).split(b" "),
    b" ",
    b"\n",
    b"\xe9",
]
TEXTS = (
    b"", b"a", b"b", b"ab", b"ba\n", b"aab", b"\nab", b"a\nb\n", b"A a", b"a-b", b"aXb\x0b\x85", b"{a", b"a\n\n",
    b"bb-[", b"\x00a\x1b\x01\x04", b"#a b", b"aaabbb", b"abab", b"\xe9a", b"xa\nba",
)  # fmt: skip

Spans = tuple[tuple[int, int], ...] | None


class Pcre:
    """The library: ``find(pattern, text)`` gives the spans of the match and of its groups."""

    def __init__(self) -> None:
        self._library = library = ctypes.CDLL("libpcre2-8.so.0")  # Debian's grep needs it, so it is there
        library.pcre2_compile_8.restype = c_void_p
        library.pcre2_compile_8.argtypes = [c_char_p, c_size_t, c_uint32, POINTER(c_int), POINTER(c_size_t), c_void_p]
        library.pcre2_code_free_8.argtypes = [c_void_p]
        library.pcre2_match_data_create_from_pattern_8.restype = c_void_p
        library.pcre2_match_data_create_from_pattern_8.argtypes = [c_void_p, c_void_p]
        library.pcre2_match_data_free_8.argtypes = [c_void_p]
        library.pcre2_match_8.argtypes = [c_void_p, c_char_p, c_size_t, c_size_t, c_uint32, c_void_p, c_void_p]
        library.pcre2_get_ovector_pointer_8.restype = POINTER(c_size_t)
        library.pcre2_get_ovector_pointer_8.argtypes = [c_void_p]
        library.pcre2_get_ovector_count_8.argtypes = [c_void_p]

    def compile(self, pattern: bytes) -> int | None:
        """None for what PCRE refuses. To be freed."""
        code, offset = c_int(), c_size_t()
        made = self._library.pcre2_compile_8(pattern, len(pattern), 0, byref(code), byref(offset), None)
        return int(made) if made else None

    def free(self, code: int) -> None:
        self._library.pcre2_code_free_8(code)

    def find(self, code: int, text: bytes) -> Spans:
        data = self._library.pcre2_match_data_create_from_pattern_8(code, None)
        try:
            count = self._library.pcre2_match_8(code, text, len(text), 0, 0, data, None)
            if count == -1:
                return None
            assert count > 0, f"error {count}"
            pairs = self._library.pcre2_get_ovector_pointer_8(data)
            groups = self._library.pcre2_get_ovector_count_8(data)
            spans = [(pairs[2 * index], pairs[2 * index + 1]) for index in range(groups)]
            unset = c_size_t(-1).value
            return tuple((-1, -1) if n >= count or span[0] == unset else span for n, span in enumerate(spans))
        finally:
            self._library.pcre2_match_data_free_8(data)


@pytest.fixture(scope="module")
def pcre() -> Pcre:
    return Pcre()


@pytest.mark.parametrize(("pattern", "text", "span"), FOUND)
def test_the_table_of_the_other_tests_is_right(
    pcre: Pcre, pattern: bytes, text: bytes, span: tuple[int, int] | None
) -> None:
    code = pcre.compile(pattern)
    if code is None:
        assert pattern == rb"[\w-.]+"  # refused there; it can only mean one thing
        return
    found = pcre.find(code, text)
    pcre.free(code)
    assert (found and found[0]) == span


def patterns(count: int) -> Iterator[bytes]:
    dice = random.Random(2031)
    for _ in range(count):
        pattern = b"".join(dice.choices(TOKENS, k=dice.randint(1, 7)))
        yield pattern + b")" * max(0, pattern.count(b"(") - pattern.count(b")"))


def test_random_patterns_find_the_same(pcre: Pcre) -> None:
    compared = 0
    for pattern in patterns(4000):
        code = pcre.compile(pattern)
        if code is None:
            continue
        try:
            search = searching(pattern)
        except BadRule:
            pcre.free(code)
            continue
        compared += 1
        for text in TEXTS:
            found = search(text)
            spans = None if found is None else tuple(found.span(group) for group in range(found.re.groups + 1))
            assert spans == pcre.find(code, text), (pattern, text)
        pcre.free(code)
    assert compared > 1000

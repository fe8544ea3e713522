"""PCRE's patterns: what is refused and how to write it, what is written otherwise, what is found as PCRE finds it."""

from __future__ import annotations

import re
import sys

import pytest

from uwsgirouter.rules.base import BadRule
from uwsgirouter.rules.pattern import compiled, searching

ATOMIC = sys.version_info >= (3, 11)

REFUSED = [
    (r"a\Kb", 1, "re has no \\K; put what $0 shall be into a group and use $1"),
    (r"\Qa.b\E", 0, "put a \\ before each special sign"),
    (r"a\h+", 1, "write [ \\t\\xa0]"),
    (r"[\h]", 1, "write [ \\t"),
    (r"\Ra", 0, "write (?:\\r\\n|"),
    (r"\N", 0, "write [^\\n]"),
    (r"\p{Lu}", 0, "write a class of bytes"),
    (r"(a)\g{1}", 3, "write \\1"),
    (r"\k<n>", 0, "write (?P=name)"),
    (r"x\Ga", 1, "write \\A"),
    (r"(?R)", 0, "there is no recursion"),
    (r"a(?1)", 1, "there is no recursion"),
    (r"(?-1)", 0, "there is no recursion"),
    (r"(?P>n)", 0, "there is no recursion"),
    (r"(?&n)", 0, "there is no recursion"),
    (r"(?|(a)|(b))", 0, "use (?:...)"),
    (r"(?<n>a)", 0, "write (?P<name>...)"),
    (r"(?'n'a)", 0, "write (?P<name>...)"),
    (r"(?(R)a|b)", 0, "(?(1)yes|no)"),
    (r"(?(?=a)b|c)", 0, "write (?:(?=a)b|(?!a)c)"),
    (r"(?C1)a", 0, "callouts"),
    (r"(*UTF8)a", 0, "verbs"),
    (r"(?U)a", 0, "only the flags i, m, s and x"),
    (r"(?u)a", 0, "only the flags i, m, s and x"),
    (r"a(?i)b", 1, "write (?i:...) around"),
    (r"[[:alpha:]]", 1, "write [A-Za-z] for [[:alpha:]]"),
    (r"x[^[:^digit:]]", 3, "write [^0-9]"),
    (r"[[:foo:]]", 1, "an unknown class"),
    (r"a{,3}", 1, r"write {0,3}, or \{,3\}"),
    (r"a{2}{3}", 4, "put (?:...) around"),
    (r"(?<=a|bc)d", 0, "write (?:(?<=a)|(?<=bc))"),
    (r"\x{100}", 0, "patterns are bytes"),
    (r"(a)\2", 3, "invalid group reference"),
    (r"ab(", 2, "missing )"),
    (r"a)", 1, "unbalanced"),
    (r"x[a", 1, "unterminated"),
    (r"a\B{2}", 3, "nothing to repeat"),
    (r"a\Z*", 3, "nothing to repeat"),
    (r"(?m)^+a", 5, "nothing to repeat"),
    (r"\y", 0, "bad escape"),
    ("a\\", 1, "bad escape (end of pattern)"),
]


@pytest.mark.parametrize(("text", "position", "said"), REFUSED)
def test_refused_with_the_position_and_a_way_to_write_it(text: str, position: int, said: str) -> None:
    with pytest.raises(BadRule) as caught:
        compiled(text.encode())
    assert f"bad regular expression at position {position} (" in str(caught.value)
    assert said in str(caught.value)


def test_the_position_is_that_of_the_text_as_it_was_written() -> None:
    with pytest.raises(BadRule, match=r"at position 9 \('\*b'\)"):
        compiled(rb"\e\v\Z(a**b")


@pytest.mark.parametrize("text", [b"a++", b"(?>a+)", b"a{1,2}+"])
def test_possessive_and_atomic(text: bytes) -> None:
    if ATOMIC:
        assert compiled(b"^" + text + b"a").search(b"aaa") is None or text == b"a{1,2}+"
    else:
        with pytest.raises(BadRule, match=r"Python 3\.11"):
            compiled(text)


FOUND = [
    # What re would understand otherwise (or not at all), as PCRE does.
    (rb"^a\Z", b"a\n", (0, 1)),
    (rb"^a\z", b"a\n", None),
    (rb"^a$", b"a\n", (0, 1)),
    (rb"^a$", b"a\n\n", None),
    (rb"(?m)^$", b"a\n", None),
    (rb"(?m)^b$", b"a\nb\nc", (2, 3)),
    (rb"\B", b"", (0, 0)),
    (rb"a\B", b"a ab", (2, 3)),
    (rb"\v", b"a\x85", (1, 2)),
    (rb"[x\v]+", b"a\x0c\rx\n", (1, 5)),
    (rb"\x4z", b"\x04z", (0, 2)),
    (rb"\x{41}\cA\e\o{102}", b"A\x01\x1bB", (0, 4)),
    (rb"[\w-.]+", b"!a-.", (1, 4)),
    (rb"[[a]+", b"x[a[", (1, 4)),
    (rb"[a&&b||~~]+", b"&|~", (0, 3)),
    (rb"[]x]+", b"]x", (0, 2)),
    (rb"[^]x]+", b"]a", (1, 2)),
    (rb"a{x}", b"a{x}", (0, 4)),
    (rb"a{,}", b"a{,}", (0, 4)),
    (rb"{a", b"{a", (0, 2)),
    (rb"(?i)(?s)A.B", b"a\nb", (0, 3)),
    (rb"(?i:a)b", b"Ab", (0, 2)),
    (rb"(?x) a b # c (?| \\ d" + b"\n c", b"abc", (0, 3)),
    (rb"a(?#(?| comment)b", b"ab", (0, 2)),
    (rb"(?P<n>x)(?P=n)(?(n)y|z)", b"xxy", (0, 3)),
    (rb"^.$", "é".encode(), None),
    (rb"a.b", b"a\nb", None),
    (rb"[^x]", b"\n", (0, 1)),
    (rb"\s", b"\x0b", (0, 1)),
    (b"", b"abc", (0, 0)),
]


@pytest.mark.parametrize(("pattern", "text", "span"), FOUND)
def test_found_where_pcre_finds_it(pattern: bytes, text: bytes, span: tuple[int, int] | None) -> None:
    found = searching(pattern)(text)
    assert (found and found.span()) == span


@pytest.mark.parametrize(
    "pattern",
    [
        b"^a", rb"\Aa", b"^a|b", b"(?m)^a", b"(?i)^A", b".*a", b"(.*)a", b"(.*?)a(.)?", b"(?s).*a", b"(?i)(.*)A", b".+",
        b"(.+)b",
        rb"(.*)a\1", b".*a|b", b"(?m).*a$", b".*", b"(.*)+b", b".*{1}", b"((.*)b)", b"(?x).*a",
    ],
)  # fmt: skip
def test_a_search_that_knows_where_to_begin_finds_the_same(pattern: bytes) -> None:
    texts = [b"", b"a", b"\n", b"ba", b"a\nb", b"b\na\n", b"xx\nyayb\n", b"ab\nba", b"\n\naab", b"A\na{1}a"]
    try:
        plain = compiled(pattern).search
    except BadRule:
        assert pattern == b".*{1}"
        return
    for text in texts:
        found, expected = searching(pattern)(text), plain(text)
        assert (found and (found.span(), found.groups())) == (expected and (expected.span(), expected.groups()))


def test_a_pattern_that_begins_with_anything_is_no_square() -> None:
    agent = b"Mozilla/5.0 (X11; Linux x86_64) " * 2000
    assert searching(b".*curl.*")(agent) is None
    assert searching(b"(.*)Linux")(agent) is not None
    assert isinstance(searching(b"a"), type(re.compile(b"a").search))

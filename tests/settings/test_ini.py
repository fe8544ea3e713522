"""Cutting an ini file into lines: the dialect's characters, and the numbers of the lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.ini import Line, parse


def one(text: str) -> tuple[str, str]:
    line = parse(f"[s]\n{text}\n", "f.ini")[0]
    return line.key, line.value


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a = b", "a", "b"),
        ("a=b", "a", "b"),
        ("  a\t=\t b  ", "a", "b"),
        ("a = b\r", "a", "b"),
        ("a", "a", ""),
        ("a =", "a", ""),
        ("a = b = c", "a", "b = c"),
        ("a = b ; c", "a", "b ; c"),
        ("a = b # c", "a", "b # c"),
        ("a = # c", "a", "# c"),
        ("a = 'b'", "a", "'b'"),
        ('a = "b" c', "a", '"b" c'),
        ('a = """b', "a", '"""b'),
        ("a = '''", "a", "'''"),
        ("a = b\\", "a", "b\\"),
        ("a = b, c,", "a", "b, c,"),
        ("a = [b]", "a", "[b]"),
        ("a = %(b)s ${c}", "a", "%(b)s ${c}"),
        ("a = ~t~~h~", "a", "~t~~h~"),
        ("a b = c", "a b", "c"),
        ("'a' = c", "'a'", "c"),
        ("a;b#c = d", "a;b#c", "d"),
        ("a : b", "a : b", ""),
    ],
)
def test_one_line(text: str, key: str, value: str) -> None:
    assert one(text) == (key, value)


def test_comments_and_blank_lines_count_as_lines() -> None:
    text = "\n; one\n[s]\n  # two\n\na = 1\n ; three\na = 2"
    assert parse(text, "f") == [Line(6, "s", "a", "1"), Line(8, "s", "a", "2")]


def test_sections_repeat_and_keep_their_order() -> None:
    text = "top = 0\n[a]\nx = 1\n[b]\nx = 2\n[ a ]\nx = 3\n[a:b c]\nx = 4\n[]\nx = 5"
    lines = parse(text, "f")
    assert [(line.section, line.value) for line in lines] == [
        ("", "0"),
        ("a", "1"),
        ("b", "2"),
        ("a", "3"),
        ("a:b c", "4"),
        ("", "5"),
    ]


def test_an_empty_file_has_no_lines() -> None:
    assert parse("", "f") == []
    assert parse("[a]\n", "f") == []


@pytest.mark.parametrize(
    ("text", "place"), [("\n[uwsgi\n", "f.ini:2"), ("[uwsgi]x\n", "f.ini:1"), ("\n\n = a", "f.ini:3")]
)
def test_a_broken_line_is_an_error_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.ini")
    assert caught.value.where == place


TEXT = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=("Cs",)), max_size=40)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
def test_any_value_comes_back_as_it_was(pairs: list[tuple[str, str]]) -> None:
    wanted = [
        (key.strip(" \t"), value.strip(" \t"))
        for key, value in pairs
        if key.strip(" \t") and key.strip(" \t")[0] not in ";#[" and "=" not in key
    ]
    text = "[s]\n" + "\n".join(f"{key} = {value}" for key, value in wanted)
    assert [(line.key, line.value) for line in parse(text, "f")] == wanted


@given(st.text(max_size=200))
def test_any_text_gives_lines_or_an_error_with_a_place(text: str) -> None:
    try:
        lines = parse(text, "f")
    except ConfigError as error:
        assert error.where.startswith("f:")
    else:
        assert [line.number for line in lines] == sorted(line.number for line in lines)

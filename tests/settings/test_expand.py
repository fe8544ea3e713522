"""The three passes over the values, and placeholder arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.expand import Entry, Expansion, calculate, unresolved


def expand(pairs: list[tuple[str, str]], env: Mapping[str, str] | None = None, cwd: str = "/") -> list[str]:
    entries = [Entry(name, text, f"f:{number}") for number, (name, text) in enumerate(pairs, 1)]
    Expansion(entries, env or {}, cwd)
    return [entry.text for entry in entries]


def test_a_placeholder_may_stand_before_or_after() -> None:
    assert expand([("a", "%(b)"), ("b", "1"), ("c", "%(b)%(b)")]) == ["1", "1", "11"]


def test_the_first_value_of_a_name_counts() -> None:
    assert expand([("a", "1"), ("a", "%(a)2"), ("b", "%(a)")]) == ["1", "12", "1"]


def test_what_a_placeholder_brings_is_expanded() -> None:
    assert expand([("a", "%(b)"), ("b", "%(c)"), ("c", "end")]) == ["end", "end", "end"]


@pytest.mark.parametrize("pairs", [[("a", "%(a)")], [("a", "%(b)"), ("b", "%(a)")], [("a", "%(a + 1)")]])
def test_a_circle_is_an_error(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ConfigError, match=r"f:1: %\(a\) stands for itself"):
        expand(pairs)


def test_the_environment_comes_first() -> None:
    env = {"HOME": "/root", "EMPTY": "", "HIDDEN": "%(b)", "AGAIN": "$(HOME)"}
    texts = {
        "$(HOME)/x": "/root/x",
        "$(UNSET)": "$(UNSET)",
        "$(EMPTY)|": "|",
        "$(UNSET:-d)$(EMPTY:-d)$(HOME:-d)": "dd/root",
        "$(UNSET-d)$(EMPTY-d)$(HOME-d)": "d/root",
        "$(UNSET:-a-b:c)": "a-b:c",
        "$(HIDDEN)": "7",
        "$(AGAIN)": "$(HOME)",
        "$HOME $() $(HO": "$HOME $() $(HO",
    }
    for text, wanted in texts.items():
        assert expand([("a", text), ("b", "7")], env)[0] == wanted, text


def test_a_files_content_loses_one_line_break(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("  two\nlines\n\n")
    (tmp_path / "other").write_text("%(b)")
    assert expand([("a", "@(name)|")], cwd=str(tmp_path)) == ["  two\nlines\n|"]
    assert expand([("a", "@($(F))"), ("b", "1")], {"F": "other"}, str(tmp_path))[0] == "1"


@pytest.mark.parametrize(
    ("text", "message"), [("@(/no/such)", "No such file"), ("@(http://x/y)", "only files are read")]
)
def test_a_file_that_cannot_be_read_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        expand([("a", text)])
    assert caught.value.where == "f:1"


def test_parentheses_balance() -> None:
    assert expand([("a", "%(b)(c) %(b ( c))"), ("b", "1")])[0] == "1(c) 1"
    assert expand([("a", "%(b(c))"), ("b(c)", "1")])[0] == "1"
    assert expand([("a", "%() %(b")])[0] == "%() %(b"


def test_used_names_are_known() -> None:
    entries = [Entry("a", "%(b) %(c + d) %(missing)", "f"), Entry("b", "1", "f")]
    assert Expansion(entries, {}, "/").used == {"b", "c", "d", "missing"}


@pytest.mark.parametrize(
    ("formula", "result"),
    [
        ("1 + 2", "3"),
        (" 1 + 2 ", "3"),
        ("foo + bar + 3 * 2", "100"),
        ("foo ++", "18"),
        ("foo --", "16"),
        ("foo bar", "1730"),
        ("bar / 7", "4"),
        ("foo - bar / 4", "-3"),
        ("bar / 0", "0"),
        ("nope + 2", "2"),
        ("- 3", "-3"),
        ("5 ++ 3", "63"),
        ("text + 1", "1"),
        ("nope ++", ""),
        ("", ""),
    ],
)
def test_arithmetic(formula: str, result: str) -> None:
    values = {"foo": "17", "bar": "30", "text": "abc"}
    assert calculate(formula, lambda name: values.get(name, "")) == result


def test_what_is_left_unresolved_is_found() -> None:
    assert unresolved("a %(b) c") == "%(b)"
    assert unresolved("$(X):80") == "$(X)"
    assert unresolved("a (b) 100% $x") is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text("ab%$@() +1", max_size=12)), max_size=6))
def test_any_values_expand_or_give_an_error(pairs: list[tuple[str, str]]) -> None:
    try:
        texts = expand(pairs, {"a": "1"}, "/nonexistent")
    except ConfigError as error:
        assert error.where.startswith("f:")
    else:
        assert len(texts) == len(pairs)

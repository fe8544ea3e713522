"""Whose sessions are cut: the keys with most of them by name, the rest as a number."""

from __future__ import annotations

from uwsgirouter.model.cut import NAMED_MOST, whose
from uwsgirouter.model.table import FALLBACK_KEY, STATIC_KEY


def test_nobody() -> None:
    assert whose([]) == ""


def test_keys_and_counts_the_most_first() -> None:
    assert whose([b"b", b"a", b"a"]) == "a 2, b 1"


def test_slots_of_the_configuration_have_their_options_names() -> None:
    assert whose([FALLBACK_KEY, FALLBACK_KEY, b"x"]) == "fastrouter-fallback 2, x 1"
    assert whose([STATIC_KEY]) == "fastrouter-to 1"


def test_many_keys_are_a_number() -> None:
    keys = [b"busy"] * 5 + [b"key-%d" % number for number in range(NAMED_MOST + 3)]
    text = whose(keys)
    assert text.startswith("busy 5, key-0 1, ")
    assert text.endswith(" and 4 of 4 other keys")
    assert whose(keys[: 5 + NAMED_MOST]).endswith(" and 1 of 1 other key")


def test_a_key_is_what_anybody_sent() -> None:
    assert whose([b"a\n\x1b[31m"]) == "a\\n\\x1b[31m 1"

"""How a rule is cut: at its first space, and its action at the first colon."""

from __future__ import annotations

import pytest

from uwsgirouter.rules.base import BadRule, ChainName
from uwsgirouter.rules.grammar import KEYS, take_apart


def test_a_pattern_and_an_action() -> None:
    rule = take_apart("error-route-user-agent", "^curl/ addheader:X: a b:c", "r:1")
    assert rule.key == (KEYS["error-route-user-agent"]) and rule.key.chain is ChainName.ERROR
    assert (rule.pattern, rule.action, rule.argument) == (b"^curl/", b"addheader", b"X: a b:c")
    assert (rule.condition, rule.label, rule.negated) == (b"", None, False)


def test_a_condition_with_colons_of_its_own() -> None:
    rule = take_apart("route-if-not", "equal:${HTTP_X};a:b log:no", "r:1")
    assert (rule.condition, rule.pattern, rule.action, rule.argument) == (b"equal", b"${HTTP_X};a:b", b"log", b"no")
    assert rule.negated and not take_apart("route-if", "empty: last:", "r:1").negated


def test_a_run_is_all_action_and_a_label_all_label() -> None:
    rule = take_apart("response-route-run", "addheader:X: y", "r:1")
    assert (rule.pattern, rule.action, rule.argument) == (b"", b"addheader", b"X: y")
    assert take_apart("route-label", "two words: x", "r:1").label == b"two words: x"


def test_texts_are_bytes() -> None:
    assert take_apart("route", "\udce9 log:é", "r:1").pattern == b"\xe9"


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("route", "log:x", "no space; expected PATTERN ACTION:ARGUMENT"),
        ("route", "^/ last", "no colon behind the action 'last' (an action without an argument has one too)"),
        ("route", "^/  last:", "a space too much before or behind the action 'last'"),
        ("route", "^/ last :", "a space too much before or behind the action 'last'"),
        ("route-run", "last", "no colon behind the action 'last'"),
        ("route-if", "equal log:x", "no colon in the condition 'equal'; expected CONDITION:ARGUMENT ACTION:ARGUMENT"),
        ("route-if", "empty:x", "no space; expected CONDITION:ARGUMENT"),
    ],
)
def test_what_is_no_rule(option: str, text: str, said: str) -> None:
    with pytest.raises(BadRule) as caught:
        take_apart(option, text, "r:1")
    assert said in str(caught.value)

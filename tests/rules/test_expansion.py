"""$0..$9 and ${...}: the odd forms, and that what a client sends is never looked at again."""

from __future__ import annotations

import pytest

from tests.rules.made import Playground
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.expansion import Braces, Group, cut


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (b"", ()),
        (b"plain", (b"plain",)),
        (b"$1", (Group(1),)),
        (b"a$0b$9c", (b"a", Group(0), b"b", Group(9), b"c")),
        (b"$10", (Group(1), b"0")),
        (b"$x$", (b"$x",)),
        (b"$$1", (b"$$1",)),
        (b"$$$1", (b"$$", Group(1))),
        (b"$${X}", (b"$${X}",)),
        (b"${X}", (Braces((b"X",)),)),
        (b"${}", (Braces(()),)),
        (b"${X", (b"${X",)),
        (b"${X$1", (b"${X", Group(1))),
        (b"${a$1b}c", (Braces((b"a", Group(1), b"b")), b"c")),
        (b"${x$}1", (Braces((b"x$",)), b"1")),
        (b"${qs[${X}]}", (Braces((b"qs[${X",)), b"]}")),
    ],
)
def test_the_pieces(text: bytes, pieces: tuple[object, ...]) -> None:
    assert cut(text) == pieces


@pytest.mark.parametrize("text", [b"$1", b"a$", b"$0$$", b"x${a$"])
def test_without_groups_a_dollar_is_a_dollar(text: bytes) -> None:
    assert cut(text, groups=False) == (text,)


def logged(rules: str, path: str = "/a/b", **variables: str | bytes) -> list[str]:
    return Playground(rules).get(path, **variables).log


def test_groups_of_the_rule_alone() -> None:
    rules = "route = ^/(.)/(.)(x)? log:[$0] [$1] [$2] [$3] [$4] $10\nroute-run = log:[$1]"
    assert logged(rules) == ["[/a/b] [a] [b] [] [] a0", "[]"]


def test_groups_of_a_condition() -> None:
    assert logged("route-if = regexp:${PATH_INFO};/(.)$ log:$1") == ["b"]
    assert logged("route-if = equal:a;a log:[$0$1]") == ["[]"]
    assert logged("route-if = equal:$1;$1 log:yes\nroute-if = equal:a$;a$ log:end\nroute-if = equal:a$;a log:no") == [
        "yes",
        "end",
    ]


def test_variables() -> None:
    text = "log:${REQUEST_METHOD}|${NOPE}|${}|${request_method}|${X"
    assert logged(f"route-run = {text}") == ["GET||||${X"]


def test_the_last_one_of_a_variable_counts() -> None:
    assert logged("route-run = addvar:A=1\nroute-run = addvar:A=2${A}\nroute-run = log:${A}", A="0") == ["21"]


def test_a_group_names_a_variable_and_cannot_leave_it() -> None:
    rules = "route = ^/(.*)$ log:${$1}|${cookie[$1]}"
    assert logged(rules, "/REMOTE_ADDR") == ["127.0.0.1|"]
    assert logged(rules, "/c", HTTP_COOKIE="a=1; c=2") == ["|2"]
    # What a client sends is a name and nothing else: no function, no end of the braces.
    assert logged(rules, "/cookie[a]", HTTP_COOKIE="a=1") == ["|"]
    assert logged(rules, "/a]}${REMOTE_ADDR}", HTTP_COOKIE="a=1") == ["|"]


def test_what_a_client_sends_is_not_expanded() -> None:
    rules = "route = ^/(.*) log:$1 ${HTTP_X} ${qs[x]}"
    assert logged(rules, "/${REMOTE_ADDR}?x=$1${PATH_INFO}", HTTP_X="${REMOTE_ADDR}$1") == [
        "${REMOTE_ADDR} ${REMOTE_ADDR}$1 $1${PATH_INFO}"
    ]


def test_an_unknown_function_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"rules:1: route-run = log:\$\{cokie\[a\]\}: unknown variable 'cokie'; did you mean"
    ):
        Playground("route-run = log:${cokie[a]}")
    with pytest.raises(ConfigError, match="unknown variable 'zzz'; there are base64 cookie "):
        Playground("route-run = log:${zzz[$1]}")

"""What must fit together among the options that find nodes."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.settings.files import Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.mapping_checks import WAYS, way

ROUTER = "[uwsgirouter]\nfastrouter = :3017\n"

LINES = {
    "fastrouter-use-cache": "fastrouter-use-cache = nodes\ncache2 = name=nodes,items=10",
    "fastrouter-use-pattern": "fastrouter-use-pattern = /tmp/%%s",
    "fastrouter-subscription-server": "fastrouter-subscription-server = 127.0.0.1:2626",
    "fastrouter-use-base": "fastrouter-use-base = /tmp/",
    "fastrouter-use-code-string": "fastrouter-use-code-string = 0:mapper.py:get",
    "fastrouter-use-socket": "fastrouter-use-socket = 0\nsocket = :3031",
    "fastrouter-to": "fastrouter-to = 127.0.0.1:3031",
}


def test_the_order_is_the_real_ones() -> None:
    assert list(LINES) == list(WAYS), "cache, pattern, subscription, base, code string, socket, to"


@pytest.mark.parametrize("name", [*LINES, None])
def test_one_way_alone(files: Files, name: str | None) -> None:
    lines = LINES[name] if name else ""
    settings = files.load(f"{ROUTER}{lines}\n")
    assert way(settings) == name
    told = [notice for notice in settings.notices if "way" in notice or "is not used" in notice]
    if name is None:
        (notice,) = told
        assert notice.startswith("there is no way to find a node, so every request will fail: write ")
        assert all(other in notice for other in WAYS)
    else:
        assert told == []


@pytest.mark.parametrize(("first", "second"), list(combinations(LINES, 2)))
def test_of_two_the_first_wins_and_the_other_is_named(files: Files, first: str, second: str) -> None:
    lines = f"{LINES[second]}\n{LINES[first]}\n"
    settings = files.load(f"{ROUTER}{lines}")
    assert way(settings) == first
    expected = f"router.conf:3: {second} is not used: {first} goes first, and only one way to find nodes is"
    assert [notice for notice in settings.notices if "is not used" in notice] == [expected]


def test_all_of_them(files: Files) -> None:
    lines = "\n".join(LINES.values())
    notices = files.load(f"{ROUTER}{lines}\n").notices
    assert sum("is not used: fastrouter-use-cache goes first" in notice for notice in notices) == len(WAYS) - 1


@pytest.mark.parametrize("name", ["fastrouter-force-key", "fastrouter-subscription-fallback-key"])
@pytest.mark.parametrize(("value", "size"), [("k" * 256, 256), ("é" * 128, 256)])
def test_a_key_that_no_request_can_have(files: Files, name: str, value: str, size: int) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load(f"{ROUTER}fastrouter-subscription-server = 127.0.0.1:2626\n{name} = {value}\n")
    assert str(caught.value) == f"router.conf:4: {name}: {size} bytes, a key has at most 255"


@pytest.mark.parametrize("name", ["fastrouter-force-key", "fastrouter-subscription-fallback-key"])
def test_the_longest_key(files: Files, name: str) -> None:
    settings = files.load(f"{ROUTER}fastrouter-subscription-server = 127.0.0.1:2626\n{name} = {'k' * 255}\n")
    assert settings.notices == ()
    assert settings.text(name) == "k" * 255


@pytest.mark.parametrize("name", ["fastrouter-force-key", "fastrouter-subscription-fallback-key"])
def test_an_empty_key(files: Files, name: str) -> None:
    with pytest.raises(ConfigError, match=f"router.conf:4: {name} = : a value is missing"):
        files.load(f"{ROUTER}fastrouter-subscription-server = 127.0.0.1:2626\n{name} =\n")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("fastrouter-use-socket", "fastrouter-use-socket = 0: no socket option has this number, there is none"),
        ("fastrouter-use-socket = 2\nsocket = :1\nsocket = :2", "has this number, there are 2, from 0 to 1"),
    ],
)
def test_a_socket_that_is_not_there(files: Files, lines: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        files.load(f"{ROUTER}{lines}\n")
    assert caught.value.where == "router.conf:3"


def test_the_name_alone_means_the_first_socket(files: Files) -> None:
    assert files.load(f"{ROUTER}fastrouter-use-socket\nsocket = :3031\n").number("fastrouter-use-socket") == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fastrouter-fallback-on-no-key = true", "does nothing without fastrouter-fallback"),
        ("fastrouter-subscription-fallback-key = a", "does nothing without fastrouter-subscription-server"),
        ("fastrouter-post-buffering-dir = /tmp", "does nothing without fastrouter-post-buffering"),
        ("fastrouter-defer-connect-timeout = 5", "does nothing without fastrouter-emperor-socket"),
        ("fastrouter-emperor-socket = /run/emperor", "does nothing without fastrouter-subscription-server"),
        ("fastrouter-cheap = true", "fastrouter-cheap does nothing with fastrouter-to: only nodes that announce"),
        ("fastrouter-subscription-slot = x", "is deprecated and does nothing; fastrouter-subscription-server names"),
    ],
)
def test_what_has_no_effect_is_named(files: Files, line: str, said: str) -> None:
    (notice,) = files.load(f"{ROUTER}fastrouter-to = 127.0.0.1:3031\n{line}\n").notices
    assert notice.startswith(f"router.conf:4: {line.partition(' ')[0]}")
    assert said in notice


@pytest.mark.parametrize(
    "lines",
    [
        "fastrouter-to = /a\nfastrouter-fallback = /b\nfastrouter-fallback-on-no-key = true",
        "fastrouter-subscription-server = 127.0.0.1:2626\nfastrouter-subscription-fallback-key = a",
        "fastrouter-to = /a\nfastrouter-post-buffering = 1\nfastrouter-post-buffering-dir = /tmp",
        "fastrouter-subscription-server = 127.0.0.1:2626\nfastrouter-emperor-socket = /e\n"
        "fastrouter-defer-connect-timeout = 5",
        "fastrouter-subscription-server = 127.0.0.1:2626\nfastrouter-cheap = true",
        "fastrouter-to = /a\nfastrouter-cheap = false",
    ],
)
def test_with_what_they_need_they_have_no_notice(files: Files, lines: str) -> None:
    assert files.load(f"{ROUTER}{lines}\n").notices == ()

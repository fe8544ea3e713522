"""Patterns and code strings, taken apart and checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.settings.files import Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.address import Kind
from uwsgirouter.settings.targets import CodeString, example, fill, pattern_of_base, peer

ROUTER = "[uwsgirouter]\nfastrouter = :3017\n"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/tmp/%s", "/tmp/KEY"),
        ("/tmp/%s/%s.sock", "/tmp/KEY/KEY.sock"),
        ("/tmp/%%s", "/tmp/%s"),
        ("/tmp/%%%s", "/tmp/%KEY"),
        ("/%d%s%x", "/KEY"),
        ("/%S", "/"),
        ("%", ""),
        ("100%%", "100%"),
        ("/é%s", "/éKEY"),
        ("", ""),
    ],
)
def test_fill(pattern: str, expected: str) -> None:
    assert fill(pattern, "KEY") == expected


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_base_is_plain_concatenation(base: str, key: str) -> None:
    assert fill(pattern_of_base(base), key) == base + key


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("/tmp/%s", Kind.UNIX),
        ("%s", Kind.UNIX),
        ("sockets/%s", Kind.UNIX),
        ("@%s", Kind.ABSTRACT),
        ("%s:80", Kind.NAME),
        ("app-%s.example:80", Kind.NAME),
        ("node:%s", Kind.NAME),
        ("10.0.0.%s:80", Kind.TCP4),
        ("10.0.%s:80", Kind.TCP4),
        ("10.%s:80", Kind.TCP4),
        ("127.0.0.1:%s", Kind.TCP4),
        ("127.0.0.1:30%s", Kind.TCP4),
        (":%s", Kind.TCP4),
        ("[::1]:%s", Kind.TCP6),
        ("[fd00::%s]:80", Kind.TCP6),
    ],
)
def test_what_kind_of_address_a_pattern_means(pattern: str, kind: Kind) -> None:
    assert example(pattern).kind is kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::1]:80"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("/", "/"),
        ("app:80", "app:80"),
    ],
)
def test_a_place_to_connect_to(text: str, expected: str) -> None:
    assert peer(text).text == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:mapper.py:get", ("0", "mapper.py", "get")),
        ("0:/srv/a:b/mapper.py:get_node", ("0", "/srv/a:b/mapper.py", "get_node")),
        ("0:with space.py:_x1", ("0", "with space.py", "_x1")),
    ],
)
def test_code_strings(text: str, expected: tuple[str, str, str]) -> None:
    assert CodeString.parse(text) == expected


@pytest.mark.parametrize("pattern", ["/tmp/sock", "/tmp/%s", "10.0.0.1:80", "/tmp/%%%%s"])
def test_a_pattern_without_a_place_for_the_key_is_doubted(files: Files, pattern: str) -> None:
    """It works, as in uWSGI; but in an ini file %s is the file's name, which is hardly what was meant."""
    notices = files.load(f"{ROUTER}fastrouter-use-pattern = {pattern}\n").notices
    assert any(notice.startswith("router.conf:3: ") and "no %s in the pattern" in notice for notice in notices)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("use-pattern = a.example:%%sx", "a port is a number from 1 to 65535"),
        ("use-pattern = *%%s:80", "only a listener can have those"),
        ("use-pattern = [%%s", r"expected \[v6\]:port"),
        ("use-pattern = /" + "a" * 120 + "%%s", "122 bytes, a unix socket's name has at most 107"),
        ("use-base = @" + "a" * 120, "121 bytes, a unix socket's name has at most 106"),
        ("use-base = 127.0.0.1:x", "a port is a number from 1 to 65535"),
        ("use-code-string = mapper.py:get", "expected 0:FILE:FUNCTION, as in 0:mapper.py:get"),
        ("use-code-string = 0:mapper.py", "expected 0:FILE:FUNCTION"),
        ("use-code-string = 0::get", "expected 0:FILE:FUNCTION"),
        ("use-code-string = 0:mapper.py:", "expected 0:FILE:FUNCTION"),
        ("use-code-string = 0:mapper.py:get()", "expected 0:FILE:FUNCTION"),
        ("use-code-string = 0:mapper.py:a.b", "expected 0:FILE:FUNCTION"),
        ("use-code-string = 0:mapper:get", "mapper is no Python file: its name must end in .py"),
        ("use-code-string = 0:mapper.lua:get", "mapper.lua is no Python file"),
        ("use-code-string = 5:mapper.py:get", "plugin 5 cannot be used: the router runs Python functions only"),
        ("use-code-string = 6:mapper.lua:get", "plugin 6 cannot be used"),
        ("use-code-string = 00:mapper.py:get", "plugin 00 cannot be used"),
        ("use-code-string = python:mapper.py:get", "plugin python cannot be used"),
    ],
)
def test_mistakes_name_the_line_the_option_and_the_value(files: Files, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        files.load(f"{ROUTER}fastrouter-{line}\n")
    assert caught.value.where == "router.conf:3"
    name, _, value = line.replace("%%", "%").partition(" = ")
    if "%s" not in line.replace("%%s", ""):
        assert f"fastrouter-{name} = {value}: " in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "use-base = /tmp/sockets/",
        "use-base = @",
        "use-base = /tmp/100%%",
        "use-pattern = /tmp/sockets/%%s/uwsgi.sock",
        "use-pattern = 127.0.0.1:%%s",
        "use-pattern = %%s:3031",
        "use-code-string = 0:mapper.py:get",
    ],
)
def test_what_is_right_has_no_notice(files: Files, line: str) -> None:
    assert files.load(f"{ROUTER}fastrouter-{line}\n").notices == ()


def test_on_the_command_line_the_key_is_written_plainly(files: Files) -> None:
    settings = files.source("--fastrouter", ":3017", "--fastrouter-use-pattern", "/tmp/%s.sock").load()
    assert settings.text("fastrouter-use-pattern") == "/tmp/%s.sock"

"""What the names of a file come to: values, notices, doubts, errors."""

from __future__ import annotations

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter.errors import ConfigError, ConfigErrors

HEAD = f"[uwsgirouter]\n{LISTEN}"
"""Three lines: what a test adds starts on line 4."""


def test_a_clean_file_has_no_notices(files: Files) -> None:
    assert files.load(HEAD).notices == ()


def test_uwsgis_options_are_ignored_with_one_notice(files: Files) -> None:
    settings = files.load(HEAD + "plugins = fastrouter\nmaster = true\nthunder-lock\nmaster = true\n", "--need-app")
    assert settings.notices == (
        "these options mean nothing in a router and are ignored: plugins (router.conf:4), master (router.conf:5), "
        "thunder-lock (router.conf:6), need-app (command line)",
    )


def test_commands_in_a_file_are_ignored_with_the_notice(files: Files) -> None:
    (notice,) = files.load(HEAD + "show-config = true\n").notices
    assert "show-config (router.conf:4)" in notice


def test_options_of_the_application_server_without_a_counterpart_are_named(files: Files) -> None:
    (notice,) = files.load(HEAD + "cheaper = 4\nspooler = /x\n").notices
    assert "have no counterpart" in notice
    assert "cheaper (router.conf:4), spooler (router.conf:5)" in notice


@pytest.mark.parametrize("use", ["fastrouter = %(ip):3018", "log-format = %(ip)", "log-format = %(ip + 1)"])
def test_a_name_that_is_used_is_a_placeholder(files: Files, use: str) -> None:
    settings = files.load(f"{HEAD}ip = 127.0.0.1\n{use}\n", "--strict")
    assert not [notice for notice in settings.notices if "ip" in notice.split(":")[-1].split()]


def test_a_name_that_nothing_uses_is_doubted(files: Files) -> None:
    text = HEAD + "reload_mercy = 5\npublic_ip = 1\n"
    assert files.load(text).notices == (
        "router.conf:4: reload_mercy is no option, and nothing uses it as %(reload_mercy); did you mean reload-mercy?",
        "router.conf:5: public_ip is no option, and nothing uses it as %(public_ip)",
    )


@pytest.mark.parametrize(("more", "argument"), [("strict = true\n", ""), ("", "--strict"), ("", "--check")])
def test_doubts_are_errors_when_strict(files: Files, more: str, argument: str) -> None:
    text = HEAD + "reload_mercy = 5\n" + more
    with pytest.raises(ConfigError, match=r"router\.conf:4: reload_mercy is no option"):
        files.load(text, *filter(None, [argument]))
    assert files.load(HEAD + "set-ph = anything = 1\n" + more, *filter(None, [argument])).addresses("fastrouter")


def test_strict_may_be_false(files: Files) -> None:
    assert files.load(HEAD + "strict = true\nx = 1\nstrict = false\n").notices


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fastrouter-tmeout = 5", "router.conf:4: unknown option fastrouter-tmeout; did you mean fastrouter-timeout?"),
        ("subscription-x = 5", "router.conf:4: unknown option subscription-x"),
        ("route-x = 5", "router.conf:4: unknown option route-x"),
        ("rawrouter = /x", "rawrouter is a known uWSGI option, not available in this version"),
        ("http = :1717", "router.conf:4: http is a known uWSGI option, not available"),
        ("emperor = /x", "router.conf:4: emperor is not supported: a router does not watch files"),
        ("listen = many", "router.conf:4: listen = many: expected whole number from 1 to 65535, digits alone"),
        ("fastrouter = %(nope):1", "router.conf:4: .*nothing defines the placeholder %(nope)"),
        ("fastrouter = $(NOPE):1", "router.conf:4: .*the environment variable NOPE is not set"),
        ("fastrouter = 127.0.0.1:%(_)", "router.conf:4: .*nothing defines the placeholder %(_)"),
        ("uid = no-such-user", "router.conf:4: uid = no-such-user: no user 'no-such-user' on this machine"),
    ],
)
def test_errors_name_file_line_and_value(files: Files, line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load(f"{HEAD}{line}\nfastrouter-x-ip = 1\n")
    first = str(caught.value).splitlines()[0]
    parts = message.split(".*")
    assert first.startswith(parts[0]) or parts[0] in first
    assert parts[-1] in first


def test_an_own_name_is_an_error_even_when_it_is_used(files: Files) -> None:
    with pytest.raises(ConfigError, match="unknown option fastrouter-ip"):
        files.load(HEAD + "fastrouter-ip = 1\nx = %(fastrouter-ip)\nlog-format = %(x)\n")


def test_all_errors_come_at_once(files: Files) -> None:
    with pytest.raises(ConfigErrors) as caught:
        files.load(HEAD + "listen = 0\nfastrouter-x = 1\nchmod-socket = 9\nunused = 1\nstrict\n")
    assert [error.where for error in caught.value.errors] == [f"router.conf:{line}" for line in (4, 5, 6, 7)]


@pytest.mark.parametrize("text", ["fastrouter\n", "fastrouter = true\n", "fastrouter = yes\n"])
def test_a_bare_fastrouter_is_no_address(files: Files, text: str) -> None:
    settings = files.load(HEAD + text)
    assert [address.text for address in settings.addresses("fastrouter")] == ["127.0.0.1:3017"]


@pytest.mark.parametrize("text", ["chmod-socket", "chmod-socket = true", "chmod = 666", "chmod-socket = 0666"])
def test_modes(files: Files, text: str) -> None:
    assert files.load(f"{HEAD}{text}\n").optional_number("chmod-socket") == 0o666


def test_an_alias_is_the_same_option(files: Files) -> None:
    settings = files.load(HEAD + "fastrouter-workers = 2\nfastrouter-processes = 3\nchmod = 600\n", "-l", "9")
    assert settings.number("fastrouter-workers") == 3
    assert settings.where("fastrouter-processes") == "router.conf:5"
    assert settings.optional_number("chmod-socket") == 0o600
    assert settings.number("listen") == 9

"""From text to value, by type: what is accepted, and what an error says."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.table import BY_NAME, OPTIONS, Option, Type
from uwsgirouter.settings.values import allowed, is_bool, parse

USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name

GOOD = [
    ("vacuum", "", True),
    ("vacuum", "true", True),
    ("vacuum", "YES", True),
    ("vacuum", "on", True),
    ("vacuum", "1", True),
    ("vacuum", "false", False),
    ("vacuum", "No", False),
    ("vacuum", "off", False),
    ("vacuum", "0", False),
    ("listen", "1", 1),
    ("listen", "65535", 65535),
    ("listen", "0100", 100),
    ("fastrouter-gracetime", "0", 0.0),
    ("fastrouter-gracetime", "0.5", 0.5),
    ("fastrouter-timeout", "60", 60),
    ("chmod-socket", "", 0o666),
    ("chmod-socket", "660", 0o660),
    ("chmod-socket", "0600", 0o600),
    ("uid", USER, os.getuid()),
    ("uid", "65534", 65534),
    ("gid", GROUP, os.getgid()),
    ("chown-socket", USER, (os.getuid(), -1)),
    ("chown-socket", f"{USER}:{GROUP}", (os.getuid(), os.getgid())),
    ("chown-socket", "12:34", (12, 34)),
    ("pidfile", "/run/a b.pid", "/run/a b.pid"),
    ("env", "A=B=C", "A=B=C"),
    ("env", "A=", "A="),
]

BAD = [
    ("vacuum", "maybe", "true or false"),
    ("listen", "0", "from 1 to 65535"),
    ("listen", "65536", "from 1 to 65535"),
    ("listen", "", "digits alone"),
    ("listen", "-1", "digits alone"),
    ("listen", "1k", "digits alone"),
    ("listen", "\u0661", "digits alone"),
    ("listen", "9" * 30, "digits alone"),
    ("fastrouter-timeout", "0", "whole number of seconds from 1 up"),
    ("fastrouter-timeout", "1.5", "whole number of seconds from 1 up"),
    ("fastrouter-gracetime", "30s", "number of seconds from 0 up"),
    ("fastrouter-gracetime", "nan", "number of seconds"),
    ("fastrouter-gracetime", "1e3", "number of seconds"),
    ("fastrouter-harakiri", "1", "from 2 up"),
    ("fastrouter-buffer-size", "4095", "from 4096 to 16777216"),
    ("chmod-socket", "888", "octal"),
    ("chmod-socket", "66", "octal"),
    ("uid", "no-such-user-here", "no user"),
    ("gid", "no-such-group-here", "no group"),
    ("uid", "", "value is missing"),
    ("chown-socket", f"{USER}:", "value is missing"),
    ("chown-socket", ":root", "value is missing"),
    ("pidfile", "", "value is missing"),
    ("pidfile", "a\nb", "line break"),
    ("env", "A", "NAME=value"),
    ("env", "=B", "NAME=value"),
    ("fastrouter", "[::1", r"\[v6\]:port"),
    ("fastrouter", "::1:80", "brackets"),
    ("fastrouter", "127.0.0.1:70000", "65535"),
    ("fastrouter", "127.0.0.1:3017\n", "line break"),
    ("fastrouter-to", "127.0.0.1:0", "from 1 to 65535"),
    ("fastrouter-subscription-server", "=0", "announcements arrive on"),
    ("fastrouter-subscription-server", "fd://3", "announcements arrive on"),
    ("shared-socket", "=0", "address to bind"),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_accepted(name: str, text: str, value: object) -> None:
    parsed = parse(BY_NAME[name], text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_refused_with_what_is_allowed(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(BY_NAME[name], text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fastrouter", "127.0.0.1:3017"),
        ("fastrouter", ":80"),
        ("fastrouter", "[::1]:3017"),
        ("fastrouter", "/run/router.sock"),
        ("fastrouter", "@router"),
        ("fastrouter", "fd://3"),
        ("fastrouter", "=0"),
        ("shared-socket", "fd://3"),
        ("fastrouter-to", "app.example.com:3031"),
        ("fastrouter-subscription-server", ":2626"),
        ("fastrouter-subscription-server", "[::]:2626"),
        ("fastrouter-subscription-server", "/run/announce"),
        ("fastrouter-subscription-server", "@announce"),
    ],
)
def test_addresses_keep_their_text(name: str, text: str) -> None:
    assert getattr(parse(BY_NAME[name], text), "text", None) == text


@pytest.mark.parametrize("name", ["fastrouter-to", "fastrouter-fallback", "fastrouter-emperor-socket"])
@pytest.mark.parametrize(
    ("text", "place"), [(":80", "127.0.0.1:80"), ("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80")]
)
def test_every_interface_as_a_place_to_connect_to_is_this_machine(name: str, text: str, place: str) -> None:
    assert getattr(parse(BY_NAME[name], text), "text", None) == place


@pytest.mark.parametrize("option", [row for row in OPTIONS if row.low is not None], ids=lambda row: row.name)
def test_both_ends_of_a_range_are_inside_it(option: Option) -> None:
    for end in (option.low, option.high):
        if end is not None:
            assert parse(option, f"{end:.12g}") == end
    if option.high is not None:
        with pytest.raises(ConfigError):
            parse(option, f"{option.high + 1:.0f}")


def test_what_is_allowed_reads_well() -> None:
    assert allowed(BY_NAME["fastrouter-timeout"]) == "whole number of seconds from 1 up"
    assert allowed(BY_NAME["listen"]) == "whole number from 1 to 65535"
    assert allowed(BY_NAME["pidfile"]) == "path"


def test_the_empty_text_is_no_word_for_yes() -> None:
    assert is_bool("On")
    assert not is_bool("")
    assert not is_bool("router.ini")


def test_every_type_of_a_value_has_a_parser() -> None:
    assert {option.type for option in OPTIONS if option.is_value} <= set(Type)
    for option in OPTIONS:
        if option.is_value:
            with pytest.raises(ConfigError):
                parse(option, "\0")

"""The options about who may announce: what they take, and what is said of a server that is open to everybody."""

from __future__ import annotations

import os
import pwd
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.settings.files import Files
from uwsgirouter.errors import ConfigError
from uwsgirouter.settings.senders import DIGESTS, Rules, key_rule, networks, rules, sign_check
from uwsgirouter.settings.settings import Settings

SERVER = "[uwsgirouter]\nfastrouter = 127.0.0.1:3017\nfastrouter-subscription-server = 127.0.0.1:2626\n"
OPEN = SERVER.replace("127.0.0.1:2626", ":2626")


def test_nothing_given_asks_for_nothing() -> None:
    assert rules(Settings.of()) == Rules()
    assert not Rules().needs_credentials


def test_all_of_them() -> None:
    found = rules(
        Settings.of(
            subscriptions_sign_check="sha256:/etc/keys",
            subscriptions_sign_check_tolerance="60",
            subscriptions_sign_skip_uid=["33", pwd.getpwuid(os.getuid()).pw_name],
            subscriptions_use_credentials=True,
            subscriptions_credentials_check=["/etc/a", "/etc/b/"],
            subscription_allow=["10.0.0.0/8,::1", "192.168.1.5"],
            subscription_key_allow=["*.Example.com 10.1.0.0/16, fd00::/8", "* 10.0.0.0/8", "*.example.com 10.2.0.0/16"],
            subscription_vassal_required=True,
        )
    )
    assert (found.digest, found.keys, found.tolerance) == ("SHA256", "/etc/keys", 60.0)
    assert found.skip_uids == {33, os.getuid()}
    assert (found.use_credentials, found.owners, found.vassal_required) == (True, ("/etc/a", "/etc/b/"), True)
    assert found.allow == (ip_network("10.0.0.0/8"), ip_network("::1/128"), ip_network("192.168.1.5/32"))
    assert [rule.pattern for rule in found.key_rules] == ["*.Example.com", "*"], "one rule for each pattern"
    assert found.key_rules[0].networks == tuple(map(ip_network, ("10.1.0.0/16", "fd00::/8", "10.2.0.0/16")))


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ({"subscriptions_use_credentials": True}, True),
        ({"subscriptions_credentials_check": "/etc/a"}, True),
        ({"subscriptions_sign_check": "SHA1:/k", "subscriptions_sign_skip_uid": "0"}, True),
        ({"subscriptions_sign_check": "SHA1:/k"}, False),
        ({"subscriptions_sign_skip_uid": "0"}, False),
    ],
)
def test_what_needs_the_kernel_to_say_who_sends(options: dict[str, object], needs: bool) -> None:
    assert rules(Settings.of(**options)).needs_credentials is needs


@pytest.mark.parametrize("digest", DIGESTS)
def test_digests(digest: str) -> None:
    assert sign_check(f"{digest.lower()}:/etc/keys:2") == (digest, "/etc/keys:2")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("subscriptions-sign-check = /etc/keys", "expected DIGEST:DIRECTORY"),
        ("subscriptions-sign-check = SHA256:", "expected DIGEST:DIRECTORY"),
        ("subscriptions-sign-check = MD5:/etc/keys", "unknown digest 'MD5', there are SHA1, "),
        ("subscriptions-sign-check-tolerance = 0", "expected number of seconds from 1"),
        ("subscriptions-sign-skip-uid = nobody-here", "no user 'nobody-here'"),
        ("subscription-allow = 10.0.0.1/8", "'10.0.0.1/8' is no network"),
        ("subscription-allow = 10.0.0.1/8", "the network of this address is 10.0.0.0/8"),
        ("subscription-allow = 10.0.0.0/8,", "'' is no network"),
        ("subscription-allow = localhost", "'localhost' is no network"),
        ("subscription-allow = 10.0.0.0/33", "is no network"),
        ("subscription-key-allow = foo.com", "expected a pattern of keys, a space, and networks"),
        ("subscription-key-allow = foo.com 10.0.0.0/8;10.0.0.1", "is no network"),
        ("subscriptions-use-credentials = perhaps", "expected true or false"),
    ],
)
def test_mistakes_name_the_line_and_what_is_allowed(files: Files, line: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        files.load(f"{SERVER}{line}\n")
    assert says in str(caught.value)
    assert caught.value.where == "router.conf:4"
    assert line.partition(" ")[0] in str(caught.value)


@pytest.mark.parametrize(
    "address", [":2626", "0.0.0.0:2626", "10.0.0.1:2626", "[::]:2626", "[fd00::1]:2626", "a.example:2626"]
)
def test_a_server_that_is_open_to_everybody_is_named(files: Files, address: str) -> None:
    (notice,) = files.load(SERVER.replace("127.0.0.1:2626", address)).notices
    assert notice.startswith(f"router.conf:3: whoever can send a datagram to {address} can take over any key")
    assert "subscription-allow = NETWORK" in notice


@pytest.mark.parametrize(
    "address", ["127.0.0.1:2626", "127.9.9.9:2626", "[::1]:2626", "localhost:2626", "/run/s", "@s"]
)
def test_one_that_is_not_is_not(files: Files, address: str) -> None:
    assert files.load(SERVER.replace("127.0.0.1:2626", address)).notices == ()


@pytest.mark.parametrize(
    "line",
    [
        "subscriptions-sign-check = SHA256:/k",
        "subscription-allow = 10.0.0.0/8",
        "subscription-key-allow = * 10.0.0.0/8",
    ],
)
def test_nor_is_one_that_asks_who_sends(files: Files, line: str) -> None:
    assert files.load(f"{OPEN}{line}\n").notices == ()


def test_a_rule_for_some_keys_leaves_the_others_open(files: Files) -> None:
    (notice,) = files.load(f"{OPEN}subscription-key-allow = *.com 10.0.0.0/8\n").notices
    assert "whoever can send a datagram to :2626" in notice


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("subscriptions-sign-check = SHA1:/k", "router.conf:4: subscriptions-sign-check: SHA1 is weak; use SHA256"),
        (
            "subscriptions-sign-skip-uid = 0",
            "subscriptions-sign-skip-uid does nothing without subscriptions-sign-check",
        ),
        ("subscriptions-sign-check-tolerance = 9", "-tolerance does nothing without subscriptions-sign-check"),
        ("subscriptions-credentials-check = /c", "every announcement to 127.0.0.1:2626 will be refused"),
    ],
)
def test_what_is_weak_or_does_nothing_is_said(files: Files, lines: str, says: str) -> None:
    (notice,) = files.load(f"{SERVER}{lines}\n").notices
    assert says in notice


@pytest.mark.parametrize(
    "line",
    [
        "subscriptions-sign-check = SHA256:/k",
        "subscriptions-credentials-check = /c",
        "subscription-allow = ::1",
        "subscription-key-allow = a ::1",
        "subscriptions-use-credentials = true",
        "subscription-vassal-required = true",
    ],
)
def test_without_a_server_they_do_nothing_and_that_is_said(files: Files, line: str) -> None:
    text = "[uwsgirouter]\nfastrouter = 127.0.0.1:3017\nfastrouter-to = 127.0.0.1:1\n"
    (notice,) = files.load(f"{text}{line}\n").notices
    assert notice == f"router.conf:4: {line.partition(' ')[0]} does nothing without fastrouter-subscription-server"


@given(st.text(max_size=40))
def test_any_text_is_a_network_a_rule_or_an_error(text: str) -> None:
    for read in (networks, key_rule, sign_check):
        try:
            read(text)
        except ConfigError as error:
            assert error.message

"""At which of its addresses a router is announced, and whether anybody can connect to it there."""

from __future__ import annotations

import pytest

from tests.settings.files import Files
from uwsgirouter.settings.address import parse_listen, parse_peer
from uwsgirouter.settings.resubscription import is_loopback, reached_at


@pytest.mark.parametrize(
    ("listeners", "receiver", "expected"),
    [
        ("127.0.0.1:1 10.0.0.1:1", "127.0.0.1:2626", "127.0.0.1:1"),
        ("127.0.0.1:1 10.0.0.1:1", "10.0.0.2:2626", "10.0.0.1:1"),
        ("127.0.0.1:1", "10.0.0.2:2626", None),
        ("/run/s 127.0.0.1:1", "127.0.0.1:2626", "/run/s"),
        ("/run/s 10.0.0.1:1", "10.0.0.2:2626", "10.0.0.1:1"),
        ("@s", "/run/other", "@s"),
        ("@s", "10.0.0.2:2626", None),
        (":1", "10.0.0.2:2626", ":1"),
        (":1", "/run/other", ":1"),
        (":1", "[fd00::2]:2626", None),
        (":1 [::]:1", "[fd00::2]:2626", "[::]:1"),
        ("[::]:1 0.0.0.0:1", "10.0.0.2:2626", "0.0.0.0:1"),
        ("[::]:1 :2", "127.0.0.1:2626", ":2"),
        ("[fd00::1]:1", "10.0.0.2:2626", "[fd00::1]:1"),
        ("[::1]:1", "[fd00::2]:2626", None),
        ("127.0.0.1:1 10.0.0.1:1", "router.internal:2626", "10.0.0.1:1"),
        ("127.0.0.1:1", "localhost:2626", "127.0.0.1:1"),
    ],
)
def test_the_first_listener_that_the_receiver_reaches(listeners: str, receiver: str, expected: str | None) -> None:
    found = reached_at(list(map(parse_listen, listeners.split())), parse_peer(receiver))
    assert (found.text if found else None) == expected


def test_what_loopback_is() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.0.0.1", "::", "0.0.0.0", "fe80::1%eth0", "host", "")))


LINES = "fastrouter-subscription-server = 127.0.0.1:2626\n"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("fastrouter = 127.0.0.1:3017\nfastrouter-resubscribe = 10.0.0.2:2626\n", "127.0.0.1:3017"),
        ("shared-socket = /run/s\nfastrouter = =0\nfastrouter-resubscribe = 10.0.0.2:2626\n", "/run/s"),
        ("fastrouter = 127.0.0.1:3017\nfastrouter-resubscribe = 127.0.0.1:2627\n", ""),
        ("fastrouter = :3017\nfastrouter-resubscribe = 10.0.0.2:2626\n", ""),
        ("fastrouter = fd://3\nfastrouter-resubscribe = 10.0.0.2:2626\n", ""),
    ],
)
def test_a_receiver_that_reaches_nobody_is_named(files: Files, lines: str, told: str) -> None:
    notices = [each for each in files.load(f"[uwsgirouter]\n{LINES}{lines}").notices if "nobody there" in each]
    assert len(notices) == bool(told)
    for notice in notices:
        assert "fastrouter-resubscribe = 10.0.0.2:2626: nobody there can connect to" in notice
        assert told in notice


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("fastrouter-resubscribe = 127.0.0.1:1", "fastrouter-subscription-server"),
        ("fastrouter-resubscribe-bind = 127.0.0.1:1", "fastrouter-resubscribe"),
        ("subscription-dotsplit = true", "fastrouter-subscription-server"),
        ("subscription-mountpoint = 2", "fastrouter-subscription-server"),
        ("fastrouter-subscription-chmod = 600", "fastrouter-subscription-server"),
    ],
)
def test_what_does_nothing_alone(files: Files, line: str, needed: str) -> None:
    notices = files.load(f"[uwsgirouter]\nfastrouter = :3017\nfastrouter-to = :3031\n{line}\n").notices
    assert any(notice.endswith(f"does nothing without {needed}") for notice in notices)


def test_other_names_and_bare_ones(files: Files) -> None:
    settings = files.load(f"[uwsgirouter]\nfastrouter = :3017\n{LINES}subscription-mountpoint\n")
    assert settings.number("subscription-mountpoints") == 1
    settings = files.load(f"[uwsgirouter]\nfastrouter = :3017\n{LINES}subscription-fallback-key = spare\n")
    assert settings.text("fastrouter-subscription-fallback-key") == "spare"

"""Settings as text: the effective configuration can be read again."""

from __future__ import annotations

import pytest

from tests.settings.files import LISTEN, Files
from uwsgirouter.settings import report
from uwsgirouter.settings.settings import Settings
from uwsgirouter.settings.table import OPTIONS, SECTIONS

TEXT = f"""[uwsgirouter]
{LISTEN}ip = 127.0.0.1
fastrouter = %(ip):3018
fastrouter = [::1]:3017
shared-socket = %(ip):3019
fastrouter-processes = 3
chmod-socket
chown-socket = 0:0
logto = /var/log/100%%.log
env = A=b c
env = B=;x
vacuum = off
fastrouter-gracetime = 0.5
uid = 0
touch-reload = /tmp/a
"""


def test_the_effective_configuration_gives_the_same_settings(files: Files) -> None:
    first = files.load(TEXT)
    text = report.show_config(first)
    assert "logto = /var/log/100%%.log" in text
    second = files.load(text)
    for option in OPTIONS:
        if option.is_value:
            assert second.text(option.name) == first.text(option.name)
            if option.repeatable:
                assert second.texts(option.name) == first.texts(option.name)
    assert report.show_config(second) == text
    assert second.notices == ()


def test_the_effective_configuration_lists_what_is_default() -> None:
    text = report.show_config(Settings.of(listen=5))
    assert "\nlisten = 5\n" in text
    assert "\n; fastrouter-timeout = 60\n" in text
    assert "; listen" not in text


def test_check_says_what_the_router_would_do(files: Files) -> None:
    text = (
        "[uwsgi]\nshared-socket = 127.0.0.1:3017\nfastrouter = =0\nfastrouter = /tmp/a.sock\n"
        "fastrouter-to = 127.0.0.1:3031\n"
        "fastrouter-subscription-server = 127.0.0.1:2626\nfastrouter-subscription-server = /tmp/announce\n"
        "subscription-tolerance = 20\nfastrouter-workers = 2"
    )
    assert report.check_text(files.load(text), False).splitlines() == [
        "listens on 127.0.0.1:3017 (shared-socket =0), IPv4 (router.conf:3)",
        "listens on /tmp/a.sock, unix path (router.conf:4)",
        "nodes announce themselves on 127.0.0.1:2626, UDP, and expire 20 seconds after their last announcement "
        "(router.conf:6)",
        "nodes announce themselves on /tmp/announce, unix datagrams, and expire 20 seconds after their last "
        "announcement (router.conf:7)",
        "2 router workers",
        "configuration ok",
    ]
    lines = report.check_text(Settings.of(), True).splitlines()
    assert lines[0] == "listens on the sockets that systemd passes (LISTEN_FDS)"
    assert lines[1:3] == ["no way to find nodes", "1 router worker"]


@pytest.mark.parametrize(
    ("text", "ways"),
    [
        (
            "fastrouter-to = 127.0.0.1:1\nfastrouter-to = /run/a",
            ["static node 127.0.0.1:1 (router.conf:3)", "static node /run/a (router.conf:4)"],
        ),
        ("fastrouter-use-base = /run/", ["nodes are found by fastrouter-use-base = /run/ (router.conf:3)"]),
        (
            "cache = 5\nfastrouter-use-cache\nfastrouter-to = 127.0.0.1:1",
            ["nodes are found by fastrouter-use-cache = default (router.conf:4)"],
        ),
        (
            "fastrouter-use-code-string = 0:m.py:get\nfastrouter-fallback = :2",
            [
                "nodes are found by fastrouter-use-code-string = 0:m.py:get (router.conf:3)",
                "fallback node 127.0.0.1:2 (router.conf:4)",
            ],
        ),
    ],
)
def test_check_names_the_way_that_is_used(files: Files, text: str, ways: list[str]) -> None:
    settings = files.load(f"[uwsgi]\nfastrouter = 127.0.0.1:1\n{text}")
    assert report.check_text(settings, False).splitlines()[1 : len(ways) + 1] == ways


@pytest.mark.parametrize("heading", SECTIONS.values())
def test_the_help_is_grouped(heading: str) -> None:
    assert f"\n{heading}:\n" in report.help_text()


def test_the_help_fits_a_terminal() -> None:
    assert max(len(line) for line in report.help_text().splitlines()) <= 120

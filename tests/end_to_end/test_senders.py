"""Who may announce, by what the kernel says of a sender: its user and group on a unix socket, its address over UDP.

Real uWSGI instances of root and of nobody announce to both routers. What only one of the two can ask for (networks) is
tried with datagrams from all the addresses of loopback.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator

import pytest

from tests.end_to_end.court import SLOW, Court, counts, taken
from tests.servers import Router, Servers, UwsgiApp, announcement, free_udp_port, local, wait_until
from tests.servers.wire import where

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
"""Without root both instances have this user, and more of them are taken."""
AS_NOBODY = ("--uid", str(NOBODY.pw_uid), "--gid", str(NOBODY.pw_gid)) if ROOT else ()
SUPER, NOONE = (os.geteuid(), os.getegid()), (NOBODY.pw_uid, NOBODY.pw_gid)
OWNERS = {
    "root-root": SUPER,
    "root-nobody": SUPER,
    "nobody-root": NOONE,
    "nobody-nobody": NOONE,
    "group-root": (SUPER[0], NOONE[1]),
    "group-nobody": (NOONE[0], SUPER[1]),
}
"""Of the files: each name tells the file's owner and who will announce the key."""


def owned(servers: Servers) -> str:
    """A directory of files with their users and groups; the FastRouter wants the slash."""
    directory = servers.directory / "owners"
    directory.mkdir()
    for name, owner in OWNERS.items():
        (directory / f"{name}.example").touch()
        os.chown(directory / f"{name}.example", *owner)
    return f"{directory}/"


def announce_as_both(court: Court, *keys: str) -> list[UwsgiApp]:
    """An instance of root announces its keys, then one of nobody; a key ends with who announces it.

    The second one sends its credentials itself; for the first one the kernel adds them.
    """
    apps = []
    for who, options in (("root", ()), ("nobody", (*AS_NOBODY, "--subscriptions-use-credentials"))):
        names = [f"{key}-{who}.example" for key in keys]
        apps.append(court.instance(*options, *(part for name in names for part in court.options(name))))
        court.tap.wait_for(names[-1])
    return apps


def test_a_key_is_for_its_files_owner(servers: Servers) -> None:
    """Both take a key from the user and the group of its file alone."""
    lines = f"subscriptions-credentials-check = {owned(servers)}\nsubscriptions-use-credentials = true\n"
    court = Court(servers, lines, unix=True)
    apps = announce_as_both(court, "group", "none", "root", "nobody")
    court.wait_taken("root-root.example")
    court.wait_taken("nobody-nobody.example")
    expected = {"root-root", "nobody-nobody"} if ROOT else set(OWNERS)
    assert set(taken(court.ours)) == set(taken(court.theirs)) == {f"{name}.example" for name in expected}
    assert counts(court.ours)["wrong-owner"] >= 2
    user, group = SUPER
    assert f"a unix socket (process {apps[0].pid}, user {user}, group {group})" in court.ours.log()
    for app in apps:
        app.kill()
    court.tap.stop()


def test_a_sender_without_credentials_is_nobody(servers: Servers) -> None:
    """In the FastRouter it is root, over UDP and while subscriptions-use-credentials is off."""
    court = Court(servers, f"subscriptions-credentials-check = {owned(servers)}\n")
    apps = announce_as_both(court, "root", "nobody")
    wait_until(lambda: counts(court.ours)["no-credentials"] >= 4, SLOW, "all are refused")
    if ROOT:
        wait_until(lambda: "root-nobody.example" in taken(court.theirs), SLOW, "nobody has taken root's key")
    assert (taken(court.ours), "nobody-nobody.example" in taken(court.theirs)) == ([], False)
    for app in apps:
        app.kill()
    court.tap.stop()


def test_a_user_whose_word_needs_no_signature(servers: Servers) -> None:
    (servers.directory / "keys").mkdir()
    lines = f"subscriptions-sign-check = SHA256:{servers.path('keys')}\nsubscriptions-use-credentials = true\n"
    court = Court(servers, f"{lines}subscriptions-sign-skip-uid = {NOBODY.pw_uid}\n", unix=True)
    apps = announce_as_both(court, "free")
    court.wait_taken("free-nobody.example")
    expected = {"free-nobody.example"} if ROOT else {"free-root.example", "free-nobody.example"}
    assert set(taken(court.ours)) == set(taken(court.theirs)) == expected
    assert (counts(court.ours)["not-signed"] > 0) == ROOT
    for app in apps:
        app.kill()
    court.tap.stop()


# -- networks -------------------------------------------------------------------------------------------------------

NETWORKS = """
subscription-allow = 127.0.0.0/30
subscription-allow = ::1
subscription-key-allow = *.two.example 127.0.0.2,::1
subscription-key-allow = *.nowhere.example 10.0.0.0/8
"""


def send_from(host: str, server: str, key: str) -> None:
    """One announcement from this address of loopback."""
    _, sockaddr = where(server)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((host, 0))
        sender.sendto(announcement(key, ":9"), sockaddr)


@pytest.fixture(scope="module")
def border() -> Iterator[Router]:
    """A router that hears all of loopback, and takes announcements from a part of it."""
    servers = Servers()
    try:
        port = free_udp_port()
        listen = f"fastrouter-subscription-server = 0.0.0.0:{port}\nfastrouter-subscription-server = [::1]:{port}\n"
        yield servers.router(config=f"[uwsgirouter]\nfastrouter = {local()}\n{listen}{NETWORKS}")
    finally:
        servers.close()


@pytest.mark.parametrize(
    ("host", "key", "reason"),
    [
        ("127.0.0.1", "a.one.example", ""),
        ("127.0.0.2", "b.one.example", ""),
        ("::1", "c.one.example", ""),
        ("127.0.0.4", "d.one.example", "sender-not-allowed"),
        ("127.9.9.9", "e.one.example", "sender-not-allowed"),
        ("127.0.0.2", "a.two.example", ""),
        ("::1", "b.two.example", ""),
        ("127.0.0.1", "c.two.example", "key-not-allowed"),
        ("127.0.0.1", "D.Two.Example:80", "key-not-allowed"),
        ("127.0.0.4", "e.two.example", "sender-not-allowed"),
        ("127.0.0.1", "a.nowhere.example", "key-not-allowed"),
    ],
)
def test_networks(border: Router, host: str, key: str, reason: str) -> None:
    six = ":" in host
    server = border.subscription_servers[1] if six else f"127.0.0.1:{border.server.rpartition(':')[2]}"
    before = counts(border)
    send_from(host, server, key)
    if reason:
        wait_until(lambda: counts(border)[reason] == before[reason] + 1, SLOW, "it is refused")
        assert key not in taken(border)
    else:
        border.wait_for_log(f"{key} => new node: {f'[{host}]' if six else host}:9", SLOW)
        assert counts(border) == before


def test_the_log_names_who_was_refused(border: Router) -> None:
    """One line a second, so that a flood is no flood of lines."""

    def is_named() -> bool:
        send_from("127.7.7.7", f"127.0.0.1:{border.server.rpartition(':')[2]}", "f.one.example")
        return "bad datagram from 127.7.7.7:" in border.log()

    wait_until(is_named, SLOW, "127.7.7.7 is named")

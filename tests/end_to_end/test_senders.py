"""Who may announce, by what the kernel says of a sender: its user and group on a unix socket, its address over UDP.

Real uWSGI instances of root and of nobody announce to both routers. What only one of the two can ask for (networks) is
tried with datagrams from all the addresses of loopback.
"""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

import pytest

from tests.end_to_end.court import SLOW, Court, counts, taken
from tests.servers import Router, Servers, UwsgiApp, announcement, fetch, free_udp_port, local, wait_until

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
"""Without root there is but one user to send, and the tests say less."""
AS_NOBODY = ("--uid", str(NOBODY.pw_uid), "--gid", str(NOBODY.pw_gid)) if ROOT else ()


def owned(servers: Servers, *files: tuple[str, int, int]) -> str:
    """A directory of files with their users and groups; the FastRouter wants the slash."""
    directory = servers.directory / "owners"
    directory.mkdir()
    for name, user, group in files:
        (directory / name).touch()
        os.chown(directory / name, user, group)
    return f"{directory}/"


def announce_as_both(court: Court, *keys: str) -> list[UwsgiApp]:
    """An instance of root that announces its keys, then one of nobody; the keys end with who announced them."""
    apps = []
    for who, options in (("root", ()), ("nobody", AS_NOBODY)):
        names = [f"{key}-{who}.example" for key in keys]
        apps.append(court.instance(*options, *(part for name in names for part in court.options(name))))
        court.tap.wait_for(names[-1])
    return apps


def test_a_key_is_for_its_files_owner(servers: Servers) -> None:
    """Both take a key from the user and the group of its file alone."""
    files = [(f"{key}-{who}.example", *owner) for key, who, owner in OWNERSHIP]
    lines = f"subscriptions-credentials-check = {owned(servers, *files)}\nsubscriptions-use-credentials = true\n"
    court = Court(servers, lines, unix=True)
    apps = announce_as_both(court, "root", "nobody", "group", "none", "both")
    court.wait_taken("both-root.example")
    court.wait_taken("both-nobody.example")
    expected = {
        "both-root.example",
        "both-nobody.example",
        *(["root-root.example", "nobody-nobody.example"] if ROOT else []),
    }
    assert set(taken(court.ours)) == set(taken(court.theirs)) == expected
    assert counts(court.ours)["wrong-owner"] >= 4
    if ROOT:
        court.ours.wait_for_log(
            f"a unix socket (process {apps[1].pid}, user {NOBODY.pw_uid}, group {NOBODY.pw_gid})", SLOW
        )
    for app in apps:
        app.kill()
    court.tap.stop()


SUPER, NOONE = (0, 0), (NOBODY.pw_uid, NOBODY.pw_gid)
OWNERSHIP = [
    *(("root", who, SUPER) for who in ("root", "nobody")),
    *(("nobody", who, NOONE) for who in ("root", "nobody")),
    *(("group", who, (NOBODY.pw_uid, 0)) for who in ("root", "nobody")),
    ("both", "root", SUPER),
    ("both", "nobody", NOONE),
]


@pytest.mark.skipif(not ROOT, reason="x")
def test_a_user_whose_word_needs_no_signature(servers: Servers) -> None:
    (servers.directory / "keys").mkdir()
    lines = f"subscriptions-sign-check = SHA256:{servers.path('keys')}\nsubscriptions-use-credentials = true\n"
    court = Court(servers, f"{lines}subscriptions-sign-skip-uid = {NOBODY.pw_uid}\n", unix=True)
    apps = announce_as_both(court, "free")
    court.wait_taken("free-nobody.example")
    assert taken(court.ours) == taken(court.theirs) == ["free-nobody.example"]
    assert counts(court.ours)["not-signed"] >= 1
    for app in apps:
        app.kill()
    court.tap.stop()

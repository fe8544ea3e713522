"""access: who may go on, by address."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.rules.made import Playground
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.actions import access
from uwsgirouter.rules.hosts_access import HostsAccess, matches

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\n\r\nForbidden"


@pytest.mark.parametrize(
    ("pattern", "address", "meant"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.10", False),
        ("192.168.", "192.168.7.7", True),
        ("192.168.*", "192.168.7.7", True),
        ("192.168.*", "192.169.7.7", False),
        ("192.168.0.0/24", "192.168.0.9", True),
        ("192.168.0.0/24", "192.168.1.9", False),
        ("10.0.0.0/255.0.0.0", "10.9.9.9", True),
        ("10.0.0.7/8", "10.9.9.9", True),
        ("10.0.0.0/8", "::ffff:10.1.1.1", True),
        ("[2001:db8::]/32", "2001:db8::7", True),
        ("2001:db8::7", "2001:DB8:0::7", True),
        ("ALL", "nonsense", True),
        ("UNKNOWN", "1.2.3.4", True),
        ("KNOWN", "1.2.3.4", False),
        (".example.com", "1.2.3.4", False),
        ("10.0.0.0/8", "nonsense", False),
        ("10.0.0.0/99", "10.0.0.1", False),
    ],
)
def test_patterns_of_addresses(pattern: str, address: str, meant: bool) -> None:
    assert matches(pattern, address) is meant


def files(directory: Path, allow: str = "", deny: str = "") -> HostsAccess:
    (directory / "hosts.allow").write_text(allow)
    (directory / "hosts.deny").write_text(deny)
    return HostsAccess(str(directory))


def test_the_first_line_that_matches_decides(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        "# who may\n\nuwsgi, other: 10. EXCEPT 10.9. \\\n  10.8.1.1\n[x]: ALL\nshop: [2001:db8::]/32 : allow\n"
        "uwsgi: 7.7.7.7: deny\n",
        "uwsgi: ALL EXCEPT 1.1.1.1\nshop: ALL\nlate: ALL: allow\n",
    )
    assert found.allows("uwsgi", "10.1.1.1")
    assert not found.allows("uwsgi", "10.9.1.1")
    assert not found.allows("uwsgi", "10.8.1.1")
    assert found.allows("uwsgi", "1.1.1.1")
    assert not found.allows("uwsgi", "7.7.7.7")
    assert found.allows("shop", "2001:db8::1") and not found.allows("shop", "2001:db9::1")
    assert found.allows("late", "5.5.5.5")
    assert found.allows("nobody", "5.5.5.5")


def test_files_that_are_not_there_refuse_nobody_and_new_ones_count(tmp_path: Path) -> None:
    found = HostsAccess(str(tmp_path))
    assert found.allows("uwsgi", "1.2.3.4")
    files(tmp_path, deny="ALL: ALL\n")
    assert not found.allows("uwsgi", "1.2.3.4")
    (tmp_path / "hosts.deny").unlink()
    assert found.allows("uwsgi", "1.2.3.4")


def test_a_file_that_cannot_be_read_ends_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir(tmp_path / "hosts.allow")
    monkeypatch.setattr(access, "_HOSTS", HostsAccess(str(tmp_path)))
    reply = Playground("route-run = access:").get("/")
    assert reply.status == 500 and not reply.asked


@pytest.mark.parametrize(
    ("argument", "address", "goes_on"),
    [
        ("action=allow,addr=192.168.0.0/24", "192.168.0.1", True),
        ("action=allow,addr=192.168.0.0/24", "192.168.1.1", False),
        ("action=deny,addr=192.168.*", "192.168.1.1", False),
        ("action=deny,addr=192.168.*", "10.0.0.1", True),
        ("", "10.0.0.1", True),
        ("daemon=shop", "10.0.0.1", False),
        ("action=hosts,daemon=shop", "10.0.0.1", False),
    ],
)
def test_access(argument: str, address: str, goes_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_HOSTS", files(tmp_path, deny="shop: ALL"))
    reply = Playground(f"route-run = access:{argument}").get("/", REMOTE_ADDR=address)
    assert reply.asked is goes_on
    assert goes_on or reply.raw == FORBIDDEN


@pytest.mark.parametrize(
    ("argument", "reason"),
    [("action=grant", "expected one of hosts, allow, deny"), ("action=deny", "addr= is missing")],
)
def test_a_bad_argument_is_told_at_start(argument: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Playground(f"route-run = access:{argument}")

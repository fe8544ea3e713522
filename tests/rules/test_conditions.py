"""Each condition, under route-if and route-if-not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.rules.made import Playground
from uwsgirouter.rules.conditions.addresses import ipv4


def holds(condition: str, **variables: str | bytes) -> bool:
    log = Playground(f"route-if = {condition} log:yes\nroute-if-not = {condition} log:no").get(**variables).log
    assert log in (["yes"], ["no"])
    return log == ["yes"]


@pytest.mark.parametrize("name", ["equal", "isequal", "eq", "=="])
def test_equal(name: str) -> None:
    assert holds(name + ":${X};abc", X="abc")
    assert not holds(name + ":${X};abc", X="ABC")
    assert holds(name + ":;") and holds(name + ":${NOPE};")
    assert holds(name + ":${X};${Y}", X="a;b", Y="a;b")
    assert not holds(name + ":abc")


TEXTS = [
    ("startswith:${X};ab", "abc", True),
    ("startswith:${X};b", "abc", False),
    ("startswith:${X};", "abc", True),
    ("endswith:${X};bc", "abc", True),
    ("endswith:${X};b", "abc", False),
    ("endswith:${X};", "", True),
    ("contains:${X};b", "abc", True),
    ("contain:${X};aab", "aaab", True),  # uWSGI misses overlaps
    ("contains:${X};", "abc", False),
    ("contains:${X};x", "abc", False),
    ("empty:${X}", "", True),
    ("empty:${X}", " ", False),
    ("empty:", "", True),
    ("regexp:${X};^a.c$", "abc", True),
    ("re:${X};^a.c$", "abd", False),
    ("regexp:${X};a;b", "a;b", True),
    ("regexp:${X};\\$\\{Y\\}", "${Y}", True),
    ("regexp:^a", "a", False),
]


@pytest.mark.parametrize(("condition", "value", "expected"), TEXTS)
def test_texts(condition: str, value: str, expected: bool) -> None:
    assert holds(condition, X=value) is expected


NUMBERS = [
    ("5", "4", {">", ">="}),
    ("4", "4", {">=", "<="}),
    ("-1", "0", {"<", "<="}),
    ("12abc", "12", {">=", "<="}),
    ("abc", "0", {">=", "<="}),
    (" 7", "6", {">", ">="}),
    ("99999999999999999999999", "9223372036854775807", {">=", "<="}),
    ("", "0", {">=", "<="}),
]
NAMES = {">": "ishigher", "<": "islower", ">=": "ishigherequal", "<=": "islowerequal"}


@pytest.mark.parametrize(("left", "right", "true"), NUMBERS)
def test_numbers(left: str, right: str, true: set[str]) -> None:
    for sign, name in NAMES.items():
        for word in (sign, name):
            assert holds(f"{word}:${{X}};{right}", X=left) is (sign in true)


def test_files(tmp_path: Path) -> None:
    file, program, link = tmp_path / "file", tmp_path / "program", tmp_path / "link"
    file.write_text("")
    program.write_text("")
    program.chmod(0o755)
    link.symlink_to(file)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    true = {
        "exists": {"file", "program", "link", "."},
        "isfile": {"file", "program", "link"},
        "isdir": {"."},
        "islink": {"link", "broken"},
        "isexec": {"program", "."},
    }
    for condition, names in true.items():
        for name in ("file", "program", "link", "broken", ".", "nothing", "file/", "file\0x", "", "x" * 5000):
            wanted = name in names
            assert holds(f"{condition}:${{X}}", X=f"{tmp_path}/{name}" if name else "") is wanted, (condition, name)


def test_relative_names_start_where_chdir_went(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rules = f"route-if = isfile:file log:before\nroute-run = chdir:{tmp_path}\nroute-if = isfile:file log:behind"
    assert Playground(rules).get().log == ["behind"]
    assert os.getcwd() != str(tmp_path)


NETWORKS = [
    ("10.1.2.3", "10.0.0.0/8", True),
    ("10.1.2.3", "10.1.2.3/8", True),
    ("11.1.2.3", "10.0.0.0/8", False),
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.2", "127.0.0.1/32", False),
    ("8.8.8.8", "0.0.0.0/0", True),
    ("::1", "0.0.0.0/0", False),
    ("2001:db8::1234:5678:9abc", "10.0.0.0/8", False),
    ("", "0.0.0.0/0", False),
    ("nonsense", "0.0.0.0/0", False),
    ("10.0.0.1", "255.255.255.255/32", False),
]


@pytest.mark.parametrize(("address", "network", "expected"), NETWORKS)
def test_ipv4in(address: str, network: str, expected: bool) -> None:
    condition = f"ipv4in:${{REMOTE_ADDR}};{network}"
    assert holds(condition, REMOTE_ADDR=address) is expected
    assert holds("ipv4in:${REMOTE_ADDR};${NET}", REMOTE_ADDR=address, NET=network) is expected


def test_a_network_that_a_request_brings_and_that_is_none_has_no_address() -> None:
    for network in ("10.0.0.0/", "10.0.0.0/x", "10.0.0.0/33", "10.0.0.0/-1", "x/8", ""):
        assert not holds("ipv4in:${REMOTE_ADDR};${NET}", REMOTE_ADDR="10.0.0.0", NET=network)
    assert ipv4(b"255.255.255.255") is None


@pytest.mark.parametrize(
    ("address", "network", "expected"),
    [
        ("::1", "::1", True),
        ("2001:db8::5", "2001:db8::/32", True),
        ("2001:db9::5", "2001:db8::/32", False),
        ("10.0.0.1", "::/0", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.0/104", True),
        ("fe80::1%eth0", "::/0", False),
    ],
)
def test_ipv6in(address: str, network: str, expected: bool) -> None:
    assert holds(f"ipv6in:${{REMOTE_ADDR}};{network}", REMOTE_ADDR=address) is expected


class FakeCache:
    def exists(self, key: bytes) -> bool:
        return key == b"/there"


class FakeCaches:
    def find(self, name: str) -> FakeCache | None:
        return FakeCache() if name in ("", "mine") else None


def test_incache() -> None:
    def ask(path: str, name: str, caches: object) -> list[str]:
        play = Playground(f"route-if = incache:key=${{PATH_INFO}}{name} log:yes")
        play.host.caches = caches
        return play.get(path).log

    assert ask("/there", "", FakeCaches()) == ["yes"]
    assert ask("/there", ",name=mine", FakeCaches()) == ["yes"]
    assert ask("/gone", ",name=mine", FakeCaches()) == []
    assert ask("/there", ",name=other", FakeCaches()) == []
    assert ask("/there", "", None) == []

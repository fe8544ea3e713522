"""basicauth: who gets in, by which kind of hash, and what a slow hash costs."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.rules.made import Playground, PlayHost, Reply
from uwsgirouter.errors import ConfigError
from uwsgirouter.rules.base import ChainName
from uwsgirouter.rules.htpasswd import Htpasswd, matches, parse

T = TypeVar("T")

HASHES = {
    "des": "abzlUXK5ed5rs",
    "apr1": "$apr1$abcdefgh$5VEbMkemELfbhC5ck.U.z1",
    "md5": "$1$abcdefgh$IQtUouv7y7Q9dRWkQEPCc.",
    "sha512": "$6$abcdefgh$KQeXafAQAaOoKTevphVU215RvJdgzyfASRasIOuh12hO8u0r1bGW92ZnTmC9IjsiQ8VPiTXBiZF49dFL1U4wX/",
    "sha": "{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=",
}
"""The password pw, as ``openssl passwd`` and htpasswd write it."""


class SlowHost(PlayHost):
    """Counts what is done aside."""

    slow = 0

    def aside(self, call: Callable[[], T]) -> T:
        self.slow += 1
        return call()


def login(play: Playground, user: str, password: str) -> Reply:
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return play.get("/", {"Authorization": f"Basic {text}"})


def test_a_refusal() -> None:
    reply = Playground("route-run = basicauth:My Realm,foo:bar").get()
    assert reply.raw == (
        b'HTTP/1.1 401 Authorization Required\r\nWWW-Authenticate: Basic realm="My Realm"\r\n\r\nUnauthorized'
    )
    assert not reply.asked


def test_inline_credentials() -> None:
    play = Playground("route-run = basicauth:Realm,foo:bar")
    assert login(play, "foo", "bar").variables["REMOTE_USER"] == "foo"
    for user, password in (("foo", "baz"), ("fo", "bar"), ("foo", "bar2"), ("", ""), ("foo", "bar\0")):
        assert login(play, user, password).status == 401
    assert not play.table.waits(ChainName.REQUEST)


def test_an_empty_password_and_no_credentials_at_all() -> None:
    assert login(Playground("route-run = basicauth:R,kratos:"), "kratos", "").status == 200
    assert login(Playground("route-run = basicauth:R,kratos:"), "kratos", "x").status == 401
    assert login(Playground("route-run = basicauth:R,"), "kratos", "").status == 401


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Bearer x", "Basic Zm9v", "Zm9vOmJhcg=="])
def test_strange_headers_are_no_credentials(header: str) -> None:
    for name in ("basicauth", "basicauth-next"):
        play = Playground(f"route-run = {name}:R,foo:bar")
        assert play.get("/", {"Authorization": header}).status == 401


def test_next_forgives_wrong_credentials() -> None:
    play = Playground("""
        route-run = basicauth-next:R,one:1
        route-run = basicauth:R,two:2
        route-remote-user = ^two$ addvar:SECOND=yes
    """)
    assert login(play, "one", "1").variables["REMOTE_USER"] == "one"
    assert login(play, "two", "2").variables["SECOND"] == "yes"
    assert login(play, "two", "1").status == 401


def test_a_user_that_is_known_is_let_through() -> None:
    reply = Playground("route-run = basicauth:R,foo:bar").get("/", REMOTE_USER="ann")
    assert reply.asked


def test_nothing_is_expanded() -> None:
    play = Playground("route-run = basicauth:${PATH_INFO},${HTTP_HOST}:$1")
    assert b'realm="${PATH_INFO}"' in play.get().raw
    assert login(play, "${HTTP_HOST}", "$1").status == 200


@pytest.mark.parametrize("kind", HASHES)
def test_kinds_of_hashes(kind: str) -> None:
    stored = HASHES[kind].encode()
    assert matches(stored, b"pw")
    for wrong in (b"pW", b"", b"p", b"pw ", b"pw\0", b"\xff" * 300):
        assert not matches(stored, wrong)


def test_bcrypt() -> None:
    import bcrypt

    stored = bcrypt.hashpw(b"pw", bcrypt.gensalt(4))
    for prefix in (b"$2a$", b"$2b$", b"$2y$"):
        assert matches(prefix + stored[4:], b"pw")
        assert not matches(prefix + stored[4:], b"wp")
    long = b"x" * 100
    assert matches(bcrypt.hashpw(long[:72], bcrypt.gensalt(4)), long)


@pytest.mark.parametrize(
    "stored", [b"", b"pw", b"$2y$", b"$apr1$", b"$9$x$y", b"{SHA}", b"{SSHA}x", b"\xff\xfe", b"$6$rounds=x$a$b"]
)
def test_what_is_no_hash_matches_nothing(stored: bytes) -> None:
    assert not matches(stored, b"pw")
    assert not matches(stored, stored)


def test_lines_of_a_file() -> None:
    assert parse(b"# users\n\nann:x\r\nbob: y :more\nann:z\nnocolon\n:empty\nnohash:\n") == {
        b"ann": (b"x", b"z"),
        b"bob": (b"y",),
    }


def test_a_file_of_users(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{HASHES['apr1']}\nbob:{HASHES['sha']}\n")
    host = SlowHost()
    play = Playground(f"route-run = basicauth:R,{path}", host)
    assert play.table.waits(ChainName.REQUEST)
    assert login(play, "ann", "pw").variables["REMOTE_USER"] == "ann"
    assert host.slow == 1
    assert login(play, "ann", "pw").status == 200
    assert host.slow == 1, "a right password is remembered"
    for user, password in (("ann", "wp"), ("eve", "pw"), ("", "")):
        assert login(play, user, password).status == 401
    assert host.slow == 4
    assert login(play, "bob", "pw").status == 200


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{HASHES['apr1']}\n")
    play = Playground(f"route-run = basicauth:R,{path}")
    assert login(play, "ann", "pw").status == 200
    path.write_text("ann:nothing\n")
    assert login(play, "ann", "pw").status == 401
    path.write_text(f"ann:{HASHES['sha']}\n")
    assert login(play, "ann", "pw").status == 200
    os.unlink(path)
    reply = login(play, "ann", "pw")
    assert reply.status == 500
    assert reply.log[-1].endswith("cannot be read: No such file or directory")
    assert not reply.asked


def test_a_file_that_is_not_there_is_told_at_start() -> None:
    assert "cannot be read" in Playground("route-run = basicauth:R,/nowhere").warnings[0]


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uwsgirouter.rules.htpasswd.REMEMBERED_MOST", 2)
    path = tmp_path / "users"
    path.write_text("".join(f"u{number}:{HASHES['sha']}\n" for number in range(5)))
    file = Htpasswd(str(path))
    for number in range(5):
        assert file.verify(b"u%d" % number, b"pw")
    assert not file.remembers(b"u0", b"pw")
    assert file.remembers(b"u4", b"pw")


@pytest.mark.parametrize("rule", ["basicauth:realm", 'basicauth:a "b",c:d'])
def test_bad_arguments(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"rules:1"):
        Playground(f"route-run = {rule}")

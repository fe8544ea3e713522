"""Signed announcements: this router takes them, and so does the real FastRouter."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.keys import pair
from tests.servers import Servers, answer, fetch, free_port, free_udp_port, unpack, wait_until
from tests.servers.tap import Tap
from uwsgirouter.announce import Announcer, ConfigError, Signer
from uwsgirouter.announce.signer import LEAD, Clock
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.signing import split_signed


class Keys:
    """A private key, and a directory with the public one of foo.com."""

    def __init__(self, directory: Path, kind: str = "rsa") -> None:
        self.private = directory / "private.pem"
        self.private.write_bytes(pair(kind).private_pem)
        self.directory = directory / "keys"
        self.directory.mkdir()
        (self.directory / "foo.com.pem").write_bytes(pair(kind).public_pem)


@pytest.fixture
def tap() -> Iterator[Tap]:
    with Tap() as tap:
        yield tap


@pytest.mark.parametrize("which", ["router", "fastrouter"])
def test_routers_take_what_is_signed_and_nothing_else(servers: Servers, tmp_path: Path, which: str) -> None:
    """It comes, leaves and is back within a second, under both of them; somebody without the key stays out."""
    keys = Keys(tmp_path)
    address, server = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_udp_port()}"
    section = "uwsgirouter" if which == "router" else "uwsgi"
    config = f"[{section}]\nfastrouter = {address}\nfastrouter-subscription-server = {server}\n"
    config += f"subscriptions-sign-check = SHA256:{keys.directory}\n"
    if which == "router":
        servers.router(config=config)
    else:
        servers.fastrouter(config=config, system=True).wait_for_log("spawned uWSGI fastrouter 1", 15.0)
    node, other = servers.node(answer(b"signed")), servers.node(answer(b"not signed"))
    announcer = Announcer(server, "foo.com", node.address, sign=("sha256", str(keys.private)))
    stranger = Announcer(server, "foo.com", other.address)
    for step in (announcer.announce, stranger.announce, announcer.leave, announcer.announce, announcer.announce):
        assert step() == []
    wait_until(lambda: body_of(address), 15.0, "it is back")
    assert {body_of(address) for _ in range(4)} == {b"signed"}
    assert announcer.leave() == []
    wait_until(lambda: not body_of(address), 15.0, "it has left")


def body_of(address: str) -> bytes:
    """What is served; nothing when nobody does (the FastRouter closes without a word then)."""
    try:
        reply = fetch(address, "foo.com")
    except (AssertionError, ConnectionError):
        return b""
    return reply.body if reply.status == 200 else b""


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_each_round_bears_its_own_second(tap: Tap, tmp_path: Path, kind: str) -> None:
    keys = Keys(tmp_path, kind)
    announcer = Announcer(tap.address, "foo.com", "127.0.0.1:1", sign=Signer.parse(f"SHA1:{keys.private}"))
    for step in (announcer.announce, announcer.leave, announcer.announce):
        step()
    clocks = [int(dict(unpack(datagram[4:]))[b"unix"]) for datagram in tap.wait_for("foo.com", 3)]
    assert clocks == sorted(set(clocks))
    for datagram in tap.datagrams:
        signed, signature = split_signed(datagram)
        assert pair(kind).public.verifies(signature, signed, "SHA1")


def test_a_signed_announcement_names_the_machine(tap: Tap, tmp_path: Path) -> None:
    """Where a datagram comes from is not covered by its signature, so routers refuse a signed ``:port``."""
    signer = Signer("SHA256", str(Keys(tmp_path).private))
    Announcer(tap.address, "foo.com", ":3031", sign=signer).announce()
    Announcer(tap.address, "bar.com", ":3031").announce()
    assert dict(unpack(tap.wait_for("foo.com")[0][4:]))[b"address"] == b"127.0.0.1:3031"
    assert dict(unpack(tap.wait_for("bar.com")[0][4:]))[b"address"] == b":3031"
    with Tap(str(tmp_path / "s")) as unix, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.bind(("::1", 0))
        listener.settimeout(10)
        both = (unix.address, f"[::1]:{listener.getsockname()[1]}")
        Announcer(both, "foo.com", "[::]:3031", sign=signer).announce()
        assert dict(unpack(unix.wait_for("foo.com")[0][4:]))[b"address"] == b"127.0.0.1:3031"
        assert dict(unpack(listener.recv(9999)[4:]))[b"address"] == b"[::1]:3031"


def test_the_first_one_is_repeated_soon(tap: Tap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was here before may have left within the same second, and look the same to the router."""
    monkeypatch.setattr("uwsgirouter.announce.announcer.SIGNED_AGAIN", 0.1)
    with Announcer(tap.address, "foo.com", "127.0.0.1:1", every=600, sign=("SHA256", str(Keys(tmp_path).private))):
        tap.wait_for("foo.com", 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SHA256", "expected DIGEST:FILE"),
        ("MD5:/x", "unknown digest 'MD5', there are SHA1"),
        ("SHA256:/nowhere/at.all", "private key /nowhere/at.all: No such file or directory"),
        ("SHA256:{junk}", "private key .*junk: "),
        ("SHA256:{locked}", "private key .*locked: the key has a passphrase"),
    ],
)
def test_keys_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    (tmp_path / "locked").write_bytes(pair("rsa", passphrase=b"secret").private_pem)
    with pytest.raises(ConfigError, match=message):
        Signer.parse(text.format(junk=tmp_path / "junk", locked=tmp_path / "locked"))


def test_signed_ones_are_a_second_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"every = 0.5: signed announcements are at least 1 second apart"):
        Announcer("127.0.0.1:1", "a", "127.0.0.1:1", every=0.5, sign=("SHA256", str(Keys(tmp_path).private)))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=40))
def test_a_router_takes_every_round_however_fast_they_follow(steps: list[tuple[bool, float]]) -> None:
    """The clock of one announcer against the window of one router."""
    now = 1_700_000_000.0
    clock, replays = Clock(lambda: now), Replays()
    for leaving, pause in steps:
        now += pause
        unix = clock.next(leaving)
        replays.admit(b"foo.com", "/a", unix, b"%d" % unix, now, 86400.0)
        assert unix >= int(now)


def test_the_clock_does_not_run_away() -> None:
    clock = Clock(lambda: 1000.0)
    assert max(clock.next(False) for _ in range(10_000)) == 1000 + LEAD
    assert clock.next(True) == 1000 + LEAD + 1

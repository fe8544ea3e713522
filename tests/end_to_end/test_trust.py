"""Who may announce: real uWSGI instances that sign (or do not), before the router and the C FastRouter.

Both have the same configuration and hear the same datagrams; the tap keeps them, so that they can be sent again or
changed on their way. Where the two part, the test says so (docs/differences.md).
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import NamedTuple

import pytest

from tests.end_to_end.court import SLOW, Court, counts, taken
from tests.protocol.keys import pair
from tests.servers import Servers, announcement, fetch, local, wait_until
from tests.servers.wire import UNSUBSCRIBE, unpack
from uwsgirouter.protocol.signing import encode_signed
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer


class Signer(NamedTuple):
    """How a key is announced, which public key lies in the directory for it, and what our router must count."""

    key: str
    sign: str
    public: str
    reason: str = ""
    file: str = ""


SIGNERS = [
    Signer("good.example", "SHA256:{rsa}", "rsa"),
    Signer("curve.example", "SHA256:{ec}", "ec"),
    Signer("port.example:8000", "SHA256:{rsa}", "rsa", file="port.example_8000.pem"),
    Signer("a/b.example", "SHA256:{rsa}", "rsa", file="a_b.example.pem"),
    Signer("wrong.example", "SHA256:{rsa}", "other", "bad-signature"),
    Signer("sort.example", "SHA256:{rsa}", "ec", "bad-signature"),
    Signer("digest.example", "SHA1:{rsa}", "rsa", "bad-signature"),
    Signer("nofile.example", "SHA256:{rsa}", "", "no-public-key"),
    Signer("garbage.example", "SHA256:{rsa}", "garbage", "bad-public-key"),
    Signer("unsigned.example", "", "rsa", "not-signed"),
    Signer("last.example", "SHA256:{rsa}", "rsa"),
]


def keys(servers: Servers) -> dict[str, str]:
    """Private keys by sort, and the public ones where the routers look for them."""
    (servers.directory / "keys").mkdir()
    publics = {"rsa": pair("rsa"), "other": pair("rsa", 1), "ec": pair("ec")}
    for name in ("rsa", "ec"):
        Path(servers.path(f"{name}.pem")).write_bytes(publics[name].private_pem)
    for signer in SIGNERS:
        path = servers.directory / "keys" / (signer.file or f"{signer.key}.pem")
        if signer.public:
            path.write_bytes(publics[signer.public].public_pem if signer.public in publics else b"no key\n")
    return {name: servers.path(f"{name}.pem") for name in ("rsa", "ec")}


def allow(court: Court, key: str) -> None:
    """The key pair of most of these tests may announce it."""
    (court.servers.directory / "keys" / f"{key}.pem").write_bytes(pair("rsa").public_pem)


def signed(key: str, address: str = "127.0.0.1:9", ahead: int = 0) -> bytes:
    """An announcement as an instance would sign it whose clock is ``ahead`` of ours by so many seconds."""
    announce = Announce(key.encode(), parse_peer(address))
    return encode_signed(announce, pair("rsa").private, "SHA256", int(time()) + ahead)


_marks = iter(range(1000))


def mark_end(court: Court) -> None:
    """Whatever was sent before has been read by both: they took what is sent now."""
    key = f"mark-{next(_marks)}.example"
    allow(court, key)
    court.send(signed(key))
    court.wait_taken(key)


@pytest.fixture(scope="module")
def court() -> Iterator[Court]:
    """An instance has announced every signer's key to both routers."""
    servers = Servers()
    try:
        private = keys(servers)
        made = Court(servers, f"subscriptions-sign-check = SHA256:{servers.path('keys')}\n")
        options: list[str] = []
        for signer in SIGNERS:
            sign = f",sign={signer.sign}".format(**private) if signer.sign else ""
            options += made.options(signer.key, sign)
        app = made.instance(*options)
        made.wait_taken(SIGNERS[-1].key)
        yield made
        app.kill()
        made.tap.stop()
    finally:
        servers.close()


@pytest.mark.parametrize("signer", SIGNERS, ids=[signer.key for signer in SIGNERS])
def test_both_take_the_same_signers(court: Court, signer: Signer) -> None:
    assert (signer.key in taken(court.ours)) == (signer.key in taken(court.theirs)) == (not signer.reason)
    if signer.reason:
        assert counts(court.ours)[signer.reason] >= 1
        assert fetch(court.ours.address, signer.key).status == 503
    else:
        wait_until(lambda: fetch(court.ours.address, signer.key).body == b"here", SLOW, "requests reach it")


def test_all_workers_take_a_signed_node(court: Court) -> None:
    """Verified once, in the master."""
    wait_until(lambda: fetch(court.ours.address, "good.example").status == 200, SLOW, "it is known")
    assert {fetch(court.ours.address, "good.example").body for _ in range(40)} == {b"here"}


def test_the_log_names_the_sender(court: Court) -> None:
    court.ours.wait_for_log("] bad datagram from 127.0.0.1:", SLOW)


@pytest.mark.parametrize("part", [b"address", b"weight", b"modifier1", b"unix"])
def test_one_changed_byte_is_a_bad_signature(court: Court, part: bytes) -> None:
    """A number of the announcement is another one; both take it no more."""
    datagram = court.tap.of("good.example")[-1]
    value = dict(unpack(datagram[4:]))[part]
    other = b"%d" % (int(value) + 5) if part != b"address" else value[:-1] + bytes([value[-1] ^ 1])
    name = len(part).to_bytes(2, "little") + part + len(value).to_bytes(2, "little")
    before = counts(court.ours)["bad-signature"]
    court.send(datagram.replace(name + value, name + other))
    wait_until(lambda: counts(court.ours)["bad-signature"] == before + 1, SLOW, "it is refused")
    mark_end(court)
    assert taken(court.ours).count("good.example") == taken(court.theirs).count("good.example") == 1


def test_an_unsigned_farewell_counts_for_neither(court: Court) -> None:
    address = dict(unpack(court.tap.of("good.example")[0][4:]))[b"address"]
    before = counts(court.ours)["not-signed"]
    court.send(announcement("good.example", address, UNSUBSCRIBE))
    wait_until(lambda: counts(court.ours)["not-signed"] == before + 1, SLOW, "it is refused")
    mark_end(court)
    assert "good.example => removing" not in court.ours.log()
    assert "good.example => marking" not in court.theirs.log()


def test_what_was_overheard_cannot_be_sent_again(court: Court) -> None:
    """The FastRouter refuses the node's first announcement alone, and none once the node has left."""
    options = court.options("heard.example", f",sign=SHA256:{court.servers.path('rsa.pem')}")
    allow(court, "heard.example")
    app = court.instance(*options, "--subscribe-freq", "1")
    first, later = court.tap.wait_for("heard.example", 3)[:2]
    before = counts(court.ours)["replayed"]
    court.send(first)
    court.send(later)
    wait_until(lambda: counts(court.ours)["replayed"] == before + 2, SLOW, "both are refused")
    mark_end(court)
    assert court.theirs.log().count("invalid (sniffed ?) packet sent for slot: heard.example") == 1

    app.signal(signal.SIGINT)
    court.tap.wait_for("heard.example", 1, UNSUBSCRIBE)
    court.ours.wait_for_log("heard.example => removing node", SLOW)
    court.send(first)
    court.send(later)
    wait_until(lambda: counts(court.ours)["replayed"] == before + 4, SLOW, "both are refused")
    mark_end(court)
    assert (taken(court.ours).count("heard.example"), taken(court.theirs).count("heard.example")) == (1, 2)


def test_a_node_that_reloads_is_back_at_once(court: Court) -> None:
    """Its farewell is dated a second ahead, so its next announcement, a second later, has the very same bytes."""
    allow(court, "back.example")
    options = court.options("back.example", f",sign=SHA256:{court.servers.path('rsa.pem')}")
    app = court.instance(*options, socket=local())
    at_once: list[bool] = []
    while not any(at_once) and len(at_once) < 5:  # a reload that takes more than a second shows nothing
        count = len(at_once) + 1
        court.wait_taken("back.example", count)
        wait_until(app.heeds_signals, SLOW, "it can be told to reload")
        app.signal(signal.SIGTERM)
        court.ours.wait_for_log("back.example => removing node", SLOW, count)
        before = len(court.tap.of("back.example", 0))
        court.wait_taken("back.example", count + 1)
        at_once.append(len(court.tap.of("back.example", 0)) == before + 1)
    assert any(at_once), "its first announcement was refused, and only another one taken"
    app.kill()


@pytest.mark.parametrize(
    ("address", "ahead", "reason", "theirs"),
    [
        ("127.0.0.1:9", -86000, "", True),
        ("127.0.0.1:9", 86000, "", True),
        ("127.0.0.1:9", -87000, "bad-time", False),
        ("127.0.0.1:9", 87000, "bad-time", True),
        ("0.0.0.0:9", 0, "open-address", True),
        (":9", 0, "open-address", True),
    ],
)
def test_clocks_and_open_addresses(court: Court, address: str, ahead: int, reason: str, theirs: bool) -> None:
    """There the future is open, and ``0.0.0.0`` means the router's own machine."""
    key = f"clock{ahead}-{address}.example"
    allow(court, re.sub("[^0-9a-z.-]", "_", key))
    before = counts(court.ours)
    court.send(signed(key, address, ahead))
    mark_end(court)
    assert [key in taken(router) for router in (court.ours, court.theirs)] == [not reason, theirs]
    assert counts(court.ours) - before == Counter([reason] if reason else [])


def test_sha1_with_a_notice(servers: Servers) -> None:
    private = keys(servers)
    court = Court(servers, f"subscriptions-sign-check = SHA1:{servers.path('keys')}\n")
    with_sha1 = court.options("good.example", f",sign=SHA1:{private['rsa']}")
    app = court.instance(*court.options("wrong.example", f",sign=SHA256:{private['rsa']}"), *with_sha1)
    court.wait_taken("good.example")
    assert taken(court.ours) == taken(court.theirs) == ["good.example"]
    assert "subscriptions-sign-check: SHA1 is weak" in court.ours.log()
    app.kill()
    court.tap.stop()

"""The subscription server asks who sends: real sockets, real credentials, one rule of each sort."""

from __future__ import annotations

import array
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.protocol.keys import pair
from uwsgirouter.log import Log
from uwsgirouter.master.keyring import Keyring, owners
from uwsgirouter.master.subscriptions import Rejects, SubscriptionServer
from uwsgirouter.model.trust import Trust
from uwsgirouter.protocol.repeated import Reader
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.signing import encode_signed
from uwsgirouter.protocol.subscription import Announce, encode_announce
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.settings.senders import Rules, key_rule, networks

NODE = Announce(b"foo.com", parse_peer("127.0.0.1:3031"))


class Office:
    """A subscription server that nobody but the test reads."""

    def __init__(self, server: socket.socket, rules: Rules) -> None:
        self.replays = Replays()
        self.accepted: list[Announce] = []
        self.rejects = Rejects(Log("test"))
        self.server = SubscriptionServer(server, self._accept, self.rejects, self.trust(rules), Reader())

    def _accept(self, announce: Announce, sender: object) -> bool:
        self.accepted.append(announce)
        return False

    def trust(self, rules: Rules) -> Trust:
        return Trust(rules, self.replays, Keyring(rules.keys).find, lambda key: owners(rules.owners, key))

    def read(self) -> list[str]:
        """Take what waits; the reasons of all refusals so far."""
        self.server.read(time.monotonic())
        return sorted(self.rejects.reasons.elements())


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's socket, and one to send from."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        server.bind(f"{tmp_path}/server")
        sender.connect(f"{tmp_path}/server")
        yield server, sender


@pytest.fixture
def udp() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        server.bind(("127.0.0.1", 0))
        sender.connect(server.getsockname())
        yield server, sender


Sockets = tuple[socket.socket, socket.socket]


def test_the_kernel_says_who_sends(unix: Sockets, tmp_path: Path) -> None:
    office = Office(unix[0], Rules(owners=(str(tmp_path),)))
    (tmp_path / "foo.com").touch()
    unix[1].send(encode_announce(NODE))
    unix[1].send(encode_announce(Announce(b"bar.com", NODE.address)))
    assert office.read() == ["wrong owner"]
    assert office.accepted == [NODE]


def test_a_file_of_another_user_is_not_enough(unix: Sockets, tmp_path: Path) -> None:
    if os.getuid() == 0:
        (tmp_path / "foo.com").touch()
        os.chown(tmp_path / "foo.com", 12345, 12345)
    else:
        (tmp_path / "foo.com").symlink_to("/etc/passwd")
    office = Office(unix[0], Rules(owners=(str(tmp_path),)))
    unix[1].send(encode_announce(NODE))
    assert office.read() == ["wrong owner"]


def test_the_log_names_the_sender(unix: Sockets, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    office = Office(unix[0], Rules(use_credentials=True))
    unix[1].send(b"junk")
    assert office.read() == ["bad size"]
    who = f"a unix socket (process {os.getpid()}, user {os.getuid()}, group {os.getgid()})"
    assert f"bad datagram from {who}: bad size" in capfd.readouterr().err


def test_what_was_sent_before_the_kernel_was_asked_has_no_sender(unix: Sockets, tmp_path: Path) -> None:
    (tmp_path / "foo.com").touch()
    unix[1].send(encode_announce(NODE))
    office = Office(unix[0], Rules(owners=(str(tmp_path),)))
    unix[1].send(encode_announce(NODE))
    assert office.read() == ["no credentials"]
    assert office.accepted == [NODE]


def test_a_reload_asks_or_asks_no_more(unix: Sockets, tmp_path: Path) -> None:
    office = Office(unix[0], Rules())
    unix[1].send(encode_announce(NODE))
    assert office.read() == []
    office.server.trust = office.trust(Rules(owners=(str(tmp_path),)))
    unix[1].send(encode_announce(NODE))
    assert office.read() == ["wrong owner"]
    office.server.trust = office.trust(Rules())
    unix[1].send(encode_announce(NODE))
    assert office.read() == ["wrong owner"]
    assert len(office.accepted) == 2


@pytest.mark.parametrize("asks", [False, True])
def test_descriptors_that_are_sent_along_are_not_taken(unix: Sockets, asks: bool) -> None:
    """Else any sender could fill the master's table of descriptors."""
    office = Office(unix[0], Rules(use_credentials=asks))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        rights = array.array("i", [0, 1, 2])
        socket.socket.sendmsg(unix[1], [encode_announce(NODE)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        assert office.read() == []
    assert len(office.accepted) == 20
    assert len(os.listdir("/proc/self/fd")) == before


def test_over_udp_there_are_no_credentials(udp: Sockets, tmp_path: Path) -> None:
    (tmp_path / "foo.com").touch()
    office = Office(udp[0], Rules(owners=(str(tmp_path),)))
    udp[1].send(encode_announce(NODE))
    assert office.read() == ["no credentials"]


def test_networks(udp: Sockets) -> None:
    office = Office(udp[0], Rules(allow=networks("10.0.0.0/8")))
    udp[1].send(encode_announce(NODE))
    udp[1].send(b"junk, which is not even looked at")
    assert office.read() == ["sender not allowed"] * 2
    office.server.trust = office.trust(Rules(key_rules=(key_rule("*.com 10.0.0.0/8"),)))
    udp[1].send(encode_announce(NODE))
    udp[1].send(encode_announce(Announce(b"foo.org", NODE.address)))
    assert office.read() == ["key not allowed", *["sender not allowed"] * 2]
    assert [announce.key for announce in office.accepted] == [b"foo.org"]


def test_what_is_known_by_heart_is_judged_all_the_same(udp: Sockets) -> None:
    office = Office(udp[0], Rules())
    for _ in range(3):
        udp[1].send(encode_announce(NODE))
    assert (office.read(), len(office.accepted)) == ([], 3)
    office.server.trust = office.trust(Rules(allow=networks("10.0.0.0/8")))
    udp[1].send(encode_announce(NODE))
    assert (office.read(), len(office.accepted)) == (["sender not allowed"], 3)


def test_the_same_words_of_two_senders_mean_two_nodes(udp: Sockets) -> None:
    office = Office(udp[0], Rules())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        for _ in range(2):
            udp[1].send(encode_announce(NODE._replace(address=parse_peer(":3031"))))
            other.sendto(encode_announce(NODE._replace(address=parse_peer(":3031"))), udp[0].getsockname())
    assert office.read() == []
    assert [announce.address.text for announce in office.accepted] == ["127.0.0.1:3031", "127.0.0.2:3031"] * 2


def test_signatures(udp: Sockets, tmp_path: Path) -> None:
    (tmp_path / "foo.com.pem").write_bytes(pair("rsa").public_pem)
    office = Office(udp[0], Rules(digest="SHA256", keys=str(tmp_path)))
    now = int(time.time())
    good = encode_signed(NODE, pair("rsa").private, "SHA256", now)
    for datagram in (
        good,
        good,
        encode_announce(NODE),
        encode_signed(NODE, pair("rsa", 1).private, "SHA256", now + 1),
        encode_signed(Announce(b"foo.com", parse_peer(":3031")), pair("rsa").private, "SHA256", now),
        encode_signed(Announce(b"bar.com", NODE.address), pair("rsa").private, "SHA256", now),
    ):
        udp[1].send(datagram)
    assert office.read() == ["bad signature", "no public key", "not signed", "open address", "replayed"]
    assert [(announce.key, announce.unix) for announce in office.accepted] == [(b"foo.com", now)]


def test_without_rules_the_sender_is_the_address(udp: Sockets) -> None:
    office = Office(udp[0], Rules())
    udp[1].send(encode_announce(Announce(b"foo.com", parse_peer(":3031"))))
    assert office.read() == []
    assert office.accepted[0].address.text == "127.0.0.1:3031"


def test_an_ipv4_sender_is_one_on_a_socket_that_hears_both() -> None:
    """As systemd makes such sockets: for the networks that may announce, and for a node that names no host."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
    ):
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        four.connect(("127.0.0.1", server.getsockname()[1]))
        six.connect(("::1", server.getsockname()[1]))
        office = Office(server, Rules(allow=networks("127.0.0.0/8")))
        four.send(encode_announce(Announce(b"foo.com", parse_peer(":3031"))))
        six.send(encode_announce(Announce(b"foo.com", parse_peer(":3031"))))
        assert office.read() == ["sender not allowed"]
        assert [announce.address.text for announce in office.accepted] == ["127.0.0.1:3031"]
        office.server.trust = office.trust(Rules())
        six.send(encode_announce(Announce(b"foo.com", parse_peer(":3031"))))
        office.read()
        assert [announce.address.text for announce in office.accepted] == ["127.0.0.1:3031", "[::1]:3031"]

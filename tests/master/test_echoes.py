"""Datagrams that need not be read: which they are, and when they must be read all the same."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from uwsgirouter.balancers.wrr import WeightedRoundRobin
from uwsgirouter.log import Log
from uwsgirouter.master.subscriptions import Gist, Rejects, SubscriptionServer
from uwsgirouter.model.registry import Registry
from uwsgirouter.model.table import RouteTable
from uwsgirouter.model.trust import Trust
from uwsgirouter.protocol.repeated import SIZE_MOST, Reader
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.subscription import Announce, encode_announce
from uwsgirouter.settings.address import parse_peer
from uwsgirouter.settings.senders import Rules, key_rule, networks

NODE = Announce(b"foo.com", parse_peer("10.0.0.1:3031"), weight=3)


class Office:
    """A subscription server over a registry, and what each pass had to have read."""

    def __init__(self) -> None:
        self.registry = Registry(RouteTable(WeightedRoundRobin), lambda id: 0, 17.0, 30.0)
        self.reader = Reader()
        self.accepted: list[Announce] = []
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sender.connect(sock.getsockname())
        self.server = SubscriptionServer(sock, self._accept, Rejects(Log("t")), self.trust(Rules()), self.reader, self)

    def trust(self, rules: Rules) -> Trust:
        return Trust(rules, Replays(), lambda key: None, lambda key: ())

    def _accept(self, announce: Announce, sender: object) -> bool:
        self.accepted.append(announce)
        return bool(self.registry.announce(announce, time.monotonic()))

    def hear_echo(self, digest: bytes) -> bool:
        return self.registry.hear_echo(digest, time.monotonic())

    def note_echo(self, digest: bytes, announce: Announce) -> bool:
        return self.registry.note_echo(digest, announce)

    def take(self, *announces: Announce) -> list[Announce]:
        """Send these and read them; those that had to be acted upon."""
        for announce in announces:
            self.sender.send(encode_announce(announce))
        self.accepted = []
        assert self.server.read(time.monotonic()) == len(announces)
        return self.accepted

    def close(self) -> None:
        self.server.sock.close()
        self.sender.close()


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.close()


def test_the_same_again_is_not_even_read(office: Office) -> None:
    assert office.take(NODE) == [NODE]
    assert office.server.gist is Gist.NEWS
    node = office.registry.find(NODE.key, NODE.address)
    assert node is not None
    before = office.registry.heard(node)
    assert before is not None
    assert office.take(NODE, NODE) == []
    assert office.server.gist is Gist.KNOWN
    assert (office.registry.heard(node) or 0.0) > before
    assert len(office.reader) == 0, "nothing is remembered twice"


def test_it_is_read_when_the_node_is_another_one_now(office: Office) -> None:
    office.take(NODE)
    office.registry.fail(0, time.monotonic())
    assert office.take(NODE, NODE) == [NODE], "it is back"
    assert office.take(NODE._replace(load=5), NODE) == [NODE._replace(load=5), NODE]
    assert office.take(NODE._replace(leaving=True), NODE) == [NODE._replace(leaving=True), NODE]
    assert office.take(NODE) == []


@pytest.mark.parametrize("address", [":3031", "0.0.0.0:3031"])
def test_what_depends_on_the_sender_is_acted_upon_each_time(office: Office, address: str) -> None:
    open_address = NODE._replace(address=parse_peer(address))
    meant = NODE._replace(address=parse_peer("127.0.0.1:3031"))
    assert [office.take(open_address) for _ in range(3)] == [[meant]] * 3
    assert len(office.reader) == 1, "but it is known what it says"


def test_so_is_what_a_vassal_says(office: Office) -> None:
    vassal = NODE._replace(vassal=b"one.ini")
    assert [office.take(vassal) for _ in range(3)] == [[vassal]] * 3


def test_rules_are_asked_each_time(office: Office) -> None:
    office.take(NODE)
    assert office.take(NODE) == []
    office.server.trust = office.trust(Rules(allow=networks("127.0.0.0/8")))
    assert office.take(NODE) == [], "this one looks at the sender alone"
    office.server.trust = office.trust(Rules(key_rules=(key_rule("foo.com 127.0.0.0/8"),)))
    assert office.take(NODE) == [NODE]
    office.server.trust = office.trust(Rules(allow=networks("10.0.0.0/8")))
    assert office.take(NODE) == []
    assert office.server.gist is Gist.REFUSED


def test_long_ones_are_not_remembered(office: Office) -> None:
    long = NODE._replace(sni_key=b"/" + b"k" * SIZE_MOST)
    assert [office.take(long) for _ in range(2)] == [[long]] * 2
    assert len(office.reader) == 0

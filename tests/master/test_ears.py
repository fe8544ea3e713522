"""The subscription servers together: what silence proves when one of them is flooded, and what people are told."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from uwsgirouter.log import Log
from uwsgirouter.master import ears as module
from uwsgirouter.master import receive_queue, subscriptions
from uwsgirouter.master.ears import Ears
from uwsgirouter.master.sockets import Bound
from uwsgirouter.model.trust import Trust
from uwsgirouter.protocol.replay import Replays
from uwsgirouter.protocol.subscription import Announce, encode_announce
from uwsgirouter.settings.address import Kind, parse_peer
from uwsgirouter.settings.senders import Rules

GOOD = encode_announce(Announce(b"foo.com", parse_peer("127.0.0.1:3031")))


class Head:
    """Two servers on UDP, read as the master reads them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        log = Log("test")
        log.line = self.lines.append  # type: ignore[method-assign]
        self.heard: list[Announce] = []
        self.selector = selectors.DefaultSelector()
        self.ears = Ears(log, lambda announce, sender: self.heard.append(announce))
        self.bounds = [self.bound(), self.bound()]
        self.trust = Trust(Rules(), Replays(), lambda key: None, lambda key: ())
        self.ears.watch(self.selector, self.bounds, self.trust)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @staticmethod
    def bound() -> Bound:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        host, port = sock.getsockname()
        return Bound((socket.SOCK_DGRAM, Kind.TCP4, host, port), sock, f"{host}:{port}")

    def send(self, datagram: bytes, count: int = 1, to: int = 0) -> None:
        for _ in range(count):
            self.sender.sendto(datagram, self.bounds[to].sock.getsockname())

    def passes(self, most: int = 1) -> None:
        """So many passes of the master's loop."""
        for _ in range(most):
            for key, _ in self.selector.select(0):
                key.data()

    def told(self, word: str) -> list[str]:
        return [line for line in self.lines if word in line]

    def close(self) -> None:
        self.selector.close()
        for sock in [self.sender, *(bound.sock for bound in self.bounds)]:
            sock.close()


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    monkeypatch.setattr(subscriptions, "PASS_SECONDS", 60.0)
    made = Head()
    yield made
    made.close()


def test_all_is_heard(head: Head) -> None:
    head.send(GOOD, 3)
    head.send(GOOD, to=1)
    head.passes()
    assert len(head.heard) == 4
    hearing = head.ears.hearing(100.0)
    assert (hearing.until, hearing.missed) == (100.0, float("-inf"))
    assert head.ears.describe() == ""


def test_what_waits_is_not_heard_yet(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of the time since the one server had been read to its end, however well the other hears."""
    monkeypatch.setattr(subscriptions, "PASS_MAX", 10)
    head.passes()
    assert head.ears.hearing(100.0).until == 100.0
    head.send(GOOD, 35)
    head.passes(2)
    assert head.ears.hearing(101.0).until == 100.0
    head.passes()
    assert head.ears.hearing(102.0).until == 102.0
    assert len(head.heard) == 35


def test_what_came_while_the_loop_was_held_up_is_read_first(head: Head) -> None:
    head.send(GOOD, 3)
    assert head.ears.hearing(100.0).until == 100.0
    assert len(head.heard) == 3


def test_a_pass_ends_in_time(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "PASS_SECONDS", 0.0)
    head.send(GOOD)
    head.passes()
    assert not head.heard, "there was no time for any"
    monkeypatch.setattr(subscriptions, "PASS_SECONDS", 60.0)
    head.passes()
    assert head.heard


def test_losses_are_told_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_queue, "SIZE", 20_000)
    head = Head()
    try:
        head.send(b"x" * 500, 300, to=1)
        head.passes()
        assert head.ears.hearing(100.0).missed == 100.0
        assert head.ears.hearing(101.0).missed == 100.0
        head.send(b"x" * 500, 300, to=1)
        assert head.ears.hearing(102.0).missed == 102.0
        assert head.told("announcements are lost") == [
            f"[test pid {os.getpid()}] announcements are lost: more come to {head.bounds[1].name} than can be "
            "read; nodes that seem silent are given more time"
        ]
        lost = int(head.ears.describe().partition("lost=")[2])
        assert 300 < lost < 600
        head.send(b"x" * 500, 300, to=1)
        head.ears.hearing(102.0 + module.EPISODE + 1)
        assert len(head.told("announcements are lost")) == 2
    finally:
        head.close()


def test_a_flood_of_junk_is_one_line_a_second_and_counted(head: Head) -> None:
    head.send(b"noise", 200)
    head.send(b"no", 100)
    head.send(b"x" * 5000, 10)
    head.send(GOOD[:-1], 20)
    head.send(GOOD)
    head.passes()
    assert len(head.heard) == 1
    lines = head.told("bad datagram")
    assert len(lines) in (1, 2), "two when a second ended meanwhile"
    assert f"bad datagram from 127.0.0.1:{head.sender.getsockname()[1]}: bad size: the header says " in lines[0]
    assert head.ears.describe() == "bad-size=220 short=100 too-long=10"


def test_a_short_queue_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_queue, "SIZE", 1 << 30)
    monkeypatch.setattr(receive_queue, "_FORCE", 9999)
    head = Head()
    try:
        assert len(head.told("raise net.core.rmem_max")) == 2
    finally:
        head.close()


def test_a_reload_keeps_what_was_heard_and_changes_who_is_trusted(head: Head) -> None:
    head.ears.hearing(100.0)
    other = Head.bound()
    kept, gone = head.bounds
    head.bounds[1] = other
    strict = Trust(Rules(vassal_required=True), Replays(), lambda key: None, lambda key: ())
    head.ears.watch(head.selector, [kept, other], strict)
    gone.sock.close()
    assert len(head.told("bound to")) == 3
    before = time.monotonic()
    head.send(GOOD)
    head.send(GOOD, to=1)
    head.passes()
    assert (head.heard, head.ears.describe()) == ([], "vassal-required=2")
    assert head.ears.hearing(before + 1).until == before + 1

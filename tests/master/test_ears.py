"""The subscription servers together: what silence proves when one of them is flooded, and what people are told."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

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
OTHER = encode_announce(Announce(b"bar.com", parse_peer("127.0.0.1:3032")))


class Head:
    """Two servers on UDP, read as the master reads them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        log = Log("test")
        log.line = self.lines.append  # type: ignore[method-assign]
        self.heard: list[Announce] = []
        self.selector = selectors.DefaultSelector()
        self.is_news = False
        self.news: set[bytes] = set()
        """Keys."""
        self.ears = Ears(log, self.accept)
        self.bounds = [self.bound(), self.bound()]
        self.trust = Trust(Rules(), Replays(), lambda key: None, lambda key: ())
        self.ears.watch(self.selector, self.bounds, self.trust)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def accept(self, announce: Announce, sender: object) -> bool:
        self.heard.append(announce)
        return self.is_news or announce.key in self.news

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


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    """Rests last for minutes, so that no test depends on how quickly two datagrams follow each other."""
    monkeypatch.setattr(subscriptions, "PASS_SECONDS", 60.0)
    monkeypatch.setattr(module, "REST_MOST", 1000.0)
    monkeypatch.setattr(receive_queue, "FLOOD", 1.0)
    made = Head()
    yield made
    made.close()


def test_known_nodes_that_speak_often_are_let_wait(patient: Head) -> None:
    patient.send(GOOD, 3)
    assert patient.ears.listen() == 1000.0
    assert patient.ears.listen() == 0.0, "nobody spoke in the rest"
    patient.send(GOOD, to=1)
    assert patient.ears.listen() == 1000.0, "a single one, but soon after the others"
    assert len(patient.heard) == 4


def test_a_lone_announcement_is_no_reason_to_rest(patient: Head) -> None:
    """A rest would be one wake-up more, and none less."""
    patient.send(GOOD)
    assert patient.ears.listen() == 0.0


def test_whatever_changes_something_is_passed_on_at_once(patient: Head) -> None:
    patient.is_news = True
    patient.send(GOOD, 3)
    assert patient.ears.listen() is None
    patient.is_news = False
    patient.send(GOOD, 3)
    assert patient.ears.listen() == 1000.0


def test_one_that_is_new_among_known_ones_counts(patient: Head) -> None:
    for datagram in (GOOD, OTHER, GOOD):
        patient.send(datagram)
    patient.news = {b"bar.com"}
    assert patient.ears.listen() is None


def test_what_does_not_end_is_read_without_a_rest(patient: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "PASS_MAX", 10)
    patient.send(GOOD, 15)
    assert patient.ears.listen() is None
    assert patient.ears.listen() == 1000.0


def test_junk_is_read_without_a_rest(patient: Head) -> None:
    """A flood is to be read as fast as can be, since good announcements are in it."""
    for _ in range(2):  # the second one is refused without a line in the log
        patient.send(GOOD, 3)
        patient.send(b"noise" * 10)
        assert patient.ears.listen() == 0.0


def test_nobody_rests_longer_than_a_queue_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 datagrams a second must fit; and no longer than a new node may wait, nor for nothing."""

    def rest(size: int) -> float | None:
        monkeypatch.setattr(receive_queue, "SIZE", size)
        head = Head()
        head.send(GOOD, 3)
        rest = head.ears.listen()
        head.close()
        return rest

    assert module.REST_MOST <= 0.02
    long = rest(4 << 20)
    assert long in (module.REST_MOST, rest(1 << 30)), "or the kernel gives no more than this"
    short = rest(200_000)
    assert short == pytest.approx(200_000 / receive_queue.DATAGRAM_SIZE / 100_000, rel=0.01)
    assert rest(100_000) == 0.0


def test_the_queue_holds_what_comes_in_a_rest() -> None:
    """As many of uWSGI's announcements as is said, by the kernel's own account."""
    head = Head()
    try:
        server = head.bounds[0].sock
        queue = receive_queue.ReceiveQueue(server)
        datagram = encode_announce(Announce(b"www.example.com", parse_peer("192.168.100.100:30310"), cores=16))
        head.send(datagram.ljust(200, b"x"), int(queue.patience * receive_queue.FLOOD))
        assert queue.losses() == 0
    finally:
        head.close()


def test_a_unix_socket_refuses_so_nobody_rests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its queue is ten datagrams long, unless somebody raised that."""
    for length, may_rest in ((10, False), (5000, True)):
        monkeypatch.setattr(receive_queue, "_unix_length", lambda length=length: length)
        head = Head()
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = str(tmp_path / f"{length}")
        unix.bind(path)
        head.bounds.append(Bound((socket.SOCK_DGRAM, Kind.UNIX, path, 0), unix, path))
        head.ears.watch(head.selector, head.bounds, head.trust)
        head.send(GOOD, 3)
        assert bool(head.ears.listen()) is may_rest
        unix.close()
        head.close()

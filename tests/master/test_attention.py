"""What the master waits for: nothing but its ears ever waits, and these never for long."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from uwsgirouter.master.attention import Attention

LONG = 100.0
"""Seconds that no test waits for."""


class Post:
    """An ear that is said to have read what waits, and something else; both are socket pairs."""

    def __init__(self) -> None:
        self.attention = Attention(self.listen)
        self.ear, self.node = socket.socketpair()
        self.other, self.worker = socket.socketpair()
        self.ear.setblocking(False)
        self.attention.ears.register(self.ear, selectors.EVENT_READ, self.listen)
        self.attention.others.register(self.other, selectors.EVENT_READ, self.other_is_ready)
        self.answers: list[float | None] = []
        self.heard: list[bytes] = []

    def listen(self) -> float | None:
        try:
            self.heard.append(self.ear.recv(100))
        except BlockingIOError:
            self.heard.append(b"")
        return self.answers.pop(0)

    def other_is_ready(self) -> None:
        """Nobody takes what is there: it stays ready."""

    def wait(self, seconds: float) -> float:
        """The seconds that it took until there was nothing to call."""
        start = time.monotonic()
        assert self.attention.wait(start + seconds) == []
        return time.monotonic() - start

    def close(self) -> None:
        self.attention.close()
        for sock in (self.ear, self.node, self.other, self.worker):
            sock.close()


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.close()


def test_nothing_happens_until_the_moment_has_come(post: Post) -> None:
    assert post.wait(0.05) >= 0.05
    assert post.wait(-1.0) < LONG / 2
    assert post.heard == []


def test_news_is_the_loops_at_once(post: Post) -> None:
    post.answers = [None]
    post.node.send(b"new")
    assert post.wait(LONG) < LONG / 2
    assert post.heard == [b"new"]


def test_what_says_nothing_new_is_nothing_to_the_loop(post: Post) -> None:
    """Without a rest as well: few come, so each is read when it comes."""
    post.answers = [0.0]
    post.node.send(b"known")
    assert post.wait(0.2) >= 0.2
    assert post.heard == [b"known"]


def test_what_comes_in_a_rest_is_read_at_its_end(post: Post) -> None:
    """And not when it comes, nor later; two share the pass."""
    post.answers = [0.2, None]
    post.node.send(b"known")
    timer = threading.Timer(0.05, post.node.send, [b"new"])
    timer.start()
    took = post.wait(LONG)
    timer.join()
    assert 0.2 <= took < LONG / 2
    assert post.heard == [b"known", b"new"]


def test_after_a_rest_in_which_nobody_spoke_the_next_one_is_read_when_it_comes(post: Post) -> None:
    post.answers = [0.01, 0.0, None]
    post.node.send(b"known")
    timer = threading.Timer(0.2, post.node.send, [b"new"])
    timer.start()
    assert post.wait(LONG) < LONG / 2
    timer.join()
    assert post.heard == [b"known", b"", b"new"]


def test_a_rest_does_not_outlast_the_moment(post: Post) -> None:
    post.answers = [LONG]
    post.node.send(b"known")
    assert 0.05 <= post.wait(0.05) < LONG / 2
    assert post.wait(0.05) < LONG / 2, "and goes on afterwards"
    assert post.heard == [b"known"]


def test_everything_else_is_seen_in_a_rest(post: Post) -> None:
    post.answers = [LONG]
    post.node.send(b"known")
    post.wait(0.01)
    post.node.send(b"more")
    timer = threading.Timer(0.05, post.worker.send, [b"ready"])
    timer.start()
    start = time.monotonic()
    assert post.attention.wait(start + LONG) == [post.other_is_ready]
    timer.join()
    assert time.monotonic() - start < LONG / 2
    assert post.heard == [b"known"], "the ears rest all the same"


def test_when_both_are_ready_both_have_their_turn(post: Post) -> None:
    post.answers = [LONG]
    post.node.send(b"known")
    post.worker.send(b"ready")
    calls = post.attention.wait(time.monotonic() + LONG)
    assert (len(calls), calls[0], post.heard) == (2, post.other_is_ready, [])
    for call in calls:
        call()
    assert post.heard == [b"known"]
    assert post.attention.wait(time.monotonic() + LONG) == [post.other_is_ready], "it rests now"


def test_whoever_talks_all_the_time_does_not_stop_the_clock(post: Post) -> None:
    """Junk that is read as fast as it comes: nothing new, nothing left, no rest."""
    end = time.monotonic() + 10

    def listen() -> float | None:
        post.heard.append(b"junk")
        return 0.0 if time.monotonic() < end else None

    attention = Attention(listen)
    attention.ears.register(post.ear, selectors.EVENT_READ, listen)
    post.node.send(b"junk")
    start = time.monotonic()
    assert attention.wait(start + 0.05) == []
    assert 0.05 <= time.monotonic() - start < 5
    assert len(post.heard) > 1
    post.heard.clear()
    assert (attention.wait(start), len(post.heard)) == ([], 1), "and somebody is listened to all the same"
    attention.close()


def test_ears_that_go_are_not_missed(post: Post) -> None:
    post.attention.ears.unregister(post.ear)
    post.node.send(b"lost")
    assert post.wait(0.05) >= 0.05
    assert post.heard == []


def test_a_child_lets_go_of_both(post: Post) -> None:
    post.attention.close()
    for selector in (post.attention.ears, post.attention.others):
        with pytest.raises(ValueError, match="closed"):
            selector.fileno()

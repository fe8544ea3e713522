"""What the kernel lost: real sockets with queues that are too short."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgirouter.master import receive_queue
from uwsgirouter.master.receive_queue import ReceiveQueue

Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def udp() -> Iterator[Sockets]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        sender.connect(server.getsockname())
        yield server, sender


def read_all(sock: socket.socket) -> int:
    count = 0
    try:
        while sock.recv(4096):
            count += 1
    except BlockingIOError:
        return count
    raise AssertionError("an empty datagram")


def test_a_full_udp_queue_is_counted(udp: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_queue, "SIZE", 20_000)
    server, sender = udp
    queue = ReceiveQueue(server)
    assert queue.losses() == 0
    for _ in range(300):
        sender.send(b"x" * 500)
    assert queue.losses() == 300 - read_all(server) > 0
    assert queue.losses() == 0, "each is told once"
    sender.send(b"x")
    assert (read_all(server), queue.losses()) == (1, 0)


def test_what_was_lost_before_does_not_count(udp: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket may have been somebody else's: systemd's, or the router's before it was replaced."""
    monkeypatch.setattr(receive_queue, "SIZE", 20_000)
    server, sender = udp
    before = ReceiveQueue(server)
    for _ in range(300):
        sender.send(b"x" * 500)
    assert ReceiveQueue(server).losses() == 0
    assert before.losses() > 0


def test_the_count_goes_round(udp: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = ReceiveQueue(udp[0])
    counts = iter([2**32 - 3, 2])
    monkeypatch.setattr(queue, "_count", lambda: next(counts))
    queue.losses()
    assert queue.losses() == 5


def test_the_queue_is_as_long_as_was_asked_or_says_that_it_is_not(udp: Sockets) -> None:
    queue = ReceiveQueue(udp[0])
    assert queue.size <= receive_queue.SIZE
    assert queue.is_short is (queue.size < receive_queue.SIZE)


def test_without_the_right_to_more(udp: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is what anybody gets, and that is told."""
    monkeypatch.setattr(receive_queue, "_FORCE", 9999)
    monkeypatch.setattr(receive_queue, "SIZE", 1 << 30)
    queue = ReceiveQueue(udp[0])
    assert 0 < queue.size < 1 << 30
    assert queue.is_short


def test_a_kernel_that_does_not_count(udp: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_queue, "_MEMINFO", 9999)
    assert ReceiveQueue(udp[0]).losses() == 0


def test_a_unix_queue_that_was_read_as_full_may_have_refused_somebody(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        server.bind(f"{tmp_path}/server")
        server.setblocking(False)
        queue = ReceiveQueue(server)
        sender.connect(f"{tmp_path}/server")
        sender.setblocking(False)
        assert not queue.is_short
        for _ in range(queue.length - 1):
            sender.send(b"x")
        queue.was_read(read_all(server))
        assert queue.losses() == 0
        with pytest.raises(BlockingIOError):
            for _ in range(100_000):
                sender.send(b"x")
        queue.was_read(read_all(server))
        assert queue.losses() == 1
        assert queue.losses() == 0

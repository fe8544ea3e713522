"""The master's end of a channel: nobody waits while a worker is told of many nodes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.model.made import put, table
from uwsgirouter.master.downlink import ROWS_PER_MESSAGE, Downlink
from uwsgirouter.model.events import Gone
from uwsgirouter.protocol.messages import Message, MessageReader


class Worker:
    """The lower end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = MessageReader()
        sock.setblocking(False)

    def messages(self) -> list[Message]:
        found: list[Message] = []
        try:
            while data := self._sock.recv(1 << 20):
                found += self._reader.feed(data)
        except BlockingIOError:
            pass
        return found


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Worker]]:
    upper, lower = socket.socketpair()
    with upper, lower:
        yield upper, Worker(lower)


def rows(message: Message) -> list[int]:
    assert message[0] == "nodes" and isinstance(message[3], list)
    return [row[0] for row in message[3]]


def test_a_new_worker_is_told_in_pieces(ends: tuple[socket.socket, Worker]) -> None:
    """One with each pass of the master's loop; the first one is the beginning of a snapshot, the last one the start."""
    upper, worker = ends
    count = 2 * ROWS_PER_MESSAGE + 1
    downlink = Downlink(upper, table(*(put(id) for id in range(count))))
    seen: list[Message] = []
    passes = 0
    while downlink.waiting:
        downlink.write()
        got = worker.messages()
        assert len(got) <= 1
        seen += got
        passes += 1
        assert passes < 100
    *pieces, start = seen
    assert start == ["start", len(pieces)]
    assert [message[2] for message in pieces] == [True, False, False]
    assert [id for message in pieces for id in rows(message)] == list(range(count))


def test_orders_wait_behind_the_changes(ends: tuple[socket.socket, Worker]) -> None:
    upper, worker = ends
    nodes = table(*(put(id) for id in range(ROWS_PER_MESSAGE + 1)))
    downlink = Downlink(upper, nodes)
    downlink.order("drain", False)
    downlink.write()
    assert [message[0] for message in worker.messages()] == ["nodes"]
    nodes.apply(Gone(ROWS_PER_MESSAGE))
    downlink.write()
    (last,) = worker.messages()
    downlink.write()
    start, drain = worker.messages()
    assert (rows(last), last[4], start[0], drain) == ([], [ROWS_PER_MESSAGE], "start", ["drain", False])
    assert not downlink.waiting


def test_a_worker_that_does_not_read_costs_nothing(ends: tuple[socket.socket, Worker]) -> None:
    upper, worker = ends
    nodes = table(*(put(id) for id in range(50 * ROWS_PER_MESSAGE)))
    downlink = Downlink(upper, nodes)
    for _ in range(200):
        downlink.write()
    assert downlink.waiting
    seen = {id for message in worker.messages() for id in rows(message)}
    assert 0 < len(seen) < len(nodes.nodes)
    for id in range(40):
        downlink.node_changed(id)
    while downlink.waiting:
        downlink.write()
        for message in worker.messages():
            seen |= set(rows(message)) if message[0] == "nodes" else set()
    assert seen == set(nodes.nodes)

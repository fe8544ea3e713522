"""Serving a picture: everybody who comes gets it, and nobody can do any harm."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.servers import wait_until
from uwsgirouter.stats import serving as module
from uwsgirouter.stats.serving import PEERS_MOST, Pieces, Serving

BIG = [b"x" * 65536] * 64
"""More than the kernel takes for a peer that does not read."""


class Desk:
    """A serving in a thread: ``plain`` is sent at once, ``http`` must be asked for."""

    def __init__(self, window: float, pieces: Pieces = (b'{"a":', b"1}")) -> None:
        self.made: list[str] = []
        self.pieces = pieces
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        for sock in sockets:
            sock.setblocking(False)
        self.plain, self.http = (sock.getsockname() for sock in sockets)
        self.closed = threading.Event()
        serving = Serving({sockets[0]: (self.make, False), sockets[1]: (self.make, True)})
        self.thread = threading.Thread(target=serving.run, args=(self.closed.set, window))
        self.thread.start()

    def make(self, accept: str) -> tuple[str, Pieces]:
        self.made.append(accept)
        return "text/x", self.pieces

    def peer(self, address: tuple[str, int], said: bytes = b"") -> socket.socket:
        sock = socket.create_connection(address, 20)
        sock.sendall(said)
        return sock


def read(sock: socket.socket) -> bytes:
    """All until the end; a reset is an OSError."""
    with sock:
        found = b""
        while data := sock.recv(65536):
            found += data
        return found


@pytest.fixture
def serve() -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def start(window: float = 1.0, pieces: Pieces = (b'{"a":', b"1}")) -> Desk:
        desks.append(Desk(window, pieces))
        return desks[-1]

    yield start
    for desk in desks:
        desk.thread.join(30)
        assert not desk.thread.is_alive()


def test_each_gets_what_its_socket_shows(serve: Callable[..., Desk]) -> None:
    desk = serve()
    peers = [desk.peer(desk.plain) for _ in range(5)]
    assert [json.loads(read(peer)) for peer in peers] == [{"a": 1}] * 5
    head = b"GET /metrics HTTP/1.1\r\nAccept: b\r\n\r\n"
    answer = read(desk.peer(desk.http, head))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\n") and answer.endswith(b'\r\n\r\n{"a":1}')
    assert desk.made[0] == "" and desk.made[-1] == "b"


def test_whoever_says_something_that_nobody_asked_for_reads_all_the_same(serve: Callable[..., Desk]) -> None:
    """A browser at the plain socket: its request must not turn the end into a reset."""
    desk = serve(pieces=BIG)
    peer = desk.peer(desk.plain, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
    assert len(read(peer)) == sum(map(len, BIG))


def test_a_request_in_pieces_and_nonsense(serve: Callable[..., Desk]) -> None:
    desk = serve()
    slow = desk.peer(desk.http, b"GET /metr")
    assert read(desk.peer(desk.http, b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert read(desk.peer(desk.http, b"x" * 20000)).startswith(b"HTTP/1.1 431 ")
    gone = desk.peer(desk.http, b"GET")
    gone.close()
    slow.sendall(b"ics HTTP/1.1\r\n\r\n")
    assert read(slow).startswith(b"HTTP/1.1 200 ")


def test_those_who_are_there_are_served_beyond_the_window(
    serve: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = serve(0.3, BIG)
    peer = desk.peer(desk.plain)
    assert desk.closed.wait(20), "it accepts no more, although somebody is still to read"
    assert desk.thread.is_alive()
    with pytest.raises(OSError):
        socket.create_connection(desk.plain, 5)
    assert len(read(peer)) == sum(map(len, BIG))


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\n\r\n"], ids=["silent", "does not read"])
def test_nobody_stays_for_ever(serve: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(module, "ASK_SECONDS", 0.5)
    monkeypatch.setattr(module, "READ_SECONDS", 0.5)
    desk = serve(0.3, BIG)
    with desk.peer(desk.http, said):
        desk.thread.join(20)
        assert not desk.thread.is_alive()


def test_many_at_once(serve: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than so many places; whoever waits longer is served by whoever comes next."""
    monkeypatch.setattr(module, "ASK_SECONDS", 1.0)
    desk = serve(1.0)
    silent = [desk.peer(desk.http) for _ in range(PEERS_MOST + 20)]
    assert desk.closed.wait(20)
    wait_until(lambda: not desk.thread.is_alive(), 20, "all were shown out")
    for sock in silent:
        sock.close()

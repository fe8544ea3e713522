"""Marked sources: woken for big pieces, and yet nothing that has come waits for what has not."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import uwsgirouter.worker.gathering
from tests.servers import Client, Connection, post, wait_until
from tests.worker.site import Site
from uwsgirouter.worker.gathering import MARK, WHOLE
from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.streams import Stream, accept, dial

DEADLINE = 20.0
BUFFER = 3 * MARK
"""More than is ever under way, but where a test wants it otherwise."""


class Watcher:
    """Knows whether it was started; for a timer, too."""

    def __init__(self) -> None:
        self.active = False

    def start(self, handler: Callable[[], None]) -> None:
        self.active = True

    again = start

    def stop(self) -> None:
        self.active = False


class Loop:
    """The test calls the handlers itself."""

    def __init__(self) -> None:
        self.beat = Watcher()

    def io(self, descriptor: int, events: int) -> Watcher:
        return Watcher()

    def timer(self, after: float, repeat: float) -> Watcher:
        return self.beat


class Transfer:
    """A pump between two TCP connections; also its session."""

    def __init__(self, loop: Loop, keep: ExitStack, awaited: int) -> None:
        self.silence = self.passed = self.read = 0
        self._awaited = awaited
        self._listener = keep.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # what it accepts has it, too
        self.writer, self.source = self._connected()
        self.sink, self.reader = self._connected()
        for stream in (self.writer, self.source, self.sink, self.reader):
            keep.callback(stream.close)
        self.pump = Pump(loop, memoryview(bytearray(MARK)), self, self.source, self.sink)
        keep.callback(self.pump.stop)
        self.pump.start()

    def _connected(self) -> tuple[Stream, Stream]:
        near = dial(socket.AF_INET)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        near.connect_ex(self._listener.getsockname())
        found: list[Any] = []
        wait_until(lambda: found.append(accept(self._listener, socket.AF_INET)) or found[-1], DEADLINE, "connection")
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return near, found[-1]

    def moved(self, pump: Pump, count: int) -> None:
        self.passed += count

    def awaited(self, pump: Pump) -> int:
        return WHOLE if self._awaited == WHOLE else self._awaited - self.passed

    @property
    def mark(self) -> int:
        return self.source.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    def send(self, size: int) -> None:
        """So many bytes, until all of them are with the pump's source."""
        before = self.waiting()
        sent = 0
        while sent < size:
            sent += self.writer.send(bytes(size - sent), 0)
        wait_until(lambda: self.waiting() == before + size, DEADLINE, "the bytes to arrive")

    def waiting(self) -> int:
        count: int = struct.unpack("i", fcntl.ioctl(self.source.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0]
        return count

    def is_told(self) -> bool:
        return bool(select.select([self.source.fileno()], [], [], 0)[0])

    def drain(self) -> None:
        """Read what was passed on."""
        while self.read < self.passed:
            assert select.select([self.reader.fileno()], [], [], DEADLINE)[0]
            self.read += len(self.reader.recv(1 << 20, 0))

    def until_bulk(self) -> None:
        """Send until the pump has seen that it goes fast."""
        for _ in range(20):
            self.send(MARK)
            while self.waiting():
                self.pump.on_readable()
            assert not self.pump.held
            self.drain()
        assert self.mark == MARK


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setattr(uwsgirouter.worker.gathering, "_gathering", None)
    return Loop()


@pytest.fixture
def keep() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def beat(loop: Loop) -> None:
    uwsgirouter.worker.gathering.gathering(loop).beat()


def test_a_source_in_bulk_is_told_of_big_pieces_and_of_its_end(loop: Loop, keep: ExitStack) -> None:
    transfer = Transfer(loop, keep, WHOLE)
    assert transfer.mark == 1
    transfer.until_bulk()
    assert transfer.mark == MARK
    transfer.send(MARK - 1)
    assert not transfer.is_told()
    transfer.send(1)
    assert transfer.is_told()
    transfer.pump.on_readable()
    assert not transfer.waiting()
    transfer.send(10)
    transfer.writer.shutdown(socket.SHUT_WR)
    wait_until(transfer.is_told, DEADLINE, "the end is told in spite of the mark")


def test_what_has_come_does_not_wait_for_what_has_not(loop: Loop, keep: ExitStack) -> None:
    transfer = Transfer(loop, keep, WHOLE)
    transfer.until_bulk()
    assert loop.beat.active
    beat(loop)
    assert transfer.mark == MARK, "it has just read"
    before = transfer.passed
    transfer.send(1000)
    beat(loop)
    assert transfer.passed == before + 1000
    assert transfer.mark == 1
    assert not loop.beat.active
    transfer.send(1)
    assert transfer.is_told()


def test_a_pump_that_waits_for_its_sink_is_left_alone(loop: Loop, keep: ExitStack) -> None:
    transfer = Transfer(loop, keep, WHOLE)
    transfer.until_bulk()
    while not transfer.pump.held:
        transfer.send(MARK)
        transfer.pump.on_readable()
    transfer.send(MARK)
    beat(loop)
    before = transfer.passed
    beat(loop)
    assert transfer.passed == before, "it holds bytes already"
    assert transfer.mark == 1


def test_the_rest_of_a_body_is_told_when_all_of_it_is_there(loop: Loop, keep: ExitStack) -> None:
    size = 21 * MARK + 100
    transfer = Transfer(loop, keep, size)
    transfer.until_bulk()
    assert transfer.mark == MARK
    transfer.send(MARK)
    transfer.pump.on_readable()
    assert transfer.mark == 100
    transfer.send(99)
    assert not transfer.is_told()
    transfer.send(1)
    assert transfer.is_told()
    transfer.pump.on_readable()
    assert transfer.passed == size
    assert transfer.mark == 1
    assert not loop.beat.active


@pytest.mark.parametrize("ends", [Pump.stop, Pump.discard])
def test_a_pump_that_ends_leaves_no_mark(loop: Loop, keep: ExitStack, ends: Callable[[Pump], None]) -> None:
    transfer = Transfer(loop, keep, WHOLE)
    transfer.until_bulk()
    ends(transfer.pump)
    assert transfer.mark == 1
    assert not loop.beat.active


def test_a_body_of_unknown_length_is_not_marked(loop: Loop, keep: ExitStack) -> None:
    transfer = Transfer(loop, keep, 0)
    for _ in range(20):
        transfer.send(MARK)
        while transfer.waiting():
            transfer.pump.on_readable()
        transfer.drain()
    assert transfer.mark == 1


MUCH, LITTLE = 8 << 20, 1000


def test_both_sides_may_pause_in_the_middle_of_large_bodies(site: Site) -> None:
    """What either says after a pause is passed on, however little it is."""

    def pausing(connection: Connection) -> None:
        connection.read_packet()
        connection.read(MUCH)
        connection.send(b"x" * MUCH)
        connection.read(LITTLE)
        connection.send(b"y" * LITTLE)
        connection.read(MUCH)

    key, _ = site.serve(pausing, "tcp")
    with Client(site.tcp, DEADLINE) as client:
        client.send_packet(post(key, MUCH + LITTLE + MUCH))
        client.send(b"x" * MUCH)
        client.read(MUCH)
        client.send(b"y" * LITTLE)
        assert client.read(LITTLE) == b"y" * LITTLE
        client.send(b"x" * MUCH)
        assert client.read_all()[0] == b""

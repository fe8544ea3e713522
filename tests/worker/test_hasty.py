"""A pump that looks for the end right behind the first bytes: what comes whole is passed on whole, nothing is lost."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.servers import wait_until
from tests.worker.by_hand import Loop
from uwsgirouter.worker.flow import Flow
from uwsgirouter.worker.relay import Pump
from uwsgirouter.worker.streams import Stream, dial

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Told:
    """The session: it writes down what it is told."""

    def __init__(self) -> None:
        self.silence = 0
        self.count = 0
        self.heard: list[str] = []

    def moved(self, pump: Pump, count: int) -> None:
        self.count += count

    def ended(self, pump: Pump) -> None:
        self.heard.append("ended")

    def source_failed(self, pump: Pump, error: OSError) -> None:
        self.heard.append("source failed")

    def sink_failed(self, pump: Pump, error: OSError) -> None:
        self.heard.append("sink failed")


class Bench:
    """``node`` writes what the pump reads, ``client`` reads what it writes; both are ordinary sockets."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.node, self.source = self._pair(listener)
            self.client, self.sink = self._pair(listener)
        self.told = Told()
        self.pump = Pump(Loop(), memoryview(bytearray(65536)), self.told, self.source, self.sink)
        self.pump.hasty = True
        self.pump.start()

    @staticmethod
    def _pair(listener: socket.socket) -> tuple[socket.socket, Stream]:
        near = dial(socket.AF_INET)
        near.setblocking(False)
        near.connect_ex(listener.getsockname())
        far, _ = listener.accept()
        far.settimeout(10)
        return far, near

    def arrived(self, *pieces: bytes, end: bool = False, reset: bool = False) -> None:
        """The node sends, and all of it is here when the pump looks."""
        for piece in pieces:
            self.node.sendall(piece)
        size = sum(map(len, pieces))
        wait_until(lambda: len(self._peek(size)) == size, 10, "the bytes are here")
        if end:
            self.node.shutdown(socket.SHUT_WR)
        elif reset:
            self.node.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.node.close()

    def _peek(self, size: int) -> bytes:
        with socket.socket(fileno=socket.dup(self.source.fileno())) as copy:
            try:
                return copy.recv(size + 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return b""

    def read_to_end(self) -> bytes:
        data = b""
        while block := self.client.recv(1 << 16):
            data += block
        return data

    def fill_sink(self) -> int:
        """Until the client's side takes nothing more; the number of bytes."""
        count = 0
        while True:
            try:
                count += self.sink.send(b"x" * 65536, int(socket.MSG_DONTWAIT))
            except BlockingIOError:
                return count

    def close(self) -> None:
        self.pump.stop()
        for one in (self.node, self.source, self.client, self.sink):
            one.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_bytes_and_end_at_once(bench: Bench) -> None:
    bench.arrived(b"all of it", end=True)
    wait_until(lambda: bench.pump.on_readable() is None and bench.told.heard, 10, "it ended")
    assert bench.told.heard == ["ended"]
    assert (bench.told.count, bench.pump.flow) == (9, Flow.ENDED)
    assert bench.read_to_end() == b"all of it", "nothing is held back, though the session may live on"


def test_bytes_without_an_end(bench: Bench) -> None:
    bench.arrived(b"some of it")
    bench.pump.on_readable()
    assert bench.client.recv(100) == b"some of it", "at once"
    assert (bench.told.heard, bench.pump.flow, bench.pump.hasty) == ([], Flow.OPEN, False)


def test_as_much_as_a_read_takes(bench: Bench) -> None:
    """There is no room to look further."""
    bench.arrived(b"y" * 65536, end=True)
    bench.pump.on_readable()
    bench.pump.on_readable()
    assert bench.told.heard == ["ended"]


def test_a_reset_behind_the_bytes(bench: Bench) -> None:
    """Linux lets a reader have neither: the reset takes the bytes along, or comes after they were read."""
    bench.arrived(b"half", reset=True)
    wait_until(lambda: bench.pump.on_readable() is None and bench.told.heard, 10, "it is told")
    assert bench.told.heard == ["source failed"]
    assert bench.told.count in (0, 4)


def test_nobody_is_there_to_read_it(bench: Bench) -> None:
    bench.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    bench.client.close()
    bench.arrived(b"all of it", end=True)
    wait_until(lambda: bench.pump.on_readable() is None and bench.told.heard, 10, "it is told")
    assert bench.told.heard == ["sink failed"]


def test_a_client_that_does_not_keep_up_gets_all_of_it_and_then_the_end(bench: Bench) -> None:
    before = bench.fill_sink()
    bench.arrived(b"the last bytes", end=True)
    wait_until(lambda: bench.pump.on_readable() is None and bench.pump.flow is Flow.ENDING, 10, "the end is seen")
    assert (bench.told.heard, bench.pump.held) == ([], 14)
    read = 0
    while bench.pump.held:
        read += len(bench.client.recv(1 << 16))
        bench.pump.on_writable()
    assert bench.told.heard == ["ended"]
    bench.sink.shutdown(socket.SHUT_WR)
    rest = bench.read_to_end()
    assert read + len(rest) == before + 14 and rest.endswith(b"the last bytes")


def test_a_reset_behind_bytes_that_the_client_does_not_take_yet_is_told_after_them(bench: Bench) -> None:
    before = bench.fill_sink()
    bench.arrived(b"half", reset=True)
    wait_until(lambda: bench.pump.on_readable() is None and bench.told.count, 10, "the bytes are read")
    assert (bench.told.heard, bench.pump.held) == ([], 4)
    read = 0
    while bench.pump.held:
        read += len(bench.client.recv(1 << 16))
        bench.pump.on_writable()
    # The kernel tells a reset once: it was met while there was still something to write.
    assert bench.told.heard == ["source failed"]
    bench.sink.shutdown(socket.SHUT_WR)
    rest = bench.read_to_end()
    assert read + len(rest) == before + 4 and rest.endswith(b"half")

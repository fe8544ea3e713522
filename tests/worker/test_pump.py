"""A pump alone, between two socket pairs, with watchers that the test calls by hand."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.worker.by_hand import Loop
from uwsgirouter.worker.relay import FIRST_READ, Pump
from uwsgirouter.worker.streams import Stream, accept, dial


class Told:
    """The session: it only counts."""

    def __init__(self) -> None:
        self.silence = 0
        self.count = 0

    def moved(self, pump: Pump, count: int) -> None:
        self.count += count


def connected(listener: socket.socket, path: str) -> tuple[Stream, Stream]:
    near = dial(socket.AF_UNIX)
    assert near.connect_ex(path) == 0
    far = accept(listener, socket.AF_UNIX)
    assert far is not None
    return near, far


@pytest.mark.parametrize("size", [4096, 20_000, FIRST_READ, 4 * FIRST_READ])
def test_no_more_is_held_than_the_buffer_size(tmp_path: Path, size: int) -> None:
    """``fastrouter-buffer-size``, also where it is less than a first read usually is."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        writer, source = connected(listener, path)
        sink, _reader = connected(listener, path)
        told = Told()
        pump = Pump(Loop(), memoryview(bytearray(size)), told, source, sink)
        pump.start()
        passed = 0
        while not pump.held:
            try:
                passed += writer.send(b"x" * 100_000, int(socket.MSG_DONTWAIT))
            except BlockingIOError:
                pass  # more is waiting than one read takes
            pump.on_readable()
            assert passed < 1 << 24, "the sink never filled"
        assert 0 < pump.held <= size
        assert told.count <= passed
        pump.stop()
        for stream in (writer, source, sink, _reader):
            stream.close()

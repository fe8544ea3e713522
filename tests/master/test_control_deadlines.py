"""The control socket's master side in this process, with time given by hand: who takes too long is shown out."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgirouter.log import Log
from uwsgirouter.master.control_socket import REST_SECONDS, ControlSocket, Peer
from uwsgirouter.master.conversation import ANSWER_SECONDS, IDLE_SECONDS, REQUEST_SECONDS
from uwsgirouter.master.sockets import Bound
from uwsgirouter.settings.address import Kind


class Lines(Log):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def answers(line: bytes, peer: Peer) -> Iterator[bytes]:
    """Endless for b"more", broken for b"break"."""
    if line == b"break":
        raise RuntimeError("a bug")
    while line == b"more":
        yield b"x" * 1000
    yield b"done"


class Master:
    """A loop with nothing but a control socket."""

    def __init__(self, path: str) -> None:
        self.log = Lines()
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.setblocking(False)
        self.control = ControlSocket(self.selector, self.log, answers)
        self.control.watch(Bound((socket.SOCK_STREAM, Kind.UNIX, path, 0), self.listener, path, path))
        self.path = path

    def turn(self) -> int:
        """One pass; how much there was to do."""
        ready = self.selector.select(0)
        for key, _ in ready:
            key.data()
        return len(ready)

    def turn_until_quiet(self) -> None:
        while self.turn():
            pass

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.path)
        self.turn_until_quiet()
        return client

    def close(self) -> None:
        self.control.close()
        self.selector.close()
        self.listener.close()


@pytest.fixture
def master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Master]:
    monkeypatch.chdir(tmp_path)
    made = Master("c")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("said", "patience", "complaint"),
    [
        (b"", IDLE_SECONDS, "said nothing in time"),
        (b"half", REQUEST_SECONDS, "did not end its request in time"),
        (b"more\n", ANSWER_SECONDS, "did not take its answer in time"),
    ],
)
def test_who_takes_too_long_is_disconnected(master: Master, said: bytes, patience: float, complaint: str) -> None:
    with master.connect() as client, master.connect() as other:
        client.sendall(said)
        master.turn_until_quiet()  # the endless answer ends here when the kernel takes no more of it
        begun = time.monotonic()
        master.control.tick(begun + patience - 5)
        assert not master.log.lines[1:]
        other.sendall(b"x\n")
        master.turn_until_quiet()
        master.control.tick(begun + patience + 5)
        assert any(complaint in line for line in master.log.lines)
        while client.recv(1 << 20):
            pass
        assert other.recv(10) == b"done\n"


def test_an_error_of_ours_ends_one_connection(master: Master) -> None:
    with master.connect() as client, master.connect() as other:
        client.sendall(b"break\n")
        other.sendall(b"x\n")
        master.turn_until_quiet()
        assert client.recv(10) == b""
        assert other.recv(10) == b"done\n"
    assert any("RuntimeError: a bug" in line for line in master.log.lines)


def test_no_descriptor_is_left(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            raise OSError(errno.EMFILE, "Too many open files")

    listener = master.listener
    full = Full(fileno=listener.detach())
    master.listener = full
    bound = Bound((socket.SOCK_STREAM, Kind.UNIX, "c", 1), full, "c", "c")
    master.selector.unregister(listener)
    monkeypatch.setattr(master.control, "_bound", None)
    master.control.watch(bound)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("c")
        assert master.turn() == 1
        assert master.turn() == 0, "it does not spin"
        assert any("cannot accept: Too many open files" in line for line in master.log.lines)
        master.control.tick(time.monotonic() + REST_SECONDS + 1)
        assert master.turn() == 1, "it tries again"

"""A gathering and the disk: who closes the file, when a client goes while a thread writes to it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uwsgirouter.worker.body import FLUSH, Gathering, Spool

PIECE = 1 << 16


class Watcher:
    """A loop's watcher that the test calls itself."""

    def __init__(self, *_: int) -> None:
        self.callback: Callable[[], None] | None = None

    def start(self, callback: Callable[[], None]) -> None:
        """Watch."""
        self.callback = callback

    def stop(self) -> None:
        """Watch no more."""
        self.callback = None


class Disk:
    """Runs what it is given when the test says so; ``written`` is told then."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], Any], Callable[[Any, OSError | None], None]]] = []
        self.files: list[Any] = []

    def call(self, function: Callable[[], Any], done: Callable[[Any, OSError | None], None]) -> None:
        """As the real one."""
        self.calls.append((function, done))

    def write(self) -> Callable[[], None]:
        """What the thread does, of the oldest call; the result, when it is called, is what the loop is told."""
        function, done = self.calls.pop(0)
        try:
            file = function()
        except OSError as error:
            failed = error
            return lambda: done(None, failed)
        self.files.append(file)
        return lambda: done(file, None)


class Owner:
    """What a session's buffering hears."""

    def __init__(self) -> None:
        self.body: bytes | Spool | None = None
        self.error: OSError | None = None

    def progressed(self) -> None:
        """Something moved."""

    def gathered(self, body: bytes | Spool) -> None:
        """All is here."""
        self.body = body

    def failed(self, error: OSError) -> None:
        """It cannot be kept."""
        self.error = error


class Scene:
    """A gathering of ``length`` bytes with everything around it in the test's hands."""

    def __init__(self, directory: Path, length: int) -> None:
        self.client, accepted = socket.socketpair()
        self.accepted = accepted
        self.watcher = Watcher()
        self.disk, self.owner = Disk(), Owner()
        router: Any = SimpleNamespace(
            disk=self.disk,
            loop=SimpleNamespace(io=lambda *_: self.watcher),
            post_buffering=10,
            post_buffering_dir=str(directory),
            scratch=memoryview(bytearray(PIECE)),
        )
        self.gathering = Gathering(router, self.owner, accepted, b"", length)  # type: ignore[arg-type]
        self.gathering.start()

    def send(self, size: int) -> None:
        """The client sends so much, and the gathering reads it."""
        while size:
            self.client.sendall(bytes(min(PIECE, size)))
            size -= min(PIECE, size)
            assert self.watcher.callback is not None
            self.watcher.callback()

    def close(self) -> None:
        """All of it."""
        self.gathering.stop()
        while self.disk.calls:
            self.disk.write()()
        self.client.close()
        self.accepted.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A body of three writes."""
    made = Scene(tmp_path, 3 * FLUSH)
    yield made
    made.close()


def test_the_client_is_not_read_while_the_disk_writes(scene: Scene) -> None:
    scene.send(FLUSH)
    assert scene.watcher.callback is None
    scene.disk.write()()
    assert scene.watcher.callback is not None


def test_a_file_is_not_closed_under_a_write(scene: Scene) -> None:
    """Its number would be given to the next connection, and what is still to be written would go there."""
    scene.send(FLUSH)
    scene.disk.write()()
    scene.send(FLUSH)
    (file,) = scene.disk.files
    scene.gathering.stop()  # the client went
    assert not file.closed
    tell = scene.disk.write()
    assert os.fstat(file.fileno()).st_size == 2 * FLUSH
    tell()
    assert not file.closed, "closing may take a while: it is the disk's, too"
    scene.disk.write()
    assert file.closed
    assert (scene.owner.body, scene.owner.error) == (None, None)


def test_a_file_is_closed_with_its_gathering_between_two_writes(scene: Scene) -> None:
    scene.send(FLUSH)
    scene.disk.write()()
    scene.gathering.stop()
    assert not scene.disk.files[0].closed
    scene.disk.write()
    assert scene.disk.files[0].closed


def test_a_file_that_is_opened_for_a_client_that_went_is_closed(scene: Scene) -> None:
    scene.send(FLUSH)
    scene.gathering.stop()
    scene.disk.write()()
    assert not scene.disk.files[0].closed
    scene.disk.write()
    assert scene.disk.files[0].closed


def test_a_complete_file_is_the_owners(scene: Scene) -> None:
    for _ in range(3):
        scene.send(FLUSH)
        scene.disk.write()()
    body = scene.owner.body
    assert isinstance(body, Spool)
    scene.gathering.stop()
    assert not scene.disk.files[0].closed
    assert body.length == 3 * FLUSH == os.fstat(scene.disk.files[0].fileno()).st_size
    body.close()
    body.close()


def test_a_write_that_fails_closes_the_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115 - it is closed by what is tested
    monkeypatch.setattr("uwsgirouter.worker.body._open", lambda _: full)
    scene.send(FLUSH)
    scene.disk.write()()
    assert scene.owner.error is not None
    assert scene.owner.error.errno == errno.ENOSPC
    assert full.closed

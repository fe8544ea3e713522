"""The snapshot's file: whole or not there, and never a reason not to start."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from uwsgirouter.master import snapshot_file
from uwsgirouter.model.node import State
from uwsgirouter.model.snapshot import SavedNode, Snapshot
from uwsgirouter.protocol.subscription import Announce
from uwsgirouter.settings.address import parse_peer

ONE = Snapshot(5.0, (SavedNode(Announce(b"foo.com", parse_peer("127.0.0.1:3031")), State.UP, 4.0, 4.0),))


def loaded(path: Path) -> tuple[Snapshot | None, list[str]]:
    notices: list[str] = []
    return snapshot_file.load(str(path), notices.append), notices


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    for snapshot in (ONE, Snapshot(6.0)):
        snapshot_file.save(str(path), snapshot)
        assert loaded(path) == (snapshot, [])
    assert [file.name for file in tmp_path.iterdir()] == ["nodes"], "nothing is left beside it"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    snapshot_file.save("nodes", ONE)
    assert loaded(Path("nodes")) == (ONE, [])


def test_without_a_file_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert loaded(tmp_path / "nodes") == (None, [])


def test_a_bad_file_is_a_notice_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_bytes(b"junk\n")
    assert loaded(path) == (
        None,
        [f"subscription-snapshot = {path}: starting without nodes: it is not made of lines of JSON"],
    )
    assert path.read_bytes() == b"junk\n", "it is left for people to look at"


def test_what_cannot_be_read_is_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, pipe, large = tmp_path / "directory", tmp_path / "pipe", tmp_path / "large"
    directory.mkdir()
    os.mkfifo(pipe)
    large.write_bytes(b"x" * 100)
    monkeypatch.setattr(snapshot_file, "SIZE_MAX", 99)
    for path, says in ((directory, "Is a directory"), (pipe, "empty"), (large, "more than 99 bytes")):
        snapshot, (notice,) = loaded(path)
        assert snapshot is None
        assert says in notice


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nodes"
    snapshot_file.save(str(path), ONE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        snapshot_file.save(str(path), Snapshot(6.0))
    monkeypatch.undo()
    assert loaded(path) == (ONE, [])
    assert [file.name for file in tmp_path.iterdir()] == ["nodes"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        snapshot_file.save(str(tmp_path / "none" / "nodes"), ONE)


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "nodes.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        snapshot_file.save(str(tmp_path / "nodes"), ONE)
    assert victim.read_text() == "precious"


def test_what_could_not_be_read_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.write_bytes(b"junk\n")
    snapshot_file.save(str(path), ONE, aside=True)
    assert loaded(path) == (ONE, [])
    assert (tmp_path / "nodes.bad").read_bytes() == b"junk\n"
    snapshot_file.save(str(tmp_path / "none"), ONE, aside=True)
    assert loaded(tmp_path / "none") == (ONE, []), "it may be gone by then"


def test_a_directory_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        snapshot_file.save(str(path), ONE, aside=True)
    assert [file.name for file in tmp_path.iterdir()] == ["nodes"]


LOCK = """
import sys
from uwsgirouter.master import snapshot_file
try:
    snapshot_file.lock(sys.argv[1])
except snapshot_file.InUse as error:
    print(error.strerror)
else:
    print("locked")
"""


def test_one_process_writes_a_file(tmp_path: Path) -> None:
    def other() -> str:
        command = [sys.executable, "-c", LOCK, str(tmp_path / "nodes")]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    descriptor = snapshot_file.lock(str(tmp_path / "nodes"))
    assert descriptor is not None
    assert other() == f"another router (process {os.getpid()}) writes this file"
    os.close(descriptor)
    assert other() == "locked"


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Workers that drain after their master was killed must not keep its successor from writing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        snapshot_file.lock(str(tmp_path / "nodes"))
        if os.fork():
            os._exit(0)  # the master is gone
        os.read(reader, 1)
        os._exit(0)
    os.waitpid(pid, 0)
    try:
        descriptor = snapshot_file.lock(str(tmp_path / "nodes"))
        assert descriptor is not None
        os.close(descriptor)
    finally:
        os.write(writer, b"x")
        os.close(reader)
        os.close(writer)


def test_a_file_system_without_locks_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", none)
    assert snapshot_file.lock(str(tmp_path / "nodes")) is None
    with pytest.raises(FileNotFoundError):
        snapshot_file.lock(str(tmp_path / "none" / "nodes"))


def test_a_pipe_or_a_directory_in_the_place_of_a_file_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "nodes"
    path.mkdir()
    os.mkfifo(tmp_path / "nodes.lock")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert loaded(path)[0] is None
        with contextlib.suppress(OSError):
            descriptor = snapshot_file.lock(str(path))
            assert descriptor is None
    assert len(os.listdir("/proc/self/fd")) == before

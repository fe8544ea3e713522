"""Where lines of the access log end up, and what a destination may do to them; no process."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import free_udp_port
from uwsgirouter.master import log_writers
from uwsgirouter.master.log_writers import FileWriter, Losses, StdioWriter, unused, writer_of
from uwsgirouter.settings.logging import logger


class Words:
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def words() -> Words:
    return Words()


class Disk:
    """``os.write`` with so many bytes left."""

    def __init__(self) -> None:
        self.room = 1 << 30

    def write(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = min(self.room, len(data))
        self.room -= count
        return REAL_WRITE(descriptor, data[:count])


REAL_WRITE = os.write


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    found = Disk()
    with monkeypatch.context() as patch:
        patch.setattr(log_writers.os, "write", found.write)
        yield found


@pytest.mark.parametrize("room", range(14))
def test_a_full_disk_tears_no_line(tmp_path: Path, words: Words, disk: Disk, room: int) -> None:
    """Whatever fits, the file has whole lines in the end, and the lost ones are counted."""
    path = tmp_path / "a.log"
    writer = FileWriter(str(path), 0, "", False, words)
    disk.room = room
    writer.write(b"one\ntwo\nthree\n")
    writer.write(b"four\n")
    disk.room = 1
    writer.write(b"five\n")
    disk.room = 1 << 20
    writer.write(b"six\nseven\n")
    writer.close()
    lines = path.read_text().splitlines()
    assert path.read_bytes().endswith(b"seven\n")
    assert set(lines) <= {"one", "two", "three", "four", "five", "six", "seven"}
    assert len(lines) + writer.losses.lines == 7
    assert "No space left on device" in words.lines[0]


def test_losses_are_told_now_and_then(words: Words) -> None:
    losses = Losses("x", words)
    for _ in range(3):
        losses.add(OSError(errno.ENOSPC, "full"), 2)
    losses.end()
    losses.end()
    assert words.lines == ["access log x: full; 2 lines are lost", "access log x: full; 4 lines are lost"]


def test_a_large_file_is_renamed(tmp_path: Path, words: Words) -> None:
    path = tmp_path / "a.log"
    writer = FileWriter(str(path), 10, "", False, words)
    for number in range(6):
        writer.write(b"line %d\n" % number)
    writer.close()
    files = sorted(tmp_path.iterdir())
    assert path.read_text() == "" and len(files) == 4
    assert all(re.fullmatch(r"a\.log\.\d+(\.\d)?", file.name) for file in files[1:])
    assert sorted("".join(file.read_text() for file in files).split("\n")) == ["", *(f"line {n}" for n in range(6))]
    assert len(words.lines) == 3


def test_a_backup_of_a_name(tmp_path: Path, words: Words) -> None:
    path, backup = tmp_path / "a.log", tmp_path / "old"
    writer = FileWriter(str(path), 3, str(backup), False, words)
    for line in (b"one\n", b"two\n", b"x\n"):
        writer.write(line)
    writer.close()
    assert (backup.read_text(), path.read_text()) == ("two\n", "x\n")


def test_a_file_that_was_there_is_continued(tmp_path: Path, words: Words) -> None:
    """Its size counts."""
    path = tmp_path / "a.log"
    path.write_text("before\n")
    writer = FileWriter(str(path), 8, str(tmp_path / "old"), False, words)
    writer.write(b"x\n")
    writer.close()
    assert (tmp_path / "old").read_text() == "before\nx\n"


def test_another_logger_renamed_it(tmp_path: Path, words: Words) -> None:
    """That of the generation before; then there is nothing to rename."""
    path = tmp_path / "a.log"
    one, other = (FileWriter(str(path), 5, "", False, words) for _ in range(2))
    one.write(b"first\n")
    other.write(b"second\n")
    other.write(b"x\n")
    backups = [file for file in tmp_path.iterdir() if file != path]
    assert len(backups) == 1 and backups[0].read_text() == "first\nsecond\n"
    assert path.read_text() == "x\n"
    one.close()
    other.close()


def test_a_name_that_cannot_be_had(tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the renaming nor the opening takes the file away that there is."""
    path = tmp_path / "a.log"
    writer = FileWriter(str(path), 3, str(tmp_path / "no" / "where"), False, words)
    writer.write(b"one\n")
    writer.write(b"two\n")
    assert path.read_text() == "one\ntwo\n"
    assert any("cannot rename" in line for line in words.lines)
    path.rename(tmp_path / "moved")
    path.mkdir()
    writer.reopen()
    writer.write(b"x\n")
    assert (tmp_path / "moved").read_text() == "one\ntwo\nx\n"
    assert "the old file stays" in words.lines[-1]
    writer.close()


def test_a_file_that_is_not_there_yet(tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for now and then, and lines are counted meanwhile."""
    path = tmp_path / "later" / "a.log"
    writer = FileWriter(str(path), 0, "", False, words)
    writer.write(b"lost\n")
    path.parent.mkdir()
    monkeypatch.setattr(writer, "_open_at", 0.0)
    writer.look(1e12)
    writer.write(b"x\n")
    writer.close()
    assert path.read_text() == "x\n" and writer.losses.lines == 1


def test_a_fifo_that_nobody_reads(tmp_path: Path, words: Words) -> None:
    """Opening it does not wait."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = FileWriter(str(path), 0, "", False, words)
    writer.write(b"x\n")
    assert writer.losses.lines == 1 and "cannot open" in words.lines[0]
    writer.close()


def test_the_error_log(capfd: pytest.CaptureFixture[str], words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writer_of(logger("stdio"), False, words)
    assert isinstance(writer, StdioWriter)
    writer.write(b"x\n")
    assert capfd.readouterr().err == "x\n"

    def fail(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EIO, "no disk")

    monkeypatch.setattr(log_writers.os, "write", fail)
    writer.write(b"a\nb\n")
    writer.look(1e12)
    writer.reopen()
    writer.close()
    assert words.lines == ["access log stdio: no disk; 2 lines are lost"]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[[], bytes]]:
    """A unix socket at ``log`` of the directory."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "log"))
    sock.settimeout(10)
    yield lambda: sock.recv(1 << 17)
    sock.close()


def test_syslog(tmp_path: Path, words: Words, receiver: Callable[[], bytes]) -> None:
    from dataclasses import replace

    wanted = replace(logger("syslog:app,local3"), path=str(tmp_path / "log"))
    writer = writer_of(wanted, False, words)
    writer.write(b"hello\n" + b"x" * 20000 + b"\n")
    assert re.fullmatch(rb"<158>\w{3} [ \d]\d \d\d:\d\d:\d\d app: hello", receiver())
    assert len(receiver()) == log_writers.SYSLOG_MOST
    writer.close()


def test_nobody_listens(tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are counted, and whoever begins to listen gets the next ones."""
    path = tmp_path / "sock"
    writer = writer_of(logger(f"socket:{path}"), False, words)
    writer.write(b"a\nb\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(10)
        writer.write(b"c\n")  # not tried again at once
        monkeypatch.setattr(writer, "_open_at", 0.0)
        writer.write(b"d\n")
        assert sock.recv(100) == b"d\n"
        writer.reopen()
        writer.close()
    assert sum(int(re.findall(r"(\d+) lines", line)[0]) for line in words.lines) == 3


def test_udp_to_nobody(words: Words) -> None:
    """It is not told, and takes no line with it that somebody would have got."""
    port = free_udp_port()
    writer = writer_of(logger(f"socket:127.0.0.1:{port}"), False, words)
    writer.write(b"a\n" * 3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        sock.settimeout(10)
        writer.write(b"b\n")
        assert sock.recv(100) == b"b\n"
    writer.close()


def test_unused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert unused(str(path)) == str(path)
    path.touch()
    (tmp_path / "x.1").touch()
    assert unused(str(path)) == f"{path}.2"

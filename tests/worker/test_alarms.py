"""What alarms do: log lines, commands, signals, datagrams; never a wait, never a process too many."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scripting.made import Lines
from tests.servers import wait_until
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.alarms import COMMAND_TIME, COMMANDS_MOST, Alarms

Make = Callable[..., Alarms]


@pytest.fixture
def log() -> Lines:
    return Lines()


@pytest.fixture
def raised() -> list[int]:
    return []


@pytest.fixture
def make(log: Lines, raised: list[int]) -> Iterator[Make]:
    made: list[Alarms] = []

    def build(*texts: str, **options: object) -> Alarms:
        made.append(Alarms(Settings.of(alarm=list(texts), **options), log, raised.append))
        return made[-1]

    yield build
    for alarms in made:
        alarms.close()


def test_a_line_of_the_log(make: Make, log: Lines) -> None:
    alarms = make("plain log:", "named log:prefix")
    alarms.tell("plain", b"text")
    alarms.tell("named", b"text \xff")
    assert log.lines == ["ALARM: text", "ALARM: prefix text \udcff"]


def test_the_same_text_is_told_once_in_a_while(make: Make, log: Lines) -> None:
    alarms = make("a log:", "b log:")
    for now in (100.0, 102.9):
        alarms.tell("a", b"text", now)
    alarms.tell("b", b"text", 102.9)
    alarms.tell("a", b"other", 102.9)
    alarms.tell("a", b"text", 103.0)
    alarms.tell("a", b"text", 106.0)
    assert log.lines == ["ALARM: text", "ALARM: text", "ALARM: other", "ALARM: text", "ALARM: text"]


def test_a_text_is_bounded(make: Make, log: Lines) -> None:
    make("a log:", alarm_msg_size=64).tell("a", b"x" * 1000)
    assert log.lines == ["ALARM: " + "x" * 64]


def test_an_unknown_alarm_is_said(make: Make, log: Lines) -> None:
    make("a log:").tell("b", b"text")
    assert "'b', which is not configured" in log.lines[0]


def test_a_signal(make: Make, raised: list[int]) -> None:
    make("s signal:9").tell("s", b"text")
    assert raised == [9]


def test_a_datagram(make: Make) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        alarms = make(f"u udp:127.0.0.1:{receiver.getsockname()[1]}")
        alarms.tell("u", b"text")
        assert receiver.recv(100) == b"text"
        alarms.tell("u", b"more")
        assert receiver.recv(100) == b"more"


def test_a_datagram_to_nobody(make: Make, log: Lines) -> None:
    make("u udp:no-such-host.invalid:99").tell("u", b"text")
    assert "nobody knew no-such-host.invalid:99" in log.lines[0]


def test_a_command_gets_the_text(make: Make, tmp_path: Path) -> None:
    alarms = make(f"c cmd:cat > {tmp_path}/out; echo end >> {tmp_path}/out")
    alarms.tell("c", b"text")
    wait_until(lambda: alarms.tick() or not alarms._commands, 20, "the command is reaped")
    assert (tmp_path / "out").read_bytes() == b"textend\n"


def test_a_command_that_does_not_read(make: Make, tmp_path: Path) -> None:
    alarms = make("c cmd:true", alarm_msg_size=32768)
    alarms.tell("c", b"x" * 40_000)
    wait_until(lambda: alarms.tick() or not alarms._commands, 20, "the command is reaped")


def test_commands_have_no_descriptors_and_default_signals(make: Make, tmp_path: Path) -> None:
    with socket.socket() as kept:
        alarms = make(f"c cmd:ls /proc/$$/fd > {tmp_path}/fds; grep SigIgn /proc/$$/status > {tmp_path}/signals")
        alarms.tell("c", b"text")
        wait_until(lambda: alarms.tick() or not alarms._commands, 20, "the command is reaped")
        assert str(kept.fileno()) not in (tmp_path / "fds").read_text().split()
    assert int((tmp_path / "signals").read_text().split()[1], 16) & (1 << 12) == 0, "SIGPIPE is ignored"


def test_commands_are_bounded_and_killed(make: Make, log: Lines) -> None:
    alarms = make("c cmd:sleep 600 & sleep 600", alarm_freq=0)
    for _ in range(COMMANDS_MOST + 3):
        alarms.tell("c", b"text")
    assert len(alarms._commands) == COMMANDS_MOST
    assert f"{COMMANDS_MOST} commands run already" in log.lines[0]
    groups = list(alarms._commands)
    alarms.tick(time.monotonic() + COMMAND_TIME + 1)
    wait_until(lambda: alarms.tick() or not alarms._commands, 20, "they are reaped")
    wait_until(lambda: not any(_lives(group) for group in groups), 20, "what they started is gone")


def test_the_end_of_the_worker_ends_its_commands(make: Make) -> None:
    alarms = make("c cmd:sleep 600")
    alarms.tell("c", b"text")
    (group,) = alarms._commands
    alarms.close()
    wait_until(lambda: not _lives(group), 20, "the command is gone")


def test_a_command_that_somebody_else_reaped(make: Make) -> None:
    alarms = make("c cmd:true")
    alarms.tell("c", b"text")
    (pid,) = alarms._commands
    os.waitpid(pid, 0)
    alarms.tick()
    assert not alarms._commands


def _lives(group: int) -> bool:
    """Whether a process of that group does something still (a zombie of another's does not)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] not in "ZX":
                return True
    return False

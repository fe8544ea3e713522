"""``uwsgirouterctl subscribe --exec``: a server is run, announced while it answers, and drained before its stop."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.servers import Process, Servers, free_port, wait_until
from tests.servers.programs import environment
from tests.servers.tap import Tap
from uwsgirouter.control.base import Exit
from uwsgirouter.control.main import run

SERVER = """
import os, signal, socket, subprocess, sys, time

address, traits = sys.argv[1], sys.argv[2:]
told = []
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN):
    signal.signal(number, lambda number, frame: told.append(number))
if "left-behind" in traits:
    left = subprocess.Popen(["sleep", "600"])
    print("left", left.pid, flush=True)
if "fails" in traits:
    sys.exit(7)
while "mute" in traits and not told:
    time.sleep(0.01)
listener = socket.create_server(("127.0.0.1", int(address.rpartition(":")[2])))
listener.settimeout(0.02)
while "loads" in traits and not os.path.exists("loaded") and not told:
    time.sleep(0.01)
print("serving", os.getpid(), flush=True)
seen = 0
while True:
    for number in told[seen:]:
        print("told", signal.Signals(number).name, flush=True)
        if number in (signal.SIGTERM, signal.SIGINT):
            sys.exit(3)
        if number == signal.SIGTTIN:
            listener.close()
    seen = len(told)
    try:
        client, _ = listener.accept()
        client.recv(65536)
        client.close()
    except TimeoutError:
        continue
    except OSError:
        time.sleep(0.01)
"""
"""Accepts and closes. It says what it is told, ends with 3 for TERM and INT, and stops listening for TTIN."""


@pytest.fixture
def tap() -> Iterator[Tap]:
    with Tap() as tap:
        yield tap


class Runner:
    """Runs the server under ``subscribe --exec``."""

    def __init__(self, servers: Servers, tap: Tap) -> None:
        self.servers = servers
        self.tap = tap
        self.address = f"127.0.0.1:{free_port()}"
        self.script = Path(servers.path("server.py"))
        self.script.write_text(SERVER)

    def command(self, *traits: str, options: tuple[str, ...] = (), introducer: str = "--exec") -> list[str]:
        fixed = ["--server", self.tap.address, "--key", "foo.com", "--address", self.address, "--every", "0.2"]
        server = [sys.executable, str(self.script), self.address, *traits]
        return ["subscribe", *fixed, *options, introducer, *server]

    def start(self, *traits: str, options: tuple[str, ...] = (), introducer: str = "--exec") -> Process:
        argv = self.command(*traits, options=("--drain", "0.1", *options), introducer=introducer)
        return self.servers.process(sys.executable, "-m", "uwsgirouter.control", *argv)

    @property
    def commands(self) -> list[int]:
        return [datagram[3] for datagram in self.tap.of("foo.com")]


@pytest.fixture
def runner(servers: Servers, tap: Tap) -> Runner:
    return Runner(servers, tap)


@pytest.mark.parametrize(
    ("number", "introducer"), [(signal.SIGTERM, "--exec"), (signal.SIGINT, "--"), (signal.SIGQUIT, "--exec")]
)
def test_it_is_announced_when_it_answers_and_leaves_before_it_is_stopped(
    runner: Runner, number: signal.Signals, introducer: str
) -> None:
    process = runner.start("loads", introducer=introducer)
    wait_until(lambda: not runner.script.with_name("loaded").exists() and process.children(), 15.0, "it runs")
    assert runner.commands == []
    runner.script.with_name("loaded").touch()
    runner.tap.wait_for("foo.com", 2)
    code = process.stop(number)
    assert code == (3 if number is not signal.SIGQUIT else 128 + signal.SIGQUIT)
    assert runner.commands == sorted(runner.commands)
    assert runner.commands.count(1) == 1
    log = process.log()
    if number is not signal.SIGQUIT:
        assert log.index("unsubscribed") < log.index(f"told {number.name}"), log


def test_what_is_the_servers_own_business_is_passed_on(runner: Runner) -> None:
    process = runner.start()
    runner.tap.wait_for("foo.com")
    for number in (signal.SIGHUP, signal.SIGUSR1):
        process.signal(number)
        process.wait_for_log(f"told {number.name}", 15.0)
    process.signal(signal.SIGUSR2)
    process.wait_for_log("USR2 is not passed on", 15.0)
    runner.tap.wait_for("foo.com", len(runner.commands) + 2)
    assert set(runner.commands) == {0}
    assert "told SIGUSR2" not in process.log()


def test_a_second_signal_ends_the_drain(runner: Runner) -> None:
    process = runner.start(options=("--drain", "600"))
    runner.tap.wait_for("foo.com")
    process.signal(signal.SIGINT)
    process.wait_for_log("unsubscribed", 15.0)
    assert process.stop(signal.SIGINT) == 3
    assert process.log().count("told SIGINT") == 1


def test_a_server_that_dies_is_unsubscribed_at_once(runner: Runner) -> None:
    process = runner.start("left-behind", options=("--every", "600"))
    runner.tap.wait_for("foo.com")
    left = psutil.Process(int(process.wait_for_log("left ", 15.0).split()[1]))
    (server,) = (child for child in process.children() if child.pid != left.pid)
    server.kill()
    assert process.wait() == 128 + signal.SIGKILL
    assert runner.commands[-1] == 1
    assert "ended by SIGKILL by itself" in process.log()
    wait_until(lambda: not left.is_running(), 15.0, "what it left behind is stopped, too")


def test_a_server_that_does_not_listen_any_more_is_unsubscribed(runner: Runner) -> None:
    process = runner.start()
    runner.tap.wait_for("foo.com")
    process.signal(signal.SIGTTIN)
    process.wait_for_log(f"does not listen any more: unsubscribed at {runner.address}", 15.0)
    runner.tap.wait_for("foo.com", 1, command=1)


def test_a_server_that_fails_is_never_announced(runner: Runner) -> None:
    process = runner.start("fails")
    assert process.wait() == 7
    assert "ended with 7 by itself" in process.log()
    assert runner.commands == []


@pytest.mark.parametrize(
    ("trait", "says"), [("mute", "does not listen"), ("loads", "lets connections wait and answers none")]
)
def test_a_server_that_never_answers_is_stopped(runner: Runner, trait: str, says: str) -> None:
    process = runner.start(trait, options=("--ready-timeout", "0.5"))
    assert process.wait() == Exit.TIMEOUT
    assert f"{says} at {runner.address} within 0.5 s: stopped" in process.log()
    assert runner.commands == []


def test_a_signal_while_it_starts(runner: Runner) -> None:
    process = runner.start("loads")
    wait_until(lambda: len(process.children()) == 1, 15.0, "it runs")
    wait_until(lambda: b"server.py" in Path(f"/proc/{process.children()[0].pid}/cmdline").read_bytes(), 15.0, "it")
    process.signal(signal.SIGTERM)
    assert process.wait() in (3, 128 + signal.SIGTERM), "its own answer, or the kernel's if it was too young for one"
    assert runner.commands == []


def test_it_goes_when_we_are_killed(runner: Runner) -> None:
    process = runner.start()
    runner.tap.wait_for("foo.com")
    (server,) = process.children()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_running(), 15.0, "the kernel stopped the server")
    assert process.wait() == -signal.SIGKILL


def test_control_c_in_a_terminal_reaches_us_alone(runner: Runner) -> None:
    """The terminal sends it to the whole foreground group, and the server must not be in it."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "uwsgirouter.control", *runner.command(options=("--drain", "0.1"))]
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    env = {**os.environ, **environment(None)}
    wrapped = [sys.executable, "-c", take, *argv]
    with subprocess.Popen(
        wrapped, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=env
    ) as process:
        os.close(theirs)
        runner.tap.wait_for("foo.com")
        os.write(ours, b"\x03")
        output, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 3
    assert output.count(b"told SIGINT") == 1
    assert output.index(b"unsubscribed") < output.index(b"told SIGINT")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--exec", "/nowhere/at.all"], Exit.NO_COMMAND, "cannot run /nowhere/at.all: No such file or directory"),
        (["--exec", "/"], Exit.NOT_RUN, "cannot run /: Permission denied"),
        (["--exec"], Exit.USAGE, "--exec needs the command to run"),
        (["stray"], Exit.USAGE, "'stray': a command to run stands behind --exec or behind --"),
        (["--once", "--exec", "true"], Exit.USAGE, "no --once"),
        (["--ready", "127.0.0.1:1", "--once"], Exit.USAGE, "--ready is for a server that is run"),
        (["--ready", "127.0.0.1:0", "--exec", "true"], Exit.USAGE, "a port is a number from 1 to 65535"),
    ],
)
def test_what_cannot_be_run(capsys: pytest.CaptureFixture[str], words: list[str], code: Exit, message: str) -> None:
    fixed = ["subscribe", "--server", "127.0.0.1:1", "--key", "a", "--address", "127.0.0.1:1"]
    assert run([*fixed, *words]) == code
    assert message in capsys.readouterr().err


def test_whatever_stands_behind_is_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    """Options of ours among them, and a second --."""
    words = ["-c", "import sys; print(sys.argv[1:])", "--every", "--", "--exec", "-h"]
    fixed = ["subscribe", "--server", "127.0.0.1:1", "--key", "a", "--address", "127.0.0.1:1"]
    for introducer in ("--exec", "--"):
        assert run([*fixed, introducer, sys.executable, *words]) == 0
        assert "['--every', '--', '--exec', '-h']" in capfd.readouterr().out


def test_a_server_that_is_stopped_is_woken_to_end(runner: Runner) -> None:
    process = runner.start()
    runner.tap.wait_for("foo.com")
    (child,) = process.children()
    child.suspend()
    assert process.stop(signal.SIGTERM) == 3

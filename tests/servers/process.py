"""A server process of a test: its own session, its output in a file, and nothing left of it afterwards.

Every server is the leader of a new session, so that what it forks (and what its orphans become) can be
found by the session's number, whatever the processes call themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], deadline: float = 5.0, what: str = "") -> T:
    """The predicate's first true value; an AssertionError that says what was waited for after ``deadline``
    seconds.
    """
    end = time.monotonic() + deadline
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what or predicate.__name__} (last seen: {value!r})")
        time.sleep(0.01)


def alive_in_session(session: int) -> list[psutil.Process]:
    """The living processes of a session; zombies, which only wait for their parent to look, do not count."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


class Process:
    """One started program. ``name`` labels its log file and its failures."""

    name = "process"
    stop_signal = signal.SIGTERM
    stop_deadline = 10.0

    def __init__(self, argv: Sequence[str], directory: Path, env: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self.directory = directory
        number = len(list(directory.glob(f"{self.name}-*.log")))
        self.log_file = directory / f"{self.name}-{number}.log"
        with self.log_file.open("wb") as output:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started (a master, where there is one)."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """It has not ended."""
        return self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._popen.poll()

    def log(self) -> str:
        """Everything it wrote so far."""
        return self.log_file.read_text(errors="replace")

    def wait_for_log(self, text: str, deadline: float = 5.0, count: int = 1) -> str:
        """Wait until ``text`` stands ``count`` times in the log; the log."""
        wait_until(lambda: self.log().count(text) >= count, deadline, f"{text!r} x{count} in {self.name}'s log")
        return self.log()

    def wait_ready(self, predicate: Callable[[], object], deadline: float = 15.0) -> None:
        """Wait until it is up; its log is in the failure if it ends before, or never is."""
        end = time.monotonic() + deadline
        while not predicate():
            if not self.running or time.monotonic() > end:
                what = f"ended with {self.returncode}" if not self.running else f"was not ready within {deadline:g} s"
                self.kill()
                raise AssertionError(f"{self.name} {what}: {self.argv}\n{self.log()}")
            time.sleep(0.01)

    def children(self) -> list[psutil.Process]:
        """Its living descendants."""
        try:
            every = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child for child in every if _living(child)]

    def signal(self, number: int) -> None:
        """Send a signal to the started process alone."""
        self._popen.send_signal(number)

    def wait(self, deadline: float = 10.0) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._popen.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {deadline:g} s\n{self.log()}") from None

    def stop(self, number: int | None = None, deadline: float | None = None) -> int:
        """Stop it by a signal and assert that nothing of it is left. SIGKILL is the last resort, and a
        failure.
        """
        deadline = self.stop_deadline if deadline is None else deadline
        if self.running:
            self.signal(self.stop_signal if number is None else number)
        try:
            code = self.wait(deadline)
            wait_until(lambda: not alive_in_session(self.pid), 2.0, f"no process of {self.name} is left")
        except AssertionError as error:
            left = [f"{process.pid} {process.cmdline()}" for process in alive_in_session(self.pid)]
            self.kill()
            raise AssertionError(f"{error}\nleft: {left}\n{self.log()}") from None
        return code

    def kill(self) -> None:
        """SIGKILL to everything of its session. For tests of sudden death, and when all else failed."""
        for process in alive_in_session(self.pid):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._popen.wait(5)


def _living(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

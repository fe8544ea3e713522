"""The upgrade (USR2): the installed code takes the place of the running one, in the same process.

One idea: nothing is given up before it is known that the installed code can go on. A *trial*, a child that is started
as the router was, tries all that can fail; only when it ends well the master writes down what it knows and executes the
same command line anew, with every descriptor that is needed still open (:mod:`~uwsgirouter.master.succession`). A trial
that fails, lasts too long or cannot be started costs a log line. Orders that come meanwhile are kept: a reload is
contained in the upgrade, and done after a trial that failed. Nothing here waits.
Invariants: there is one trial at most, and none beside a reload; signals are held back, not lost, from the last look at
them until the successor listens.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from uwsgirouter import __version__
from uwsgirouter.log import printable
from uwsgirouter.master import process
from uwsgirouter.master.handover import Luggage, absent, write_handover
from uwsgirouter.master.reload import Setback
from uwsgirouter.master.succession import compose
from uwsgirouter.protocol.handover import HANDOVER, TRIAL

if TYPE_CHECKING:
    from uwsgirouter.master.supervisor import Supervisor

LINES_MOST = 100
"""Lines of a trial's output that are logged."""
ANSWER_SECONDS = 1.0
"""How long an answer on the control socket may go on before it is cut off by the replacement."""
READ_SIZE = 1 << 16


@dataclass(eq=False)
class Trial:
    """The process. ``words`` is what it prints, ``report`` what it says at its end if all was well."""

    pid: int
    words: int
    report: int
    deadline: float
    began: float
    rest: bytes = b""
    lines: int = 0
    last: str = ""
    overdue: bool = False


class Upgrade:
    """The upgrades of ``master``."""

    def __init__(self, master: Supervisor, selector: selectors.BaseSelector) -> None:
        self.trial: Trial | None = None
        self._master = master
        self._log = master.log
        self._selector = selector
        self._wanted = False
        self._reload_wanted = False
        self._report: Report | None = None
        """Of a version that is to take over, as soon as nobody is in the middle of an answer."""
        self._answers_until = 0.0
        self._is_replacing = False
        self.failure: Setback | None = None
        """Why the last one failed."""

    # -- orders -----------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Upgrade now, or after what is under way."""
        if self._master.is_stopping:
            self._log.say("SIGUSR2: the router stops, its code is not replaced any more")
            return
        self._wanted = True
        if self.trial is not None or self._report is not None:
            self._log.say("SIGUSR2: a trial of the installed version is under way; should it fail, another one follows")
        elif self._master.reload.incoming is not None:
            self._log.say("SIGUSR2: a reload is under way, the code is replaced afterwards")

    def takes_over_reload(self) -> bool:
        """Whether a reload need not be begun now: an upgrade is under way, which is one, too."""
        if self.trial is None and self._report is None and not self._is_replacing:
            return False
        self._reload_wanted = True
        return True

    def cancel(self) -> None:
        """The router stops."""
        self._wanted = self._reload_wanted = False
        self._report = None
        if self.trial is not None:
            _kill_group(self.trial.pid)

    @property
    def is_pending(self) -> bool:
        """Whether one is under way or asked for."""
        return self._wanted or self.trial is not None or self._report is not None

    def look(self, now: float) -> None:
        """Each pass of the loop: do what is wanted, when nothing stands in the way."""
        if self._report is not None and (now >= self._answers_until or not self._master.control.is_answering):
            report, self._report = self._report, None
            if report.is_installed():
                self._replace()
                return
            self._log.say("the installed version changed while it was tried: trying it again")
            self._wanted = True
        if self._wanted and self.trial is None and self._master.reload.incoming is None:
            self._wanted = False
            self._begin(now)

    def tick(self, now: float) -> None:
        """Once a second: end a trial that lasts too long."""
        trial = self.trial
        if trial is not None and now >= trial.deadline and not trial.overdue:
            trial.overdue = True
            _kill_group(trial.pid)

    # -- the trial --------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        self._log.say("SIGUSR2: trying the installed version")
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            pid = os.fork()
        except OSError as error:
            for end in ends:
                os.close(end)
            self._fail(f"a trial cannot be started: {error.strerror}")
            return
        words, words_in, report, report_in = ends
        if pid == 0:
            self._become_trial(words_in, report_in)
        os.close(words_in)
        os.close(report_in)
        with contextlib.suppress(OSError):  # the child does it too; whoever is first
            os.setpgid(pid, pid)
        os.set_blocking(words, False)
        os.set_blocking(report, False)
        self.trial = trial = Trial(pid, words, report, now + self._master.settings.seconds("upgrade-timeout"), now)
        self._selector.register(words, selectors.EVENT_READ, lambda: self._listen(trial))

    def _become_trial(self, words: int, report: int) -> NoReturn:
        """In the child."""
        try:
            process.reset_signals()
            os.setpgid(0, 0)
            process.follow_parent(signal.SIGKILL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(words, 1)
            os.dup2(words, 2)
            if os.getppid() == self._master.pid:
                rows = compose(self._master, absent) | {"held_back": []}
                copy = write_handover(rows)
                os.set_inheritable(copy, True)
                os.set_inheritable(report, True)
                self._execute({TRIAL: f"{copy},{report}"})
        except BaseException:  # noqa: BLE001 - a child must never return into the master's code
            os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        finally:
            os._exit(1)

    def _execute(self, variables: dict[str, str]) -> NoReturn:
        """Start the command line anew: where, how and with the environment with which it was. Raises OSError."""
        source = self._master.source
        with contextlib.suppress(OSError):  # not allowed any more: what is named relatively is not found then
            os.chdir(source.cwd)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**source.environment, **variables})

    def _listen(self, trial: Trial) -> None:
        """Log what it prints."""
        data = _read(trial.words)
        if data == b"":
            self._selector.unregister(trial.words)
            return
        *lines, trial.rest = (trial.rest + (data or b"")).split(b"\n")
        for line in lines:
            self._say(trial, line)

    def _say(self, trial: Trial, line: bytes) -> None:
        if not line.strip():
            return
        trial.last = printable(line.strip())
        trial.lines += 1
        if trial.lines <= LINES_MOST:
            self._log.say(f"trial: {line.decode('utf-8', 'replace')}")

    def bury(self, pid: int, code: int) -> bool:
        """A child was reaped; whether it was the trial."""
        trial = self.trial
        if trial is None or trial.pid != pid:
            return False
        if trial.words in self._selector.get_map():
            self._listen(trial)
            with contextlib.suppress(KeyError):
                self._selector.unregister(trial.words)
        self._say(trial, trial.rest)
        report = _report(_read(trial.report) or b"")
        os.close(trial.words)
        os.close(trial.report)
        _kill_group(pid)
        self.trial = None
        self._judge(trial, code, report)
        return True

    def _judge(self, trial: Trial, code: int, report: Report | None) -> None:
        if self._master.is_stopping:
            return
        if trial.overdue:
            limit = trial.deadline - trial.began
            self._fail(f"its trial was not done in {limit:g} seconds (upgrade-timeout)")
        elif code or report is None:
            how = f"exited with {code}" if code >= 0 else f"was killed by signal {-code}"
            self._fail(trial.last or f"its trial {how}")
        else:
            now = time.monotonic()
            self._log.say(f"version {report.version} can start (tried in {now - trial.began:.2f} s): it takes over")
            self._report, self._answers_until = report, now + ANSWER_SECONDS

    def _fail(self, reason: str) -> None:
        self._tell_failure(reason)
        self._after()

    def _tell_failure(self, reason: str) -> None:
        self.failure = Setback(time.time(), reason)
        self._log.say(f"upgrade failed: {reason}")
        self._log.say(f"upgrade failed: version {__version__} goes on")

    def _after(self) -> None:
        """It did not come to an upgrade; what waited for it is done."""
        if self._reload_wanted and not self._wanted:
            self._reload_wanted = False
            self._master.begin_reload(time.monotonic())

    # -- the replacement --------------------------------------------------------------------------------------------

    def _replace(self) -> None:
        """Become the installed version. Returns only if that is not possible, or not wanted any more."""
        held_back = self._master.signals.numbers
        self._is_replacing = True
        signal.pthread_sigmask(signal.SIG_BLOCK, held_back)
        try:
            self._master.signals.obey()
            if not self._master.is_stopping:
                self._leave_all(held_back)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held_back)
            self._is_replacing = False
        self._after()

    def _leave_all(self, held_back: set[int]) -> None:
        """Write down what there is, and execute. Returns only if that is not possible."""
        master, luggage = self._master, Luggage()
        directory = file = -1
        try:
            master.registrar.interrupt()
            master.notifier.beat()
            directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            rows = compose(master, luggage) | {"directory": luggage(directory), "held_back": sorted(held_back)}
            file = luggage(write_handover(rows))
            luggage.inheritable(True)
            self._execute({HANDOVER: str(file)})
        except OSError as error:
            reason = error.strerror
        with contextlib.suppress(OSError):
            luggage.inheritable(False)
            os.fchdir(directory)
        for descriptor in (directory, file):
            if descriptor >= 0:
                os.close(descriptor)
        self._tell_failure(f"it cannot be executed: {reason}")


@dataclass(frozen=True)
class Report:
    """What a trial found: the version, and the files that it is made of (path, time of change in ns, size)."""

    version: str
    files: list[tuple[str, int, int]]

    def is_installed(self) -> bool:
        """Whether what was tried is still what is there."""
        for path, changed, size in self.files:
            try:
                status = os.stat(path)
            except OSError:
                return False
            if (status.st_mtime_ns, status.st_size) != (changed, size):
                return False
        return True


def _report(data: bytes) -> Report | None:
    try:
        said = json.loads(data)
        return Report(printable(str(said["version"]).encode()), [(path, at, size) for path, at, size in said["files"]])
    except (ValueError, KeyError, TypeError):
        return None


def _read(descriptor: int) -> bytes | None:
    """What is there, up to the size of a pipe; None: nothing now, empty: it is closed."""
    try:
        return os.read(descriptor, READ_SIZE)
    except BlockingIOError:
        return None


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)

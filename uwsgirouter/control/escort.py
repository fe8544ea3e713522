"""``uwsgirouterctl subscribe --exec``: a server is announced while it answers, and drained before it is stopped.

One idea: its way is a line of steps (it starts, it answers, it is announced, it leaves, it drains, it is told to
stop, it ends), and each step waits for signals alone, which wait in the kernel meanwhile; so none is lost between two
of them, and a second Ctrl-C shortens whatever is waited for. It must not know the options.

- TERM, INT and QUIT stop: the node leaves first, and the child gets the signal after the drain.
- HUP, USR1, WINCH, TTIN and TTOU are the child's own business (a reload, a log, more workers): passed on as they come.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from uwsgirouter.announce import Announcer, Presence
from uwsgirouter.control.base import Exit, Failure
from uwsgirouter.control.child import Child, Door

STOP = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))
PASSED = frozenset((signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU))
HEARD = STOP | PASSED | {signal.SIGUSR2, signal.SIGCHLD}
LOOK = 0.05
"""Seconds between two looks whether the child answers."""
GIVE_UP = 10.0
"""Seconds that a child gets to stop that never answered."""


class Patience(NamedTuple):
    """Seconds: until it must have answered, and from its leave to its stop."""

    ready: float
    drain: float


class Escort:
    """``announcer`` makes the announcer, which asks the given callable at each round; ``tell`` prints a line."""

    def __init__(
        self,
        command: Sequence[str],
        door: Door,
        announcer: Callable[[Callable[[], Presence]], Announcer],
        patience: Patience,
        tell: Callable[[str], None],
    ) -> None:
        self._command = command
        self._door = door
        self._announcer = announcer(self._presence)
        self._patience = patience
        self._tell = tell
        self._was_open = True

    def run(self) -> int:
        """From the child's start to its end; its exit code. Raises :class:`Failure` when it never answers."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as some who start us have it, it would not come
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
        try:
            child = Child(self._command, before - {signal.SIGCHLD})
            try:
                return self._attend(child)
            finally:
                self._door.close()
                self._announcer.stop()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _attend(self, child: Child) -> int:
        stop = self._until_it_answers(child)
        if stop is None and not child.has_ended:
            self._announcer.start()
            self._tell(str(self._announcer))
            stop = self._until_a_stop(child)
            self._announcer.stop()
            self._tell(f"{self._announcer.name}, unsubscribed")
            if stop is not None:
                self._drain(child)
        if stop is not None and not child.has_ended:
            child.signal(stop)
            self._until_its_end(child)
        return self._ended(child, stop)

    def _until_it_answers(self, child: Child) -> signal.Signals | None:
        """None when it answers, or has ended; else the signal to stop it."""
        deadline = time.monotonic() + self._patience.ready
        while not child.has_ended and not self._door.answers():
            if time.monotonic() > deadline:
                self._give_up(child)
            number = self._heard(child, LOOK)
            if number is not None:
                return number
        return None

    def _give_up(self, child: Child) -> None:
        text = "lets connections wait and answers none" if self._door.is_connected else "does not listen"
        child.signal(signal.SIGTERM)
        self._until_its_end(child, GIVE_UP)
        if not child.has_ended:
            child.kill()
        child.bury()
        within = f"within {self._patience.ready:g} s"
        raise Failure(Exit.TIMEOUT, f"{child.name} {text} at {self._door.address.text} {within}: stopped")

    def _until_a_stop(self, child: Child) -> signal.Signals | None:
        """The signal to stop it; None when it has ended by itself."""
        while not child.has_ended:
            number = self._heard(child, None)
            if number is not None:
                return number
        return None

    def _drain(self, child: Child) -> None:
        """Wait for who has the address still; a second signal to stop ends it."""
        deadline = time.monotonic() + self._patience.drain
        while not child.has_ended and time.monotonic() < deadline:
            if self._heard(child, deadline - time.monotonic()) is not None:
                return

    def _until_its_end(self, child: Child, seconds: float | None = None) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while not child.has_ended and (deadline is None or time.monotonic() < deadline):
            number = self._heard(child, None if deadline is None else deadline - time.monotonic())
            if number is not None:
                child.signal(number)  # the second Ctrl-C means something to most servers

    def _ended(self, child: Child, stop: signal.Signals | None) -> int:
        code = child.bury()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
        self._tell(f"{child.name} ended {how}{'' if stop is not None else ' by itself'}")
        return code if code >= 0 else 128 - code

    def _heard(self, child: Child, seconds: float | None) -> signal.Signals | None:
        """Wait for a signal; the one to stop, if it was. None after ``seconds``, or when the child has ended."""
        if seconds is None:
            number = signal.sigwaitinfo(HEARD).si_signo
        else:
            info = signal.sigtimedwait(HEARD, max(0.0, seconds))
            if info is None:
                return None
            number = info.si_signo
        if number in STOP:
            return signal.Signals(number)
        if number in PASSED and not child.has_ended:
            child.signal(number)
        elif number == signal.SIGUSR2:
            self._tell("USR2 is not passed on: what replaces the server would be out of sight; start a second one")
        return None

    def _presence(self) -> Presence:
        """Asked in the announcer's thread: a server that refuses connections is no node."""
        is_open = self._door.is_open()
        if is_open != self._was_open:
            again = "listens again" if is_open else "does not listen any more: unsubscribed"
            self._tell(f"{self._command[0]} {again} at {self._door.address.text}")
        self._was_open = is_open
        return Presence.HERE if is_open else Presence.GONE

"""Log lines: one ``write`` a line to descriptor 2, and never a wait for whoever reads it.

One idea: a line that cannot be taken at once (a full pipe) is dropped and counted, because a reader of logs must not be
able to stop the traffic. Processes share the descriptor; a line of at most PIPE_BUF bytes is never torn.
It must not know who logs or why. Invariant: :meth:`Log.line` does not block and does not raise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# By name, and now: a worker with a Python mapper is patched by gevent, and a patched poll would yield.
from select import POLLOUT, poll

LINE_MAX = 4096
"""PIPE_BUF on Linux: what a pipe takes whole once poll says that it is writable."""

DESCRIPTOR = 2


class Log:
    """The process's log. ``name`` stands in front of each line that is not in the FastRouter's own wording."""

    lost = 0
    """Lines that any log of this process dropped."""

    def __init__(self, name: str = "uwsgirouter") -> None:
        self.name = name
        self.dropped = 0
        self._stamp = (0, "")

    def line(self, text: str) -> None:
        """Write ``text`` with the time in front, as it is. Does not block."""
        second = int(time.time())
        if self._stamp[0] != second:
            self._stamp = (second, time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(second)))
        data = (self._stamp[1] + _one_line(text)).encode("utf-8", "backslashreplace")
        self._write(data[: LINE_MAX - 1] + b"\n")

    def say(self, text: str) -> None:
        """Write ``text`` with the process's name in front."""
        self.line(f"[{self.name} pid {os.getpid()}] {text}")

    def block(self, text: str) -> None:
        """Write several lines (a traceback)."""
        for line in text.splitlines():
            self.say(line)

    def _write(self, data: bytes) -> None:
        ask = poll()
        try:
            ask.register(DESCRIPTOR, POLLOUT)
            ready = ask.poll(0)
            if ready and ready[0][1] & POLLOUT:
                os.write(DESCRIPTOR, data)
                return
        except OSError:
            pass  # nobody is left to tell: the count below is all that can be done
        self.dropped += 1
        Log.lost += 1


def _one_line(text: str) -> str:
    """Without what ends a line or does something to a terminal: much of a log was said by others."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class Throttle:
    """At most ``burst`` lines a second go through; the first of a later second says how many did not."""

    def __init__(self, say: Callable[[str], None], burst: int) -> None:
        self._say = say
        self._burst = burst
        self._window = -1.0
        self._count = 0
        self.suppressed = 0

    def __call__(self, text: str, now: float) -> None:
        """Log ``text`` unless this second's share is used up. ``now`` is monotonic seconds."""
        if now - self._window >= 1.0:
            self._window = now
            self._count = 0
        if self._count >= self._burst:
            self.suppressed += 1
            return
        self._count += 1
        if self.suppressed:
            text = f"{text} [{self.suppressed} more lines of this sort were suppressed]"
            self.suppressed = 0
        self._say(text)

    def holds_back(self, now: float) -> bool:
        """Whether a line would be held back now: then it counts as one that was, and need not be made at all."""
        if self._count < self._burst or now - self._window >= 1.0:
            return False
        self.suppressed += 1
        return True

    def flush(self, now: float) -> None:
        """Called now and then: say what was held back when no further line came to say it."""
        if self.suppressed and now - self._window >= 1.0:
            held, self.suppressed = self.suppressed, 0
            self(f"{held} more lines of this sort were suppressed", now)


def printable(data: bytes) -> str:
    """Bytes from a peer, safe in a log line: anything but printable ASCII is escaped, long ones are cut."""
    shown = data[:200].decode("latin-1").encode("unicode_escape").decode("ascii")
    return shown + ("..." if len(data) > 200 else "")

"""What systemd is told (sd_notify(3)): ready, reloading, stopping, a line for people, and that the loop lives.

One idea: a datagram is sent to the socket that the service manager named, or nothing is when there is none; whatever
goes wrong with that is no concern of the router's. The variables are taken out of the environment, so that no child
speaks for the router; a successor (master/upgrade.py) gets them with the environment of the start. Nothing here waits.
Invariant: READY follows every RELOADING, at the latest when the reload, or the upgrade, has ended in any way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

MORE_SECONDS = 20.0
"""What is asked for beside the given time, at each tick of a start or a reload: they end by bounds of their own."""
_MICRO = 1_000_000


class Notifier:
    """Speaks to the socket that ``environment`` names, and takes the variables out of it."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self.is_ready = False
        """Whether the first workers serve."""
        self.is_reloading = False
        self.watchdog = 0.0
        """Seconds between two signs of life (half of what the manager waits for); 0: it does not."""
        self._address = _address(environment.pop("NOTIFY_SOCKET", ""))
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        if usec.isdigit() and pid in ("", str(os.getpid())):
            self.watchdog = int(usec) / _MICRO / 2
        self._beat_at = 0.0
        self._status = ""

    def ready(self, status: str) -> None:
        """Workers serve, by the configuration that is in force."""
        self.is_ready, self.is_reloading = True, False
        self._status = status
        self._tell("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload or an upgrade was asked for just now."""
        if self.is_ready:
            self.is_reloading = True
            self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")
            self._status = ""

    def go_on(self) -> None:
        """This program takes the place of one that was ready, and reloads."""
        self.is_ready = True
        self.reloading()

    def stopping(self, seconds: float) -> None:
        """The router ends, in so many seconds at most."""
        self.is_reloading = False
        self._tell("STOPPING=1", f"STATUS=stopping: sessions have {seconds:g} seconds to finish", _more(seconds))

    def tick(self, status: str) -> None:
        """Once a second; ``status`` is told when it is another one, but not while something is under way."""
        if self.is_reloading or not self.is_ready:
            self._tell(_more(0.0))
        elif status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")

    def next_beat(self) -> float | None:
        """The moment of the next sign of life, in monotonic seconds."""
        return self._beat_at if self.watchdog else None

    def look(self, now: float) -> None:
        """Each pass of the loop."""
        if self.watchdog and now >= self._beat_at:
            self.beat()

    def beat(self) -> None:
        """The loop lives."""
        if self.watchdog:
            self._beat_at = time.monotonic() + self.watchdog
            self._tell("WATCHDOG=1")

    def _tell(self, *words: str) -> None:
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(words).encode("utf-8", "replace"), self._address)


def _address(text: str) -> str:
    """A path, or the name of an abstract socket."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _more(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={int((seconds + MORE_SECONDS) * _MICRO)}"

"""What watches over a process of the local application: requests that take too long, modules that change.

One idea: an application may block everything that runs with it, so each watcher is a thread of the operating system
(on gevent too, where ``threading`` makes greenlets), which needs nothing but a moment of the interpreter now and then.
A process that does not even give that is killed by gunicorn's own time limit. It must not know what is served.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

LOOK = 0.25
"""Seconds between two looks at the requests under way."""


class Harakiri:
    """``die(sentence)`` is called once a request has been under way for ``seconds``."""

    def __init__(self, seconds: float, die: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._die = die
        self._under_way: dict[int, tuple[float, Any]] = {}

    def began(self, request: Any) -> None:
        """A request was read and goes to the application."""
        self._under_way[id(request)] = (time.monotonic(), request)

    def ended(self, request: Any) -> None:
        """Its response is complete, or it failed."""
        self._under_way.pop(id(request), None)

    def overdue(self, now: float) -> str:
        """The sentence about a request whose time is over, empty when there is none."""
        for began, request in list(self._under_way.values()):
            if now - began >= self._seconds:
                what = f"{getattr(request, 'method', '')} {getattr(request, 'uri', '')}"[:500]
                return (
                    f"*** HARAKIRI: {what!r} took more than {self._seconds:g} seconds, {len(self._under_way)} cut ***"
                )
        return ""

    def watch(self) -> None:
        """The thread's work."""
        sleep = native("time", "sleep")
        while True:
            sleep(min(LOOK, self._seconds))
            sentence = self.overdue(time.monotonic())
            if sentence:
                self._die(sentence)


class ModuleFiles:
    """The files of the modules that are loaded now, and which of them was changed since it was first seen."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def changed(self) -> tuple[str, float] | None:
        """A file that changed since the last call, with its new time; None when none did."""
        found = None
        for path in _files(list(sys.modules.values())):
            try:
                moment = os.stat(path).st_mtime
            except OSError:
                continue  # being written just now: it is there again at the next look
            if self._seen.setdefault(path, moment) != moment:
                self._seen[path] = moment
                found = (path, moment)
        return found

    def watch(self, seconds: float, tell: Callable[[str, float], None]) -> None:
        """The thread's work; ``tell(path, time)`` is called for a file that changed."""
        sleep = native("time", "sleep")
        self.changed()
        while True:
            sleep(seconds)
            found = self.changed()
            if found is not None:
                tell(*found)


def _files(modules: Iterable[Any]) -> set[str]:
    files = (getattr(module, "__file__", None) for module in modules)
    return {path for path in files if isinstance(path, str)}


def start(work: Callable[..., None], *arguments: object) -> None:
    """Run it in a thread of the operating system that nobody waits for."""
    native("_thread", "start_new_thread")(work, arguments)


def native(module: str, name: str) -> Any:
    """A function of the standard library as it was before gevent patched it, if it did."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(__import__(module), name)

"""What a configuration says of the process itself: its environment, its directory, its limits, its pid file, its log.

One idea: children are forked with what the master has, so that is changed before the workers of a configuration are
started, and changed back when the configuration does not come into force. Who the process is (uid, gid) stays for
good: the rights to become somebody else are gone. It knows no workers. Invariant: after :meth:`Standing.undo` all is as
it was before :meth:`Standing.change`.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Mapping

from uwsgirouter.errors import BootError
from uwsgirouter.master import process
from uwsgirouter.settings.settings import Settings


class Standing:
    """``environment`` and ``cwd`` are those that the router was started with."""

    def __init__(self, environment: Mapping[str, str], cwd: str) -> None:
        self._environment = environment
        self._cwd = cwd
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._undo: list[Callable[[], object]] = []

    def change(self, before: Settings, after: Settings) -> None:
        """Be as ``after`` says. Raises :class:`BootError`; then nothing is changed."""
        self._undo = []
        try:
            self._change_limits(before, after)
            self._change_directory(before, after)
        except BootError:
            self.undo()
            raise
        self._change_environment(before, after)

    def keep(self) -> None:
        """The configuration is in force."""
        self._undo = []

    def undo(self) -> None:
        """It does not come into force."""
        while self._undo:
            with contextlib.suppress(OSError, ValueError):
                self._undo.pop()()

    def _change_limits(self, before: Settings, after: Settings) -> None:
        most = after.optional_number("max-fd")
        if most == before.optional_number("max-fd"):
            return
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        _placed(after, "max-fd", lambda: process.limit_descriptors(self._limits[0] if most is None else most))
        self._undo.append(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits))

    def _change_directory(self, before: Settings, after: Settings) -> None:
        path = after.text("chdir")
        if path == before.text("chdir"):
            return
        with contextlib.suppress(FileNotFoundError):  # the present one is gone: nobody can go back there
            present = os.getcwd()
            self._undo.append(lambda: os.chdir(present))
        _placed(after, "chdir", lambda: process.enter_directory(os.path.join(self._cwd, path)))

    def _change_environment(self, before: Settings, after: Settings) -> None:
        wanted = _variables(after)
        for name in {*_variables(before), *wanted}:
            value = wanted.get(name, self._environment.get(name))
            self._undo.append(_setter(name, os.environ.get(name)))
            _setter(name, value)()


def move_pid_file(before: Settings, after: Settings) -> None:
    """The pid file is at another place from now on. Raises :class:`BootError`; the old one is there then."""
    old, new = before.text("pidfile"), after.text("pidfile")
    if old != new:
        _placed(after, "pidfile", lambda: process.write_pid_file(new))
        if old:
            process.remove_pid_file(old)


def _placed(settings: Settings, option: str, act: Callable[[], None]) -> None:
    """Raises :class:`BootError` that says where the option stands."""
    try:
        act()
    except BootError as error:
        raise BootError(f"{settings.where(option)}: {error}") from error


def _variables(settings: Settings) -> dict[str, str]:
    found = {}
    for text in settings.texts("env"):
        name, _, value = text.partition("=")
        found[name] = value
    return found


def _setter(name: str, value: str | None) -> Callable[[], object]:
    if value is None:
        return lambda: os.environ.pop(name, None)
    return lambda: os.environ.__setitem__(name, value)

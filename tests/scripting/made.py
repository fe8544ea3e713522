"""What the tests of scripts share: a log that is a list, the caches of settings, an interpreter put back in order."""

from __future__ import annotations

import sys
from pathlib import Path

from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.environment import Role
from uwsgirouter.cache.specs import cache_specs
from uwsgirouter.log import Log
from uwsgirouter.settings.settings import Settings


class Lines(Log):
    """A log whose lines stay here."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    def say(self, text: str) -> None:
        """Keep it, without the process's name."""
        self.lines.append(text)


def opened(settings: Settings, directory: Path, log: Log) -> Caches:
    """The caches of ``settings``."""
    return Caches(cache_specs(settings), str(directory), log.say, Role.KEEPER)


class Interpreter:
    """Puts modules, path and arguments back as they were."""

    def __enter__(self) -> None:
        self._modules, self._path, self._argv = set(sys.modules), list(sys.path), sys.argv

    def __exit__(self, *error: object) -> None:
        sys.path[:], sys.argv = self._path, self._argv
        for name in set(sys.modules) - self._modules:
            del sys.modules[name]

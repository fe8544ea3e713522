"""A command line and its files, read into settings; again and again, the same way, for reloads.

A :class:`Source` keeps what a later reading must find as it was at start: the arguments, the environment, the
working directory, standard input's text, the time of start. The files are read anew each time. Pure apart
from reading files and looking up users: no socket is touched.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from uwsgirouter.errors import ConfigError
from uwsgirouter.settings import arguments, consistency, judge
from uwsgirouter.settings.gather import Gathering
from uwsgirouter.settings.settings import Settings


class Source:
    """Where settings come from. ``stdin`` is standard input's text, or what reads it when a file is named -.

    ``started``: when the router was, if that is not now (then this is another reading of its configuration).
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: str | Callable[[], str] = "",
        started: float | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.environment = dict(os.environ if environment is None else environment)
        self.cwd = os.path.abspath(cwd or os.getcwd())
        self.commands = frozenset(arguments.parse(self.argv).commands)
        self._stdin = stdin
        self._started = time.time() if started is None else started
        self._loads = 0 if started is None else 1

    @classmethod
    def of_process(cls, argv: Sequence[str]) -> Source:
        """The source of this process; raises :class:`arguments.UsageError`."""
        return cls(argv, stdin=sys.stdin.read)

    @property
    def started(self) -> float:
        """Wall-clock seconds of the router's start."""
        return self._started

    @property
    def standard_input(self) -> str | None:
        """What was read from there; None: nothing was."""
        return self._stdin if isinstance(self._stdin, str) else None

    @property
    def inherits_sockets(self) -> bool:
        """Whether systemd passed sockets, so that no fastrouter address is needed."""
        count = self.environment.get("LISTEN_FDS", "")
        return count.isascii() and count.isdigit() and int(count) > 0

    def load(self, strict: bool | None = None) -> Settings:
        """Read everything anew. Raises :class:`ConfigError` (ConfigErrors for several) and changes nothing
        then.

        ``strict`` makes errors of the doubts about names; by default it is so under --check.
        """
        gathering = self.gather()
        settings = judge.judge(gathering, "check" in self.commands if strict is None else strict)
        settings = consistency.checked(settings, self.inherits_sockets)
        self._loads += 1
        return settings

    def gather(self) -> Gathering:
        """All options in their order, not yet expanded or judged."""
        gathering = Gathering(self.cwd, self.environment, self._read_stdin, self._started, reloading=self._loads > 0)
        gathering.arguments(arguments.parse(self.argv))
        return gathering

    def _read_stdin(self) -> str:
        if not isinstance(self._stdin, str):
            try:
                self._stdin = self._stdin()
            except (OSError, UnicodeError) as error:
                raise ConfigError(f"cannot read standard input: {error}") from None
        return self._stdin

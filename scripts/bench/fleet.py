"""Everything that a measurement starts: in a directory of its own, on cores of its own, gone when it is left.

A lane is one router (or relay) among those that are compared, and the address at which it is loaded. The routers of a
fleet run beside each other for as long as it lives.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import TracebackType

from scripts.bench import peers, programs
from scripts.bench.peers import Wiring
from scripts.bench.processes import BenchError, Daemon, accepts, free_address, own_cpu


class Placement(Enum):
    """Which cores the processes may use."""

    TOGETHER = "together"
    """All on one core: the steadiest figures, since no wake-up crosses cores."""
    APART = "apart"
    """The routers on one core, everything else on the others."""
    FREE = "free"
    """As the kernel likes."""


@dataclass(frozen=True)
class Lane:
    """One router and the address that leads to it: a web server's, or its own."""

    name: str
    front: str
    router: Daemon
    kind: str = ""


@dataclass(frozen=True)
class Layout:
    """What a run compares, and where it runs."""

    lanes: Sequence[tuple[str, str]]
    """(name, kind) of each lane; the first is what the others are compared with."""
    buffer_size: str = "64k"
    """nginx' uwsgi_buffer_size."""
    app_processes: int = 2
    placement: Placement = Placement.TOGETHER
    cores: tuple[int, ...] = (0,)
    """The cores this script was given."""

    def without_floors(self) -> Layout:
        """For what relays cannot do."""
        return replace(self, lanes=[lane for lane in self.lanes if lane[1] not in peers.FLOORS])


class Fleet:
    """Context manager. ``lanes``: the routers that were started with :meth:`router`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lanes: list[Lane] = []
        self.daemons: list[Daemon] = []
        self.exit = ExitStack()
        self.router_cores, self.other_cores = cores_of(layout.placement, layout.cores)
        self.prefix = Path(tempfile.mkdtemp(prefix="uwsgirouter-bench-"))
        self.exit.callback(shutil.rmtree, self.prefix, ignore_errors=True)

    def __enter__(self) -> Fleet:
        try:
            self._start()
        except BaseException:
            self.exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.exit.close()

    def _start(self) -> None:
        """What a kind of fleet has from its beginning."""

    def run(self, name: str, argv: Sequence[str], ready: Callable[[], bool], cores: set[int]) -> Daemon:
        """Start a program and wait until it is ``ready``."""
        daemon = Daemon(name, argv, self.prefix / f"{name.replace(' ', '-')}.log", programs.PROJECT)
        self.exit.callback(daemon.stop)
        # Inherited by the program and all its children.
        os.sched_setaffinity(0, cores)
        try:
            daemon.start()
        finally:
            os.sched_setaffinity(0, self.other_cores)
        daemon.wait_until(ready, "readiness")
        self.daemons.append(daemon)
        return daemon

    def router(self, name: str, kind: str, wiring: Wiring) -> Daemon:
        """Start a router or relay, until something listens."""
        argv = peers.command(kind, wiring, self.directory(name))
        return self.run(name, argv, lambda: accepts(wiring.listen), self.router_cores)

    def directory(self, name: str) -> Path:
        """A directory for one program."""
        made = self.prefix / name.replace(" ", "-")
        made.mkdir()
        return made

    def address(self, name: str, unix: bool = False) -> str:
        """An address nobody listens on."""
        return str(self.prefix / f"{name.replace(' ', '-')}.sock") if unix else free_address()

    def logs(self, lane: Lane) -> str:
        """The ends of the logs of a lane's router and of all that is shared."""
        others = {other.name for other in self.lanes} - {lane.name}
        return "\n".join(daemon.log_end() for daemon in self.daemons if daemon.name not in others)

    def cpu(self) -> float:
        """Seconds of CPU of all that was started, and of this script."""
        return own_cpu() + sum(daemon.cpu().seconds for daemon in self.daemons)


def cores_of(placement: Placement, cores: Sequence[int]) -> tuple[set[int], set[int]]:
    """The cores of the routers, and those of everything else. BenchError if there are too few."""
    if placement is Placement.FREE:
        return set(cores), set(cores)
    # The last core: the first often has more of the machine's interrupts.
    if placement is Placement.TOGETHER:
        return {cores[-1]}, {cores[-1]}
    if len(cores) < 2:
        raise BenchError("routers apart from the rest need two cores")
    return {cores[-1]}, set(cores[:-1])

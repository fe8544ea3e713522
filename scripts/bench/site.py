"""The whole set-up under load: uWSGI, the routers beside each other, nginx. Up when entered, gone when left.

A lane is one way through it: an address of nginx, and the router it leads to. All share nginx and uWSGI.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import TracebackType

from scripts.bench import nginx, programs
from scripts.bench.processes import BenchError, Daemon, accepts, answers, free_address, own_cpu

FASTROUTER = "fastrouter"
OURS = "ours"
SHARED = ("application", "nginx")


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
    """One router and the address at nginx that leads to it."""

    name: str
    front: str
    router: Daemon


@dataclass(frozen=True)
class Layout:
    """What is started and where."""

    lanes: Sequence[tuple[str, str]]
    """(name, FASTROUTER or OURS) of each lane; the first is what the others are compared with."""
    buffer_size: str
    """nginx' uwsgi_buffer_size."""
    app_processes: int
    placement: Placement
    cores: tuple[int, ...]
    """The cores this script was given."""


class Site:
    """Context manager: ``with Site(layout) as site`` gives ``site.lanes``, each proved by a request."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lanes: list[Lane] = []
        self._uwsgi = programs.find_uwsgi()
        self._nginx = programs.find("nginx")
        self._daemons: list[Daemon] = []
        self._exit = ExitStack()

    def __enter__(self) -> Site:
        try:
            self._start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def logs(self, lane: Lane) -> str:
        """The ends of the logs of a lane's router, of nginx and of the application."""
        return "\n".join(daemon.log_end() for daemon in self._daemons if daemon.name in (lane.name, *SHARED))

    def cpu(self) -> float:
        """Seconds of CPU of all that was started, and of this script."""
        return own_cpu() + sum(daemon.cpu().seconds for daemon in self._daemons)

    def _start(self) -> None:
        prefix = Path(tempfile.mkdtemp(prefix="uwsgirouter-bench-"))
        self._exit.callback(shutil.rmtree, prefix, ignore_errors=True)
        router_cores, other_cores = cores_of(self.layout.placement, self.layout.cores)
        node = free_address()
        app = self._uwsgi.app(node, self.layout.app_processes)
        self._run(SHARED[0], app, prefix, node, other_cores)
        routers: dict[str, str] = {}
        for name, kind in self.layout.lanes:
            listen, front = free_address(), free_address()
            command = programs.ours if kind == OURS else self._uwsgi.router
            router = self._run(name, command(listen, node), prefix, listen, router_cores)
            routers[front] = listen
            self.lanes.append(Lane(name, front, router))
        text = nginx.configuration(prefix, routers, self.layout.buffer_size)
        (prefix / "nginx.conf").write_text(text)
        web = nginx.command(self._nginx, prefix)
        self._run(SHARED[1], web, prefix, self.lanes[0].front, other_cores)
        for lane in self.lanes:
            lane.router.wait_until(partial(answers, lane.front), "answer through nginx")

    def _run(self, name: str, argv: list[str], prefix: Path, address: str, cores: set[int]) -> Daemon:
        daemon = Daemon(name, argv, prefix / f"{name.replace(' ', '-')}.log", programs.PROJECT)
        self._exit.callback(daemon.stop)
        # Inherited by the program and all its children. nginx comes last, so this script, and with it wrk and the
        # client of the transfers, stays where nginx is.
        os.sched_setaffinity(0, cores)
        daemon.start()
        daemon.wait_until(partial(accepts, address), f"listener on {address}")
        self._daemons.append(daemon)
        return daemon


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

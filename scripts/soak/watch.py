"""The invariants: within bounds each second while traffic goes on, exactly at each rest, when nothing is under way.

What is compared with what: sessions and requests in flight with the visits under way (the diary's bounds), the registry
with the nodes that run, descriptors and memory with those of the first rest. Findings go to the diary; nothing raises.
"""

from __future__ import annotations

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scripts.bench.processes import BenchError
from scripts.soak.diary import Diary
from scripts.soak.site import WORKERS, Site, title, wait_until
from scripts.soak.visits import PLAIN, STREAM, Client, Trouble, served_by

REST_WITHIN = 60.0
"""Seconds until everything must have come back, the last visits and their patience included."""
SLACK = 3.0
"""Seconds after a client's end for which its session may still be counted."""
UNSETTLED_MOST = 15.0
"""Seconds for which some worker may not know of a change."""
DEAD_MOST = 10.0
"""Seconds for which a dead child may wait for the master to look."""
DESCRIPTORS_EACH = 6
"""Of a session: two sockets, two pipes' ends for each direction at most."""
DESCRIPTORS_MORE = 60
"""Of a process, beside its sessions, over what it had at rest."""
REST_MORE = 2
"""Descriptors by which two rests may differ."""
MEGABYTE = 1 << 20
MEMORY_EACH = MEGABYTE
"""Bytes that a session under way may cost: two directions, each with at most one read that waits to be written."""
MEMORY_MORE = 40 * MEGABYTE
"""Bytes over the first rest: two generations of workers are there during a reload."""
TURNS = 12
"""Requests in which every node of a key must have had its turn."""
GROWTH = 6 * MEGABYTE
"""Bytes by which a rest may be over the first one."""

_WRONG = re.compile(r"^.*(?:Traceback|internal-error|HARAKIRI|Exception ignored|MemoryError).*$", re.M)


@dataclass
class Level:
    """The router at rest."""

    descriptors: dict[str, int]
    """By process: master, worker (the most of them)."""
    pss: int
    """Bytes of them all."""

    @property
    def text(self) -> str:
        """For people."""
        files = ", ".join(f"{name} {count}" for name, count in self.descriptors.items())
        return f"descriptors: {files}; PSS {self.pss / MEGABYTE:.1f} MB"


@dataclass
class Watch:
    """``levels``: one of each rest."""

    site: Site
    diary: Diary
    levels: list[Level] = field(default_factory=list)
    seconds: int = 0
    most_pss: int = 0
    most_sessions: int = 0

    def __post_init__(self) -> None:
        self._settled = time.monotonic()
        self._dead: dict[int, float] = {}
        self._log_mark = 0

    # -- each second --------------------------------------------------------------------------------------------------

    def second(self) -> None:
        """One look."""
        self.seconds += 1
        try:
            self._sessions()
            self._registry()
            self._processes()
            self._memory()
            self._said()
        except (BenchError, OSError) as error:
            self.diary.found(f"the router cannot be looked at: {error}")
        self.diary.settle(time.monotonic() - SLACK)

    def _sessions(self) -> None:
        begin = time.monotonic()
        sessions, in_flight = self.site.stats()
        bounds = self.diary.bounds(begin - SLACK, time.monotonic())
        low, high = sum(low for low, _ in bounds.values()), sum(high for _, high in bounds.values())
        self.most_sessions = max(self.most_sessions, sessions)
        if not low <= sessions <= high:
            self.diary.found(f"{sessions} sessions, where there must be {low} to {high}")
        if not low <= in_flight <= high:
            self.diary.found(f"{in_flight} requests in flight, where there must be {low} to {high}")

    def _registry(self) -> None:
        begin = time.monotonic()
        nodes, settled = self.site.ask(command="nodes")
        now = time.monotonic()
        self._settled = now if settled else self._settled
        if now - self._settled > UNSETTLED_MOST:
            self.diary.found(f"for {now - self._settled:.0f} s some worker has not known of a change")
            self._settled = now
        bounds = self.diary.bounds(begin - SLACK, now)
        for key, in_flight in in_flight_by_key(nodes).items():
            low, high = bounds.get(key, (0, 0))
            if not low <= in_flight <= high:
                self.diary.found(f"{in_flight} requests in flight at {key}, where there must be {low} to {high}")
        known = {node.address for node in self.site.nodes}
        for node in nodes:
            if node["node"] not in known:
                self.diary.found(f"a node that nobody announced: {node}")

    def _processes(self) -> None:
        now, dead = time.monotonic(), {}
        for child in self.site.children():
            if status(child) == psutil.STATUS_ZOMBIE:
                dead[child.pid] = self._dead.get(child.pid, now)
                if now - dead[child.pid] > DEAD_MOST:
                    self.diary.found(f"dead child {child.pid} is not looked after")
        self._dead = dead
        if not self.levels:
            return
        _, high = self._visits(now)
        for process in (self.site.master, *self.site.children()):
            usual = self.levels[0].descriptors.get(role(process), 0)
            count = descriptors(process)
            if count > usual + DESCRIPTORS_MORE + DESCRIPTORS_EACH * high:
                self.diary.found(f"{count} descriptors of {role(process)} {process.pid} with {high} visits")

    def _visits(self, now: float) -> tuple[int, int]:
        bounds = self.diary.bounds(now - SLACK, now).values()
        return sum(low for low, _ in bounds), sum(high for _, high in bounds)

    def _memory(self) -> None:
        try:
            pss = self.site.pss()
        except BenchError:
            return  # one of them ended meanwhile
        self.most_pss = max(self.most_pss, pss)
        _, high = self._visits(time.monotonic())
        if self.levels and pss > self.levels[0].pss + MEMORY_MORE + MEMORY_EACH * high:
            self.diary.found(f"PSS {pss / MEGABYTE:.1f} MB with {high} visits")

    def _said(self) -> None:
        mark, self._log_mark = self._log_mark, self.site.log_size()
        for line in _WRONG.findall(self.site.log(mark)):
            self.diary.found(f"the router says: {line}")

    # -- at rest ------------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Traffic and troubles are paused: everything must come back to what it was, under the first configuration."""
        try:
            self.site.configure()
            self.site.reload()
        except BenchError as error:
            self.diary.found(f"no reload: {error}")
        self._until("all visits end", lambda: self.diary.under_way() == 0)
        self._until("no request is in flight, and no session is open", lambda: self.site.stats() == (0, 0))
        self._until("all nodes are up, and every worker knows", self._is_whole)
        self._until(f"there are the master and {WORKERS} workers", self._is_staffed)
        self._until("no temporary file is left", lambda: not self.site.files())
        self._until("descriptors are as many as at first", self._has_few_descriptors)
        self._one_worker_after_the_other()
        if self.levels:
            self._until("memory is about what it was at first", lambda: self._level().pss < self.levels[0].pss + GROWTH)
        self.levels.append(self._level())
        self.diary.settle(time.monotonic())

    def _until(self, what: str, predicate: Callable[[], bool]) -> None:
        last: list[Exception] = []

        def holds() -> bool:
            try:
                return predicate()
            except (BenchError, OSError, psutil.Error) as error:
                last[:] = [error]
                return False

        if not wait_until(holds, REST_WITHIN):
            self.diary.found(f"not within {REST_WITHIN:.0f} s of rest: {what} {last or ''}; now: {self._now()}")

    def _now(self) -> str:
        try:
            nodes, settled = self.site.ask(command="nodes")
            states = [f"{node['key']} {node['node']} {node['state']} {node.get('in_flight')}" for node in nodes]
            processes = [title(child) for child in self.site.children()]
            counts, files = self.site.stats(), self.site.files()
            return f"{counts}, {states}, settled {settled}, {processes}, {files}, {self._level().text}"
        except (BenchError, OSError, psutil.Error) as error:
            return str(error)

    def _is_whole(self) -> bool:
        nodes, settled = self.site.ask(command="nodes")
        wanted = {(key, node.address) for node in self.site.nodes for key in node.keys}
        here = {(str(node["key"]), str(node["node"])) for node in nodes}
        quiet = all(not node["in_flight"] for node in nodes)
        well = all(node["state"] == "up" for node in nodes if node["node"] != self.site.faulty.address)
        return settled and quiet and well and here == wanted

    def _is_staffed(self) -> bool:
        return len(self.site.workers()) == len(self.site.children()) == WORKERS

    def _has_few_descriptors(self) -> bool:
        first = (self.levels or [self._level()])[0].descriptors
        return all(count <= first[name] + REST_MORE for name, count in self._level().descriptors.items())

    def _level(self) -> Level:
        workers = self.site.workers()
        files = {"master": descriptors(self.site.master), "worker": max(map(descriptors, workers), default=0)}
        return Level(files, self.site.pss())

    def _one_worker_after_the_other(self) -> None:
        """Each alone knows every node to be up: they take turns. The other workers are stopped meanwhile."""
        for worker in self.site.workers():
            others = [other for other in self.site.workers() if other != worker]
            with ExitStack() as stack:
                for other in others:
                    other.send_signal(signal.SIGSTOP)
                    stack.callback(other.send_signal, signal.SIGCONT)
                for key in (PLAIN, STREAM):
                    self._takes_turns(worker, key)

    def _takes_turns(self, worker: psutil.Process, key: str) -> None:
        missing = {node.address for node in self.site.nodes if key in node.keys}
        for _ in range(TURNS):
            visit = self.diary.begin("one worker alone", key)
            try:
                missing -= {served_by(Client(self.site.listen[0], visit, random.Random(1), 0.1))}
            except Trouble as error:
                self.diary.end(visit, str(error))
                return
            self.diary.end(visit)
        if missing:
            self.diary.found(f"worker {worker.pid} gives nothing to {sorted(missing)} of {key}")


def in_flight_by_key(nodes: list[dict[str, object]]) -> Counter[str]:
    """Sums of what the control socket says."""
    found: Counter[str] = Counter()
    for node in nodes:
        found[str(node["key"])] += int(str(node.get("in_flight", 0)))
    return found


def role(process: psutil.Process) -> str:
    """master, or worker."""
    return "master" if ": master" in title(process) else "worker"


def status(process: psutil.Process) -> str:
    """What the kernel says of it; empty when it is gone."""
    try:
        return str(process.status())
    except psutil.Error:
        return ""


def descriptors(process: psutil.Process) -> int:
    """How many it has open; 0 when it is gone."""
    try:
        return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    except OSError:
        return 0

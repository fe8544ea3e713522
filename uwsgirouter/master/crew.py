"""The crew: the workers as processes, from the fork to the grave.

One idea: how a worker is started, told to leave, ended when its time is over and buried is one thing; why is another.
The supervisor decides about generations and asks for it here; what the fleet says about numbers, targets and lateness
is pure. Nothing here waits. Invariants: a worker is replaced or killed by nobody else; a worker that drains is told to
leave at once before it is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence

from uwsgirouter.log import Log
from uwsgirouter.master.channels import Channels
from uwsgirouter.master.downlink import Downlink
from uwsgirouter.master.fleet import Fleet, Life, Member, Respawns, silent
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.registrar import Registrar
from uwsgirouter.model.counters import Counter, Counters
from uwsgirouter.model.cut import whose
from uwsgirouter.model.table import RouteTable

FAST_STOP = 2.0
"""Seconds that workers have to leave at INT before they are killed."""
SILENT_AFTER = 3.0
"""Seconds without a sign of life after which a worker is asked to show what it does."""
SHOW_WHERE = signal.SIGUSR2
"""The signal at which it does (worker/main.py)."""
KILL_AGAIN = 5.0
"""Seconds after which a worker that was killed and is still there is killed once more."""

Become = Callable[[int, Generation, int, socket.socket, socket.socket], int]


class Crew:
    """The processes of ``fleet``. ``become(number, generation, row, upper, lower)`` is the child's life and gives its
    status; ``mercy()`` the seconds that the sessions of one that drains have; ``release(row)`` is told of the dead."""

    def __init__(
        self,
        fleet: Fleet,
        channels: Channels,
        registrar: Registrar,
        counters: Counters,
        table: RouteTable,
        log: Log,
        become: Become,
        mercy: Callable[[], float],
        release: Callable[[int], None],
    ) -> None:
        self.respawns = Respawns()
        self._fleet = fleet
        self._channels = channels
        self._registrar = registrar
        self._counters = counters
        self._table = table
        self._log = log
        self._become = become
        self._mercy = mercy
        self._release_limits = release

    # -- starting ---------------------------------------------------------------------------------------------------

    def staff(self, generation: Generation, now: float) -> None:
        """Bring ``generation`` to its target, unless deaths or a lack of something put that off."""
        if now < self.respawns.not_before:
            return
        for number in self._fleet.missing(generation.index, generation.target):
            if now >= self.respawns.not_before:
                self._spawn(number, generation, now)
        for member in self._fleet.surplus(generation.index, generation.target):
            self.drain(member, now)

    def _spawn(self, number: int, generation: Generation, now: float) -> None:
        row = self._fleet.free_row()
        if row is None:
            self._log.say("cannot start a worker: too many of them are still draining")
            self.respawns.not_before = now + 1.0
            return
        self._release(row)
        # Alive from now on, so that the others count its requests when it begins to serve, and not a second later.
        self._counters.row(row)[Counter.BEAT] = int(now * 1000)
        self._counters.row(row)[Counter.USED] = 1
        try:
            upper, lower, pid = _fork_with_channel()
        except OSError as error:
            self._log.say(f"cannot start worker {number}: {error.strerror}; trying again in a second")
            self.respawns.not_before = now + 1.0
            return
        if pid == 0:
            os._exit(self._become(number, generation, row, upper, lower))
        lower.close()
        member = Member(pid, number, row, generation.index, Downlink(upper, self._table), now)
        self._fleet.members[pid] = member
        self._channels.open(member, self._registrar)
        self._log.line(f"spawned uwsgirouter worker {number} (pid: {pid})")

    def plan_respawn(self, member: Member, now: float) -> None:
        """One that should be there is not: the next one comes at once, or later when they die all the time."""
        delay = self.respawns.died(now)
        if delay:
            self._log.say(
                f"workers died {self.respawns.deaths} times in a minute: backing off, "
                f"worker {member.number} is respawned in {delay:g} seconds"
            )
        else:
            self._log.line(f"respawning uwsgirouter worker {member.number}")

    # -- leaving ----------------------------------------------------------------------------------------------------

    def drain(self, member: Member, now: float, alone: Sequence[int] = ()) -> None:
        """Have it accept no more, and leave when its last session ends.

        ``alone``: the listeners, by number, that nobody serves after it: what waits there is accepted first.
        """
        if not member.leaving:
            member.life = Life.DRAINING
            member.deadline = now + self._mercy()
            member.downlink.order("drain", False, list(alone))

    def stop(self, deadline: float, life: Life, *order: object) -> None:
        """Give all of them ``order``, which makes their life ``life``; a deadline that is nearer stays."""
        for member in self._fleet.members.values():
            member.downlink.order(*order)
            member.life = life
            member.deadline = min(deadline, member.deadline or deadline)

    def abandon(self, generation: Generation) -> None:
        """Kill those of a generation that is not to be."""
        for member in self._fleet.of(generation.index):
            member.life = Life.DRAINING
            _kill(member.pid, signal.SIGKILL)

    def reopen_log(self) -> None:
        """Give each the master's new log."""
        for member in self._fleet.members.values():
            member.downlink.order("log", descriptor=2)

    def tick(self, now: float, harakiri: float) -> None:
        """Once a second: end those whose time is over, or that gave no sign of life for ``harakiri`` seconds."""
        beats = {
            member.pid: self._counters.read(member.row, Counter.BEAT) / 1000 for member in self._fleet.members.values()
        }
        for member in silent(self._fleet.members.values(), now, min(SILENT_AFTER, harakiri / 2), beats):
            self._log.say(f"worker {member.number} (pid {member.pid}) does not move; this is where it is:")
            _kill(member.pid, SHOW_WHERE)
        for member, reason in self._fleet.overdue(now, harakiri, beats):
            self._end(member, reason, now)

    def _end(self, member: Member, reason: str, now: float) -> None:
        """The time of a worker is over. One that drains is alive: it may still tell its clients."""
        sessions = self._counters.read(member.row, Counter.SESSIONS)
        if member.life is Life.DRAINING and member.deadline is not None and now >= member.deadline:
            what = f"uwsgirouter worker {member.number} (pid: {member.pid}):"
            member.life = Life.STOPPING
            member.deadline = now + FAST_STOP
            member.downlink.order("stop")
        else:
            what = f"*** HARAKIRI ON GATEWAY uwsgirouter {member.number} (pid: {member.pid}) ***"
            member.deadline = now + KILL_AGAIN
            _kill(member.pid, signal.SIGKILL)
        self._log.line(f"{what} it {reason}; {sessions} sessions are cut{self._whose(member)}")

    def _whose(self, member: Member) -> str:
        """The keys of those of its sessions that have a node of the registry; it may not be able to tell any more."""
        if member.is_foreign:
            return ""
        cells = self._counters.inflight_row(member.row)
        text = whose(key for id, node in self._table.nodes.items() for key in [node.key] * cells[id])
        return f" ({text})" if text else ""

    def bury(self, member: Member, code: int) -> str:
        """It was reaped with exit code ``code`` (negative: a signal); how it ended, empty if it was to leave."""
        self._channels.close(member)
        how = f"exited with {code}" if code >= 0 else f"was killed by signal {-code}"
        lost = self._whose(member) if code else ""
        self._release(member.row)
        if member.leaving and code == 0:
            self._log.line(f"uwsgirouter worker {member.number} (pid: {member.pid}) is done")
        else:
            cut = f"; sessions that were under way are cut{lost}" if lost else ""
            self._log.line(f"uwsgirouter worker {member.number} (pid: {member.pid}) {how}{cut}")
        return "" if member.leaving else how

    def _release(self, row: int) -> None:
        self._counters.release_row(row, self._registrar.registry.numbers)
        self._release_limits(row)


def _fork_with_channel() -> tuple[socket.socket, socket.socket, int]:
    """Both ends of a channel and what fork(2) returned. Raises OSError, and leaves nothing open then."""
    upper, lower = socket.socketpair()
    try:
        return upper, lower, os.fork()
    except OSError:
        upper.close()
        lower.close()
        raise


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)

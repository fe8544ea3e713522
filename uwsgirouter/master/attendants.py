"""Attendants: the master's children that are not workers (scripts, resolver, local instance).

One idea: an attendant has a duty, and the duty belongs to a generation: it is ready before the generation's workers are
started, and it is stopped when the generation is. So what workers rely on is there when they come, and a reload whose
attendants fail changes nothing. It decides nothing about generations (the supervisor does). Invariants: a duty has at
most one attendant that is not leaving; nothing here waits.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import selectors
import signal
import socket
from collections.abc import Callable

from uwsgirouter.errors import ProtocolError
from uwsgirouter.log import Log
from uwsgirouter.master.attendant import Attendant, Loss, State, attendant_of, row_of, silent_duty
from uwsgirouter.master.duty import MERCY, WORDS_MOST, Duty
from uwsgirouter.master.fleet import Respawns
from uwsgirouter.master.generation import Generation
from uwsgirouter.master.handover import Keep, Rows
from uwsgirouter.protocol.messages import MessageReader, encode_message

READ_SIZE = 1 << 16


class Attendants:
    """The attendants by pid. ``become(duty, upper, lower)`` is the child's life and gives its status."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        log: Log,
        become: Callable[[Duty, socket.socket, socket.socket], int],
    ) -> None:
        self.members: dict[int, Attendant] = {}
        self.not_before = 0.0
        """The moment of the next respawn that was put off."""
        self._selector = selector
        self._log = log
        self._become = become
        self._reached: set[tuple[int, str]] = set()
        self._done: set[tuple[int, str]] = set()
        self._respawns: dict[tuple[int, str], Respawns] = {}
        self._orphans: dict[int, float] = {}
        """Process groups whose leader is dead, and when what is left of them is killed."""

    # -- starting ---------------------------------------------------------------------------------------------------

    def staff(self, generation: Generation, now: float) -> None:
        """Start those that are missing."""
        for duty in generation.duties:
            mark = (generation.index, duty.name)
            self._pass_on(duty)
            if mark in self._done or self._present(mark):
                continue
            respawns = self._respawns.setdefault(mark, Respawns())
            if now >= respawns.not_before:
                self._spawn(duty, generation, respawns, now)
            else:
                self.not_before = min(respawns.not_before, self.not_before if self.not_before > now else 1e18)

    def attended(self, generation: Generation) -> bool:
        """Whether each duty was ready once (a respawn later holds up nobody) that is not optional."""
        return all(duty.optional or (generation.index, duty.name) in self._reached for duty in generation.duties)

    def missing(self, generation: Generation) -> list[str]:
        """The names of duties at which nobody is, although somebody should be, or at which nobody is ready yet."""
        ready = {
            (member.generation, member.duty.name) for member in self.members.values() if member.state is State.READY
        }
        marks = [(generation.index, duty.name) for duty in generation.duties]
        return [mark[1] for mark in marks if mark not in ready and mark not in self._done]

    def _present(self, mark: tuple[int, str]) -> bool:
        return any(
            (member.generation, member.duty.name) == mark and member.state is not State.LEAVING
            for member in self.members.values()
        )

    def _spawn(self, duty: Duty, generation: Generation, respawns: Respawns, now: float) -> None:
        try:
            upper, lower = socket.socketpair()
        except OSError as error:
            self._put_off(duty, respawns, error, now)
            return
        duty.words.clear()
        try:
            pid = os.fork()
        except OSError as error:
            upper.close()
            lower.close()
            self._put_off(duty, respawns, error, now)
            return
        if pid == 0:
            os._exit(self._become(duty, upper, lower))
        with contextlib.suppress(OSError):  # the child does it too; whoever is first
            os.setpgid(pid, pid)
        lower.close()
        upper.setblocking(False)
        attendant = Attendant(pid, duty, generation.index, upper, MessageReader(), now)
        self.members[pid] = attendant
        self._watch(attendant)
        self._log.line(f"spawned {attendant.label}")

    def _watch(self, attendant: Attendant) -> None:
        self._selector.register(attendant.sock, selectors.EVENT_READ, lambda: self._on_readable(attendant))

    def _put_off(self, duty: Duty, respawns: Respawns, error: OSError, now: float) -> None:
        self._log.say(f"cannot start {duty.name}: {error.strerror}; trying again in a second")
        respawns.not_before = self.not_before = now + 1.0

    # -- the channel ------------------------------------------------------------------------------------------------

    def _on_readable(self, attendant: Attendant) -> None:
        self._read(attendant)

    def _read(self, attendant: Attendant) -> bool:
        """Take what is there; whether there was anything."""
        try:
            data = attendant.sock.recv(READ_SIZE)
            messages = attendant.reader.feed(data)
        except BlockingIOError:
            return False
        except (OSError, ProtocolError):
            data, messages = b"", []
        if not data:
            self._unwatch(attendant)
            return False
        for message in messages:
            if message[0] == "ready":
                self._ready(attendant)
            elif attendant.state is not State.LEAVING:
                attendant.duty.hear(message)
        return True

    def _ready(self, attendant: Attendant) -> None:
        if attendant.state is State.STARTING:
            attendant.state = State.READY
            self._reached.add((attendant.generation, attendant.duty.name))
            self._log.line(f"{attendant.label} is ready")
            if attendant.log_moved:
                _signal(attendant.pid, signal.SIGUSR1)

    def _unwatch(self, attendant: Attendant) -> None:
        if attendant.sock.fileno() >= 0:
            self._selector.unregister(attendant.sock)
            attendant.sock.close()

    def _pass_on(self, duty: Duty) -> None:
        """Say what is to be said to who is at ``duty``, as far as the kernel takes it; the rest at the next look."""
        for attendant in self.members.values():
            if attendant.duty is not duty or attendant.state is State.LEAVING or attendant.sock.fileno() < 0:
                continue
            while (attendant.partial or duty.words) and _flush(attendant):
                if duty.words:
                    attendant.partial = encode_message(*duty.words.popleft())
            if len(duty.words) > WORDS_MOST:
                duty.words.clear()
                attendant.reason = "did not listen to its master"
                _signal_group(attendant.pid, signal.SIGKILL)

    def reopen_log(self, is_new: bool = True) -> None:
        """Give each the master's log; the programs only one that ``is_new``."""
        for attendant in self.members.values():
            if attendant.duty.program:
                if not is_new:
                    continue
                # Before it is ready it may not know the signal, which would end it.
                if attendant.state is State.STARTING:
                    attendant.log_moved = True
                else:
                    _signal(attendant.pid, signal.SIGUSR1)
            elif attendant.sock.fileno() >= 0:
                try:
                    if not _flush(attendant):
                        raise BlockingIOError(errno.EAGAIN, "it does not listen")
                    socket.send_fds(attendant.sock, [encode_message("log")], [2])
                except OSError as error:
                    self._log.say(f"{attendant.label} keeps its old log: {error.strerror}")

    # -- the end ----------------------------------------------------------------------------------------------------

    def stop(
        self, now: float, which: Callable[[Attendant], bool], at_most: float = math.inf, hurry: bool = False
    ) -> None:
        """Tell those for whom ``which`` holds to leave, and give them ``at_most`` seconds for it.

        ``hurry``: a program cuts what it has under way (INT instead of TERM).
        """
        for attendant in list(self.members.values()):
            if not which(attendant):
                continue
            mercy = attendant.duty.mercy
            deadline = now + (mercy if attendant.duty.outlives else min(at_most, mercy))
            attendant.deadline = min(deadline, attendant.deadline or deadline)
            hurried = hurry and attendant.duty.program and attendant.state is not State.STARTING
            if hurried or attendant.state is not State.LEAVING:
                _signal(attendant.pid, signal.SIGINT if hurried else signal.SIGTERM)
            attendant.state = State.LEAVING

    def hurry(self, now: float) -> None:
        """The workers are gone: who outlived them has nothing to wait for."""
        for attendant in self.members.values():
            if attendant.duty.outlives and attendant.deadline is not None:
                attendant.deadline = min(attendant.deadline, now + MERCY)

    def discard(self, generation: int) -> None:
        """A generation that failed: its attendants are killed."""
        for attendant in self._of(generation):
            attendant.state = State.LEAVING
            attendant.deadline = math.inf
            _signal_group(attendant.pid, signal.SIGKILL)
        self.forget(generation)

    def forget(self, generation: int) -> None:
        """A generation is over; what is left of its attendants is leaving."""
        for marks in (self._reached, self._done):
            marks -= {mark for mark in marks if mark[0] == generation}
        for mark in [mark for mark in self._respawns if mark[0] == generation]:
            del self._respawns[mark]

    def _of(self, generation: int) -> list[Attendant]:
        return [attendant for attendant in self.members.values() if attendant.generation == generation]

    def tick(self, now: float) -> None:
        """Once a second: kill whose time is over."""
        for attendant in self.members.values():
            if attendant.state is State.LEAVING and attendant.deadline is not None and now >= attendant.deadline:
                attendant.deadline = now + MERCY
                self._log.line(f"*** {attendant.label} did not leave in time: killed ***")
                _signal_group(attendant.pid, signal.SIGKILL)
            elif attendant.state is State.STARTING and now - attendant.since > attendant.duty.ready_within:
                attendant.reason = f"was not ready after {attendant.duty.ready_within:g} seconds"
                _signal_group(attendant.pid, signal.SIGKILL)
        for group, deadline in list(self._orphans.items()):
            if not _signal_group(group, 0):
                del self._orphans[group]
            elif now >= deadline:
                _signal_group(group, signal.SIGKILL)

    def bury(self, pid: int, code: int, now: float) -> Loss | None:
        """A child was reaped with exit code ``code`` (negative: a signal); what was lost by it, if anything."""
        attendant = self.members.pop(pid)
        self._read_the_rest(attendant)
        self._unwatch(attendant)
        if _signal_group(pid, signal.SIGTERM):
            self._orphans[pid] = now + attendant.duty.mercy
        how = attendant.reason or (f"exited with {code}" if code >= 0 else f"was killed by signal {-code}")
        mark = (attendant.generation, attendant.duty.name)
        if attendant.state is State.LEAVING or (code == 0 and not attendant.duty.lasting):
            self._log.line(f"{attendant.label} is done")
            if attendant.state is not State.LEAVING:
                self._done.add(mark)
                self._reached.add(mark)
            return None
        self._log.line(f"{attendant.label} {how}")
        delay = self._respawns.setdefault(mark, Respawns()).died(now)
        return Loss(attendant, how, mark in self._reached, delay)

    def _read_the_rest(self, attendant: Attendant) -> None:
        """What it told before it ended."""
        while attendant.sock.fileno() >= 0 and self._read(attendant):
            pass

    def close(self) -> None:
        """At the router's end: nothing of theirs may stay."""
        for group in self._orphans:
            _signal_group(group, signal.SIGKILL)

    # -- over an upgrade --------------------------------------------------------------------------------------------

    def handed(self, keep: Keep) -> Rows:
        """For the master that takes the place of this one: all go on, and are its children."""
        return {
            "members": [row_of(attendant, keep) for attendant in self.members.values()],
            "reached": sorted(self._reached),
            "done": sorted(self._done),
            "orphans": list(self._orphans.items()),
        }

    def inherit(self, rows: Rows, generations: dict[int, int], duties: list[Duty]) -> None:
        """Go on with those that were handed over. ``generations``: the new number of one, by its former one.

        What is not one of ``duties`` stays as it is, and is neither heard nor told anything.
        """
        for row in rows["members"]:
            own = generations.get(row["generation"])
            duty = next((duty for duty in duties if own is not None and duty.name == row["duty"]), silent_duty(row))
            attendant = attendant_of(row, duty, row["generation"] if own is None else own)
            self.members[attendant.pid] = attendant
            if attendant.sock.fileno() >= 0:
                attendant.sock.setblocking(False)
                self._watch(attendant)
        for marks, found in ((self._reached, rows["reached"]), (self._done, rows["done"])):
            marks |= {(generations[index], name) for index, name in found if index in generations}
        self._orphans = {int(group): float(deadline) for group, deadline in rows["orphans"]}

    def let_go(self) -> None:
        """In a child: the channels of its siblings are not its own."""
        for attendant in self.members.values():
            attendant.sock.close()


def _flush(attendant: Attendant) -> bool:
    """Send the rest of a message; whether the kernel took all of it. Whoever is gone is not told of it here."""
    while attendant.partial:
        try:
            sent = attendant.sock.send(attendant.partial, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            sent = len(attendant.partial)
        attendant.partial = attendant.partial[sent:]
    return True


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_group(pid: int, number: int) -> bool:
    """Signal an attendant with all that it started (it leads a process group); whether there was anybody."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # the latter: its number is somebody else's by now
        return False
    return True

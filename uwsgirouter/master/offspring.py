"""What a new process does first: become a worker (or an attendant) and nothing else.

One idea: a child starts with everything its master has, and must let go of all that is not its own before it serves:
the master's signals, the channels of its siblings (or a dead master would go unnoticed), the datagram sockets, and
rights.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import process
from uwsgirouter.master.line import Line
from uwsgirouter.master.picturing import picture
from uwsgirouter.master.stats_server import Tell, closed
from uwsgirouter.stats.picture import Naming
from uwsgirouter.stats.process import Show
from uwsgirouter.worker.main import CANNOT_BOOT, work
from uwsgirouter.worker.post import Post

if TYPE_CHECKING:
    from uwsgirouter.master.duty import Duty
    from uwsgirouter.master.generation import Generation
    from uwsgirouter.master.sockets import Bound, Endpoints
    from uwsgirouter.master.supervisor import Supervisor


def become_worker(
    master: Supervisor,
    number: int,
    generation: Generation,
    row: int,
    upper: socket.socket,
    lower: socket.socket,
) -> int:
    """The life of worker ``number`` in a forked child; the exit status. Never raises."""
    try:
        # The master's nodes are in our memory and not ours: a collection would look at each, and copy its page.
        gc.freeze()
        process.reset_signals()
        access = None if generation.access is None else generation.access.writer
        _let_go(master, generation.endpoints.listeners, () if access is None else (access,))
        upper.close()
        settings = generation.settings
        process.drop_privileges(settings.optional_number("fastrouter-uid"), settings.optional_number("fastrouter-gid"))
        listeners = generation.endpoints.listeners
        post = Post(
            number=number,
            settings=settings,
            listeners=[bound.sock for bound in listeners],
            names=[bound.name for bound in listeners],
            announced=generation.announced,
            channel=lower,
            counters=master.counters,
            row=row,
            sticky_secret=master.sticky_secret,
            caches=master.place.directory,
            rules=generation.rules,
            metrics=generation.metrics,
            tallies=master.observed.tallies_of(settings, row),
            measures=master.observed.measures_of(settings, row),
            limits=generation.limits,
            access=access,
        )
        return work(post)
    except BootError as error:
        Log(f"uwsgirouter worker {number}").say(str(error))
    except BaseException:  # noqa: BLE001 - a child must never return into the master's code
        Log(f"uwsgirouter worker {number}").block(traceback.format_exc())
    return CANNOT_BOOT


def become_stats(master: Supervisor, endpoints: Endpoints, naming: Naming, tell: Tell) -> None:
    """The life of a process that shows statistics. Whatever is not its own is closed already."""
    # As few rights as a worker has: it reads what anybody sends.
    settings = master.settings
    process.drop_privileges(settings.optional_number("fastrouter-uid"), settings.optional_number("fastrouter-gid"))
    process.follow_parent(signal.SIGKILL)
    show = Show(picture(master, naming), settings)
    stats = [bound.sock for bound in endpoints.stats]
    metrics = [bound.sock for bound in endpoints.metrics]
    show.serve(stats, metrics, lambda named: closed(tell, named))


def become_attendant(master: Supervisor, duty: Duty, upper: socket.socket, lower: socket.socket) -> int:
    """The life of an attendant in a forked child; the exit status. Never raises."""
    log = Log(f"uwsgirouter {duty.name}")
    try:
        process.reset_signals()
        os.setpgid(0, 0)
        setproctitle(f"uwsgirouter: {duty.title or duty.name}")
        _let_go(master, duty.sockets, duty.inherits)
        upper.close()
        duty.prepare()
        process.drop_privileges(duty.user, duty.group)
        process.follow_parent(signal.SIGKILL)
        if os.getppid() != master.pid:
            return CANNOT_BOOT
        return duty.body(Line(lower))
    except BootError as error:
        log.say(str(error))
    except BaseException:  # noqa: BLE001 - a child must never return into the master's code
        log.block(traceback.format_exc())
    finally:
        with contextlib.suppress(Exception):  # a script may have closed it
            sys.stdout.flush()
    return CANNOT_BOOT


def _let_go(master: Supervisor, keep: Iterable[Bound], ends: Iterable[socket.socket]) -> None:
    """``keep`` of the sockets that are bound, and ``ends`` of channels, are its own."""
    master.attention.close()
    master.signals.close()
    master.attendants.let_go()
    master.registrar.let_go()
    master.control.let_go()
    master.stats.let_go()
    for member in master.fleet.members.values():
        member.downlink.close()
    own = {id(end) for end in ends}
    for generation in master.reload.generations:
        if generation.access is not None:
            for end in (generation.access.writer, generation.access.reader):
                if id(end) not in own:
                    end.close()
    own = {id(bound) for bound in keep}
    for bound in master.sockets.opened():
        if id(bound) not in own:
            bound.sock.close()

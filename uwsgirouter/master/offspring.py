"""What a new worker process does first: become a worker and nothing but a worker.

One idea: a child starts with everything its master has, and must let go of all that is not its own before it serves:
the master's signals, the channels of its siblings (or a dead master would go unnoticed), the datagram sockets, and
rights.
"""

from __future__ import annotations

import socket
import traceback
from typing import TYPE_CHECKING

from uwsgirouter.errors import BootError
from uwsgirouter.log import Log
from uwsgirouter.master import process
from uwsgirouter.worker.main import CANNOT_BOOT, Post, work

if TYPE_CHECKING:
    from uwsgirouter.master.generation import Generation
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
        process.reset_signals()
        _let_go(master, generation)
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
            cells=master.counters.row(row),
            inflight=master.counters.inflight_row(row),
        )
        return work(post)
    except BootError as error:
        Log(f"uwsgirouter worker {number}").say(str(error))
    except BaseException:  # noqa: BLE001 - a child must never return into the master's code
        Log(f"uwsgirouter worker {number}").block(traceback.format_exc())
    return CANNOT_BOOT


def _let_go(master: Supervisor, generation: Generation) -> None:
    master.selector.close()
    master.signals.close()
    for member in master.fleet.members.values():
        member.downlink.close()
    own = {id(bound) for bound in generation.endpoints.listeners}
    for bound in master.sockets.opened():
        if id(bound) not in own:
            bound.sock.close()

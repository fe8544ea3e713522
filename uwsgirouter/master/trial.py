"""The trial: does the installed code start, with this configuration and what the running router would leave to it?

One idea: whatever can fail is done once beforehand, in a child that is started by the very command line by which the
router was; so a version that cannot be imported, does not understand the configuration or what is handed over, or
whose workers do not boot costs a log line. It binds, accepts, runs and writes nothing: scripts are compiled only, since
running them has effects; should they fail later, that is a reload that failed. What it prints is logged by the running
router. Invariant: it reports only when everything was well.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from uwsgirouter import __version__, compiled
from uwsgirouter.cache.specs import cache_specs, file_of
from uwsgirouter.errors import BootError, ConfigError, RouterError
from uwsgirouter.local.requirements import means_for
from uwsgirouter.log import Log
from uwsgirouter.master import process
from uwsgirouter.master.downlink import Downlink
from uwsgirouter.master.fleet import BOOT_TIMEOUT
from uwsgirouter.master.handover import Rows, read_handover
from uwsgirouter.master.notify import Notifier
from uwsgirouter.master.succession import settings_in_force, settle, settle_attendants
from uwsgirouter.master.supervisor import Supervisor
from uwsgirouter.model.counters import MEMORY_BYTES, Counters
from uwsgirouter.model.table import RouteTable
from uwsgirouter.rules.loading import load_rules
from uwsgirouter.scripting.keeper import SCRIPTS, has_caches
from uwsgirouter.settings.application import is_served
from uwsgirouter.settings.load import Source
from uwsgirouter.settings.settings import Settings
from uwsgirouter.worker.main import work
from uwsgirouter.worker.post import Post

if TYPE_CHECKING:
    from uwsgirouter.model.metrics import Metrics
    from uwsgirouter.rules.table import Table

WELL, FAILED = 0, 1
TITLE = "uwsgirouter: trial"


def attempt(argv: Sequence[str], word: str) -> int:
    """The life of a trial; ``word`` is the value of its variable. The exit status."""
    setproctitle(TITLE)
    copy, report = (int(number) for number in word.split(","))
    Notifier(os.environ)  # the router speaks for itself
    os.set_inheritable(report, False)
    try:
        _try(argv, read_handover(copy))
    except (RouterError, OSError) as error:
        _say(str(error))
        return FAILED
    except Exception:  # noqa: BLE001 - whatever it is, it would be the end of the router
        traceback.print_exc()
        return FAILED
    os.write(report, json.dumps({"version": __version__, "form": compiled.describe(), "files": loaded()}).encode())
    return WELL


def loaded() -> list[tuple[str, int, int]]:
    """The files of this program as they are now: path, time of change in ns, size."""
    found = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.partition(".")[0] == "uwsgirouter" and path:
            status = os.stat(path)
            found.append((path, status.st_mtime_ns, status.st_size))
    return found


def _try(argv: Sequence[str], rows: Rows) -> None:
    told = rows["source"]
    source = Source(argv, cwd=told["cwd"], stdin=told["stdin"] or sys.stdin.read, started=told["started"])
    in_force = settings_in_force(rows["settings"])
    settings = source.load()
    process.set_environment(settings.texts("env"))
    _enter(settings.text("chdir"))
    rules = load_rules(settings, _say)
    if is_served(settings):
        means_for(settings)
    for option in SCRIPTS:
        _compile(option, settings)
    # Know all that the running router knows, as its successor would; only that no descriptor is there.
    supervisor = Supervisor(source, in_force, Log("uwsgirouter trial"), rows)
    setproctitle(TITLE)
    settle(supervisor, rows)
    settle_attendants(supervisor, rows)
    _boot_worker(settings, rules, supervisor.table, rows)


def _boot_worker(settings: Settings, rules: Table | None, table: RouteTable, rows: Rows) -> None:
    """Have one ready, and leave again. Raises BootError."""
    caches = _caches(settings, rows)
    if caches is None:
        _say("the configuration has caches that are not there yet: no worker was booted")
        return
    upper, lower = socket.socketpair()
    post = Post(
        number=1,
        settings=settings,
        listeners=[],
        names=[],
        announced=settings.is_set("fastrouter-subscription-server") or bool(rows["sockets"]["endpoints"]["servers"]),
        channel=lower,
        counters=Counters(memoryview(mmap.mmap(-1, MEMORY_BYTES))),
        row=0,
        sticky_secret=bytes(32),
        caches=caches,
        rules=rules,
        metrics=_metrics(settings),
    )
    pid = os.fork()
    if pid == 0:
        _become_worker(post, upper)
    lower.close()
    _see_it_boot(pid, Downlink(upper, table))


def _metrics(settings: Settings) -> Metrics | None:
    if not settings.is_set("metric"):
        return None
    from uwsgirouter.rules.metric_memory import MetricMemory
    from uwsgirouter.settings.metering import metrics

    return MetricMemory().configure(metrics(settings))


def _say(text: str) -> None:
    """To the running router, which logs it."""
    sys.stderr.write(f"{text}\n")


def _enter(path: str) -> None:
    """As the master did; it may have had more rights then."""
    if path:
        try:
            os.chdir(path)
        except PermissionError:
            _say(f"chdir {path}: not allowed any more")


def _compile(option: str, settings: Settings) -> None:
    for index, text in enumerate(settings.texts(option)):
        if not text.endswith(".py") and not os.path.isfile(text):
            continue  # a module's name
        try:
            with open(text, "rb") as file:
                compile(file.read(), text, "exec")
        except (OSError, SyntaxError, ValueError) as error:
            raise ConfigError(f"{option} = {text}: {error}", settings.where(option, index)) from None


def _caches(settings: Settings, rows: Rows) -> str | None:
    """The running router's directory of caches (empty: none is needed); None when it has not those of ``settings``."""
    if not has_caches(settings):
        return ""
    directory = os.path.join(rows["place"]["path"], "caches")
    there = all(os.path.exists(file_of(spec, directory)) for spec in cache_specs(settings))
    return directory if there else None


def _become_worker(post: Post, upper: socket.socket) -> None:
    status = FAILED
    try:
        process.reset_signals()
        process.follow_parent(signal.SIGKILL)
        upper.close()
        settings = post.settings
        process.drop_privileges(settings.optional_number("fastrouter-uid"), settings.optional_number("fastrouter-gid"))
        status = work(post)
    except BaseException:  # noqa: BLE001 - a child must never return into the trial's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _see_it_boot(pid: int, link: Downlink) -> None:
    """Give the worker the registry, wait until it is ready, and have it leave. Raises BootError."""
    deadline = time.monotonic() + BOOT_TIMEOUT
    poll = select.poll()
    ready = False
    while True:
        try:
            link.write()
            poll.register(link.sock, select.POLLIN | (select.POLLOUT if link.waiting else 0))
        except OSError:
            break
        poll.poll(1000)
        messages = link.read()
        if messages is None:
            break
        if not ready and any(message[0] == "ready" for message in messages):
            ready = True
            link.order("stop")
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            raise BootError(f"its worker was not ready after {BOOT_TIMEOUT:g} seconds")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code or not ready:
        how = f"exited with {code}" if code >= 0 else f"was killed by signal {-code}"
        raise BootError(f"its worker {how} before it was ready")

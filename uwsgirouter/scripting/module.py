"""The module ``uwsgi``: what scripts written for uWSGI find in a router.

One idea: whatever of uWSGI's API means something in a router works as there; whatever does not says so by its name
when it is asked for, and is never there as something that does nothing. It is made anew for each process, after the
fork, from what the process has.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
from types import ModuleType
from typing import NoReturn

from uwsgirouter import __version__
from uwsgirouter.cache.caches import Caches
from uwsgirouter.cache.place import USER_LOCK
from uwsgirouter.log import Log
from uwsgirouter.scripting.cache_calls import CacheCalls
from uwsgirouter.scripting.locks import UserLock
from uwsgirouter.scripting.rpc import RpcCalls
from uwsgirouter.scripting.signals import SignalCalls
from uwsgirouter.settings import magic
from uwsgirouter.settings.settings import Settings
from uwsgirouter.settings.table import BY_NAME

NAME = "uwsgi"
API = (2, 0, 31)
"""The version of uWSGI whose API this is."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ABSENT = _words(
    """
    SPOOL_IGNORE SPOOL_OK SPOOL_RETRY SymbolsImporter SymbolsZipImporter ZipImporter accepting add_cron
    add_file_monitor add_ms_timer add_probe add_rb_timer add_timer add_var alarm async_connect async_sleep buffer_size
    chunked_read chunked_read_nb cl close connect connection_fd cores disconnect embedded_data extract farm_get_msg
    farm_msg get_logvar green_schedule has_threads i_am_the_lord i_am_the_spooler in_farm is_connected listen_queue
    log_this_request logsize loop lord_scroll mem metric_dec metric_div metric_get metric_inc metric_mul metric_set
    metric_set_max metric_set_min mule_get_msg mule_id mule_msg mule_msg_hook offload parsefile queue_get queue_last
    queue_pop queue_pull queue_push queue_set queue_size queue_slot ready ready_fd recv reload
    request_context request_id route scrolls send send_to_spooler sendfile set_logvar set_spooler_frequency
    set_user_harakiri set_warning_message setprocname sharedarea_read sharedarea_write signal_received
    signal_wait snmp_decr_counter32 snmp_incr_counter32 snmp_set_counter32 sockets spool spooler
    spooler_get_task spooler_jobs spooler_pid spooler_pids start_response stop suspend total_requests unbit
    wait_fd_read wait_fd_write websocket_handshake websocket_recv websocket_recv_nb websocket_send
    websocket_send_binary workers
    """
)
"""Names of uWSGI's API that need an application server."""


def install(
    settings: Settings, caches: Caches | None, log: Log, worker: int = 0, is_reload: bool = False
) -> ModuleType:
    """Make ``import uwsgi`` work in this process, and the modules of pythonpath and virtualenv be found.

    ``worker`` is the number of the worker that this process is, 0 for any other.
    """
    _extend_path(settings)
    module = _module(settings, caches, log, worker, is_reload)
    sys.modules[NAME] = module
    return module


def _module(settings: Settings, caches: Caches | None, log: Log, worker: int, is_reload: bool) -> ModuleType:
    module = ModuleType(NAME, "The API of uWSGI, as far as it means something in a router.")
    calls = CacheCalls(caches, log.say), RpcCalls(log.block), SignalCalls(log.block), UserLock(_lock_path(caches))
    for group in calls:
        for name in dir(group):
            if not name.startswith("_"):
                setattr(module, name, getattr(group, name))
    master = os.getppid()
    module.__dict__.update(
        __getattr__=_absent,
        version=".".join(map(str, API)).encode(),
        version_info=(*API, 0, b""),
        uwsgirouter_version=__version__.encode(),
        opt=options(settings),
        magic_table={name.encode(): value.encode() for name, value in magic.of_process(os.getcwd()).items()},
        hostname=socket.gethostname().encode(),
        numproc=settings.number("fastrouter-processes"),
        started_on=int(time.time()),
        is_a_reload=is_reload,
        applications=None,
        log=_logger(log),
        masterpid=lambda: master,
        worker_id=lambda: worker,
        micros=lambda: time.time_ns() // 1000,
    )
    return module


def options(settings: Settings) -> dict[str, object]:
    """``uwsgi.opt``: name to True, bytes, or the list of them when it was given several times."""
    found: dict[str, list[object]] = {}
    for name, text in settings.written:
        bare = text in ("", "true") or (name in BY_NAME and text == BY_NAME[name].bare)
        found.setdefault(name, []).append(True if bare else text.encode("utf-8", "surrogateescape"))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _logger(log: Log) -> object:
    def write(text: str, /) -> bool:
        if not isinstance(text, str):
            raise TypeError(f"log() argument 1 must be str, not {type(text).__name__}")
        log.line(text)
        return True

    return write


def _lock_path(caches: Caches | None) -> str:
    return "" if caches is None else os.path.join(caches.directory, USER_LOCK)


def _absent(name: str) -> NoReturn:
    """What the module says of a name that it has not."""
    if name in ABSENT:
        raise AttributeError(f"uwsgi.{name} makes no sense in a router (uwsgirouter)", name=name)
    raise AttributeError(f"module 'uwsgi' of uwsgirouter has no attribute {name!r}", name=name)


def _extend_path(settings: Settings) -> None:
    """The working directory, pythonpath and the packages of virtualenv, in front."""
    virtualenv = settings.text("virtualenv")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = [".", *settings.texts("pythonpath")]
    if virtualenv:
        paths.append(os.path.join(virtualenv, "lib", version, "site-packages"))
    sys.path[:0] = [path for path in paths if path not in sys.path]
    # What "." is may have changed since the interpreter looked into it.
    importlib.invalidate_caches()

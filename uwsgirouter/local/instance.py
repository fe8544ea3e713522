"""The local instance: gunicorn on the router's sockets, run as a blueprint says.

One idea: gunicorn does what an application server does (processes, threads, graceful stop); this gives it the sockets
that the master bound (in systemd's way, so that it never unlinks them), the applications, and what it lacks of uWSGI's:
a limit on a request's time that holds for threads too, and word to the master that all processes serve, or that a
module changed. It runs in a process of its own, which gunicorn's exit status ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from uwsgirouter.local import watch
from uwsgirouter.local.blueprint import Blueprint
from uwsgirouter.local.dispatch import Dispatcher, remember
from uwsgirouter.local.loading import LoadError, load, prepare_path
from uwsgirouter.protocol.messages import encode_message

NAME = "local instance"
SLACK = 2
"""Seconds after which gunicorn kills a process that even harakiri's thread could not end."""
CANNOT_LOAD = 4
"""gunicorn's own status for an application that cannot be loaded."""
KILLED = 1


class Log(Logger):  # type: ignore[misc]
    """gunicorn's messages as lines of the router's log."""

    error_fmt = f"%(asctime)s [uwsgirouter {NAME} pid %(process)d] %(message)s"
    datefmt = "%Y-%m-%d %H:%M:%S"
    path = ""

    def reopen_files(self) -> None:
        """USR1: the master has opened the log again, and so do we."""
        if not self.path:
            return
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            self.warning("cannot open the log %s: %s; the old one stays", self.path, error.strerror)
            return
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)


class Instance(BaseApplication):  # type: ignore[misc]
    """The application in gunicorn's sense."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint
        self._harakiri: watch.Harakiri | None = None
        # A byte for each process that serves, by its number in the order of starts; all processes share it.
        self._serving = mmap.mmap(-1, mmap.PAGESIZE)
        super().__init__(prog=f"uwsgirouter {NAME}")

    def load_config(self) -> None:
        """Called by gunicorn: its settings."""
        for name, value in self._settings().items():
            if name in self.cfg.settings or name not in _NEWER:
                self.cfg.set(name, value)

    def _settings(self) -> dict[str, Any]:
        blueprint = self.blueprint
        return {
            "protocol": "uwsgi",
            "uwsgi_allow_ips": "*",
            "workers": blueprint.processes,
            "threads": blueprint.threads,
            "worker_class": _worker_class(blueprint),
            # A process takes from the common queue only what it has room for: the rest is for the others.
            "worker_connections": blueprint.greenlets or blueprint.threads,
            "preload_app": not (blueprint.lazy or blueprint.greenlets),
            "keepalive": 0,
            "timeout": blueprint.harakiri + SLACK if blueprint.harakiri else 0,
            "graceful_timeout": blueprint.mercy,
            "max_requests": blueprint.max_requests,
            "logger_class": Log,
            "errorlog": "-",
            "loglevel": "warning",
            "control_socket_disable": True,
            "proc_name": NAME,
            "pre_fork": lambda arbiter, worker: set_title(f"uwsgirouter: {NAME}"),
            "post_worker_init": self._begin,
            "pre_request": self._before,
            "post_request": self._after,
        }

    def load(self) -> Dispatcher:
        """Called by gunicorn: the WSGI application."""
        apps = self.blueprint.apps
        return Dispatcher({app.mount: load(app) for app in apps}, self.blueprint.manage_script_name)

    # -- in each process --------------------------------------------------------------------------------------------

    def _begin(self, worker: Any) -> None:
        """The application is loaded, the next thing is to accept."""
        set_title(f"uwsgirouter: {NAME} worker")
        blueprint = self.blueprint
        worker.log.warning("serving %s", ", ".join(app.target for app in blueprint.apps))
        if blueprint.harakiri:
            self._harakiri = watch.Harakiri(blueprint.harakiri, _dying(worker.log))
            watch.start(self._harakiri.watch)
        if blueprint.autoreload:
            watch.start(watch.ModuleFiles().watch, blueprint.autoreload, lambda *found: self._tell("changed", *found))
        self._serving[min(worker.age, len(self._serving)) - 1] = 1
        if sum(self._serving[:]) >= blueprint.processes:
            self._tell("ready")

    def _before(self, worker: Any, request: Any) -> None:
        remember(request)
        if self._harakiri is not None:
            self._harakiri.began(request)

    def _after(self, worker: Any, request: Any, *_: Any) -> None:
        if self._harakiri is not None:
            self._harakiri.ended(request)

    def _tell(self, *items: object) -> None:
        with contextlib.suppress(OSError):  # a master that is gone ends us by signal
            os.write(self.blueprint.line, encode_message(*items))


_NEWER = ("control_socket_disable",)
"""Settings that an older gunicorn may lack without harm."""


def _worker_class(blueprint: Blueprint) -> str:
    if blueprint.greenlets:
        return "gevent"
    return "gthread" if blueprint.threads > 1 else "sync"


def _dying(log: Any) -> Callable[[str], None]:
    def die(sentence: str) -> None:
        log.critical("%s", sentence)
        os._exit(KILLED)

    return die


def set_title(text: str) -> None:
    """What ``ps`` shows, where the library is installed."""
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(text)


def run(blueprint: Blueprint) -> None:
    """Serve until told to leave. Raises SystemExit."""
    os.set_inheritable(blueprint.line, False)
    set_title(f"uwsgirouter: {NAME}")
    Log.path = blueprint.log
    instance = Instance(blueprint)
    prepare_path(blueprint.pythonpath)
    if instance.cfg.preload_app:
        try:
            instance.wsgi()
        except LoadError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(CANNOT_LOAD)
        except Exception:  # noqa: BLE001 - whatever the application raises, it has no place among gunicorn's frames
            sys.stderr.write(traceback.format_exc())
            sys.exit(CANNOT_LOAD)
    instance.run()

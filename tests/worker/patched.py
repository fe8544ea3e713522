"""A router whose code is changed before it starts, for what cannot be brought about from outside."""

from __future__ import annotations

import sys

from tests.servers import Router, Servers

_BEFORE = """
import os
import runpy
os.environ.setdefault("UWSGIROUTER_PURE", "1")  # a compiled class cannot be changed
import uwsgirouter.master.supervisor
import uwsgirouter.worker.arrival
import uwsgirouter.worker.main
import uwsgirouter.worker.relay
{code}
runpy.run_module("uwsgirouter", run_name="__main__", alter_sys=True)
"""

CANNOT_BOOT = """
original = uwsgirouter.worker.main.Worker.__init__
def broken(self, post):
    if post.settings.number("fastrouter-timeout") == 77:
        raise RuntimeError("boom")
    original(self, post)
uwsgirouter.worker.main.Worker.__init__ = broken
"""
"""No worker can start by a configuration with ``fastrouter-timeout = 77``."""


def patched_router(servers: Servers, code: str, *args: str, config: str = "", ready: bool = True) -> Router:
    """A router started after ``code`` has run in its process; the workers are forked from it."""

    class Patched(Router):
        name = "patched"

        def command(self) -> list[str]:
            return [sys.executable, "-c", _BEFORE.format(code=code)]

    return servers._started(Patched(servers.directory, *args, config=config, ready=ready))

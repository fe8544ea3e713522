"""The programs that take part, and the command lines of the applications behind the routers.

Finds the programs and says plainly which one is missing. Starts nothing.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.processes import BenchError

PROJECT = Path(__file__).resolve().parents[2]
APP = Path(__file__).with_name("app.py")

LISTEN = "1024"
"""Backlog of every listener: 32 connections at once must never meet a full queue."""


@dataclass(frozen=True)
class Uwsgi:
    """A uWSGI binary and the options that make it able to serve Python and to be a FastRouter.

    Debian's is modular: each ability is a plugin to be named. The pyuwsgi package has both built in.
    """

    binary: str
    python: tuple[str, ...] = ()
    fastrouter: tuple[str, ...] = ()

    def app(self, addresses: Sequence[str], processes: int) -> list[str]:
        """A uWSGI server with the application of app.py on each address."""
        return [
            self.binary, *self.python, "--master", "--die-on-term", "--need-app", "--disable-logging",
            "--listen", LISTEN, "--processes", str(processes), "--wsgi-file", str(APP),
            *(word for address in addresses for word in ("--socket", address)),
        ]  # fmt: skip

    def version(self) -> str:
        return first_line([self.binary, "--version"])


def adopting(address: str, processes: int) -> list[str]:
    """gunicorn with the application of app.py on a unix socket, its workers of the kind that adopts clients."""
    return [
        sys.executable, "-m", "gunicorn", "--protocol", "uwsgi", "-k", "uwsgirouter.local.adopting.SyncWorker",
        "--workers", str(processes), "--backlog", LISTEN, "--log-level", "warning", "--chdir", str(APP.parent),
        "--bind", f"unix:{address}", "app:application",
    ]  # fmt: skip


def find_uwsgi() -> Uwsgi:
    """The uwsgi of the running interpreter's environment, else Debian's."""
    beside = Path(sys.executable).with_name("uwsgi")
    if os.access(beside, os.X_OK):
        return Uwsgi(str(beside))
    debian = shutil.which("uwsgi-core") or shutil.which("uwsgi")
    if debian:
        return Uwsgi(debian, ("--plugin", "python3"), ("--plugin", "fastrouter"))
    raise BenchError(
        "no uwsgi found, which is both the C FastRouter and the application server: "
        "pip install pyuwsgi, or apt install uwsgi-core uwsgi-plugin-python3"
    )


def look_for(name: str) -> str | None:
    """The path of a program, searched in the system directories too (nginx lives in one that users lack)."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


def find(name: str) -> str:
    """The path of a program. BenchError if it is not there."""
    path = look_for(name)
    if path is None:
        raise BenchError(f"{name} is not installed: apt install {name}")
    return path


def first_line(argv: list[str]) -> str:
    """First line of what a program says about itself, on whichever output, whatever its status."""
    result = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    lines = (result.stdout + result.stderr).strip().splitlines()
    return lines[0] if lines else ""


def open_files() -> int:
    """How many files a process that is started now may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

"""What a running router shows of itself: its workers' titles, descriptors and limits."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.servers import Outcome, Router, Servers, SteadyLoad, uwsgi_get, wait_until
from tests.servers.process import Process
from tests.servers.programs import environment

_STATE = re.compile(r"uwsgirouter: worker (\d+) (.*)")


def title(pid: int) -> str:
    """What ``ps`` shows of a process, empty when it is gone."""
    try:
        return " ".join(psutil.Process(pid).cmdline()).strip()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def workers(router: Router) -> list[int]:
    """The pids of the workers, whatever they are about."""
    return sorted(child.pid for child in router.children() if title(child.pid).startswith("uwsgirouter: worker"))


def serving(router: Router) -> dict[int, int]:
    """The workers that serve: number to pid."""
    found = {}
    for pid in workers(router):
        match = _STATE.match(title(pid))
        if match and not match[2].startswith(("starting", "draining", "cheap")):
            found[int(match[1])] = pid
    return found


def wait_for_serving(router: Router, count: int, deadline: float = 5.0) -> list[int]:
    """Wait until there are so many serving workers and no others; their pids by number."""

    def settled() -> list[int]:
        found = serving(router)
        whole = len(found) == count == len(workers(router))
        return [found[number] for number in sorted(found)] if whole else []

    return wait_until(settled, deadline, f"{count} serving workers, not {[title(pid) for pid in workers(router)]}")


def load(address: str, key: str = "a.example", rate: float = 400.0, threads: int = 16) -> SteadyLoad:
    """Sixteen connections at a time that ask for a page."""
    return SteadyLoad(uwsgi_get(address, key), rate=rate, threads=threads)


def assert_no_failure(results: list[Outcome]) -> None:
    """Each request has its whole answer."""
    failed = [result for result in results if result.failed]
    assert results
    assert not failed, f"{len(failed)} of {len(results)} failed, the first: {failed[0]}"


def sockets(pid: int) -> set[str]:
    """The sockets that a process has open, as the kernel numbers them."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue  # the directory's own descriptor
        if link.startswith("socket:["):
            found.add(link[8:-1])
    return found


def datagram_sockets() -> set[str]:
    """All datagram sockets of the machine (UDP, and unix ones), as the kernel numbers them."""
    found = set()
    for name in ("udp", "udp6"):
        found |= {line.split()[9] for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]}
    for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]:
        fields = line.split()
        if fields[4] == "0002":
            found.add(fields[6])
    return found


class Daemon(Process):
    """The router's command, run as it is; ``code`` is Python that runs in the process before."""

    name = "daemon"

    def __init__(self, servers: Servers, *args: str, code: str = "", env: Mapping[str, str] | None = None) -> None:
        super().__init__([*self.wrapped(code), *args], servers.directory, environment(env))

    @staticmethod
    def wrapped(code: str) -> list[str]:
        """A command that runs ``code`` and then becomes the router."""
        then = "import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'uwsgirouter', *sys.argv[1:]])"
        return [sys.executable, "-c", f"{code}\n{then}"]


def run_to_end(servers: Servers, *args: str) -> tuple[int, str]:
    """Exit status and output of a router that is expected to end by itself."""
    process = Daemon(servers, *args)
    return process.wait(10), process.log()

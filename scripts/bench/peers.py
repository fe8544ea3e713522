"""Who stands between the web server and the application: the two routers, and relays as floors.

A relay (HAProxy in TCP mode, nginx ``stream``) passes bytes on without looking for a key: it does less than a router
does, so its cost is the least that a real program needs for moving the same bytes. Makes command lines, and the
configuration files that they name; starts nothing.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.bench import nginx, programs
from scripts.bench.processes import BenchError
from scripts.bench.programs import LISTEN

FASTROUTER = "fastrouter"
OURS = "ours"
HAPROXY = "haproxy"
STREAM = "nginx-stream"
FLOORS = (HAPROXY, STREAM)

SESSIONS = 16_384
"""Connections a relay is made for, in pairs."""


@dataclass(frozen=True)
class Wiring:
    """What a router is connected to. Addresses are host:port, or paths of unix sockets."""

    listen: str
    node: str = ""
    """Its one static node; empty: nodes announce themselves."""
    subscriptions: str = ""
    """Where they do."""
    processes: int = 1
    more: tuple[str, ...] = ()
    """Further arguments of a router of either kind."""


def command(kind: str, wiring: Wiring, directory: Path) -> list[str]:
    """The command line of a router or relay; ``directory`` is empty and its own."""
    if kind == FASTROUTER:
        uwsgi = programs.find_uwsgi()
        return [uwsgi.binary, *uwsgi.fastrouter, "-M", "--listen", LISTEN, *arguments(wiring)]
    if kind == OURS:
        return [sys.executable, "-m", "uwsgirouter", *arguments(wiring)]
    if not wiring.node:
        raise BenchError(f"{kind} knows no subscriptions")
    if kind == HAPROXY:
        return haproxy(wiring, directory)
    return stream(wiring, directory)


def arguments(wiring: Wiring) -> list[str]:
    """What both routers understand."""
    made = ["--fastrouter", wiring.listen, "--fastrouter-processes", str(wiring.processes)]
    if wiring.node:
        made += ["--fastrouter-to", wiring.node]
    if wiring.subscriptions:
        made += ["--fastrouter-subscription-server", wiring.subscriptions]
    return [*made, *wiring.more]


HAPROXY_FILE = """\
global
    nbthread {processes}
    maxconn {sessions}
defaults
    mode tcp
    timeout connect 10s
    timeout client 600s
    timeout server 600s
listen relay
    bind {listen} backlog 1024
    server node {node}
"""


def haproxy(wiring: Wiring, directory: Path) -> list[str]:
    """One process, a thread for each process of a router."""
    listen, node = (f"unix@{one}" if one.startswith("/") else one for one in (wiring.listen, wiring.node))
    text = HAPROXY_FILE.format(processes=wiring.processes, sessions=sessions(), listen=listen, node=node)
    file = directory / "haproxy.cfg"
    file.write_text(text)
    return [programs.find("haproxy"), "-db", "-f", str(file)]


def stream(wiring: Wiring, directory: Path) -> list[str]:
    """A master and its processes."""
    load = stream_module()
    if load is None:
        raise BenchError("nginx has no stream module: apt install libnginx-mod-stream")
    text = nginx.relay(directory, load, wiring.listen, wiring.node, wiring.processes, 2 * sessions())
    (directory / "nginx.conf").write_text(text)
    return nginx.command(programs.find("nginx"), directory)


def sessions() -> int:
    """Sessions that a relay may be told of: two descriptors each, and some for itself."""
    return min(SESSIONS, (programs.open_files() - 200) // 2)


def floors() -> tuple[str, ...]:
    """The relays that are installed."""
    found = [HAPROXY] if programs.look_for("haproxy") else []
    if programs.look_for("nginx") and stream_module() is not None:
        found.append(STREAM)
    return tuple(found)


def stream_module() -> str | None:
    """The line of nginx.conf that loads the stream module, empty where it is built in; None where it is not there."""
    said = subprocess.run([programs.find("nginx"), "-V"], capture_output=True, text=True, timeout=10, check=False)
    words = said.stderr.split()
    if "--with-stream" in words:
        return ""
    places = [word.partition("=")[2] for word in words if word.startswith("--modules-path=")]
    files = [Path(place) / "ngx_stream_module.so" for place in places]
    return next((f"load_module {file};\n" for file in files if file.exists()), None)

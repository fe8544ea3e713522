"""Runs the quickstart: the router of conf/quickstart.conf and two gunicorn nodes that are announced to it.

    python conf/quickstart/run.py [CONFIG]

Started by `make run` with the Python of .venv. Ctrl-C (or SIGTERM) stops everything, the announcers first, so
that the router takes leave of the nodes before they go. Exit code 1 when a part ends by itself.
"""

# ruff: noqa: T201 (a script that talks to people)

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CONTROL = ["-m", "uwsgirouter.control"]
HERE = Path(__file__).resolve().parent
KEY = "hello.example"
NODES = ["node one", "node two"]
READY_WITHIN = 60.0
STOPPED_WITHIN = 10.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

Parts = dict[str, "subprocess.Popen[bytes]"]


class Stop(Exception):
    """A signal asks for the end."""


def main() -> int:
    config = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "quickstart.conf")
    router, server = addresses(config)
    for taken in (problem(router, socket.SOCK_STREAM), problem(server, socket.SOCK_DGRAM)):
        if taken:
            print(f"quickstart: {taken}; is another `make run` up? Else change {config}.", file=sys.stderr)
            return 1
    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    parts: Parts = {}
    with tempfile.TemporaryDirectory(prefix="uwsgirouter-quickstart-") as directory:
        try:
            start(parts, config, server, Path(directory))
            missing = {f"Hello from {name}:" for name in NODES}
            wait_until(parts, lambda: answered(router, missing), "not every node answers through the router")
            explain(router, server)
            return watch(parts)
        except Stop:
            return 0
        finally:
            end(parts)


def addresses(config: Path) -> tuple[str, str]:
    """The router's and the subscription server's address, out of the file."""
    names = "fastrouter|fastrouter-subscription-server"
    named = dict(re.findall(rf"^({names})\s*=\s*(\S+)", config.read_text(), re.M))
    if len(named) < 2:
        raise SystemExit(f"quickstart: {config} names no fastrouter and fastrouter-subscription-server")
    return named["fastrouter"], named["fastrouter-subscription-server"]


def problem(address: str, kind: socket.SocketKind) -> str:
    """Why the address cannot be bound; empty when it can."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            return f"cannot listen on {address}: {error.strerror}"
    return ""


def start(parts: Parts, config: Path, server: str, directory: Path) -> None:
    """Router, nodes, announcers, in this order. The nodes listen on unix sockets: no port can be taken."""
    spawn(parts, "router", "-m", "uwsgirouter", "-c", str(config))
    gunicorn = ["-m", "gunicorn", "--protocol", "uwsgi", "--no-control-socket", "--log-level", "warning"]
    gunicorn += ["--chdir", str(HERE), "hello:application"]
    paths = {name: directory / f"{name.replace(' ', '-')}.sock" for name in NODES}
    for name, path in paths.items():
        spawn(parts, name, *gunicorn, "--bind", f"unix:{path}", NODE=name)
    wait_until(parts, lambda: all(path.exists() for path in paths.values()), "the nodes do not listen")
    announce = [*CONTROL, "subscribe", "--server", server, "--key", KEY]
    for name, path in paths.items():
        spawn(parts, f"announcer of {name}", *announce, "--address", str(path))


def spawn(parts: Parts, name: str, *arguments: str, **variables: str) -> None:
    """Start a part in a session of its own: Ctrl-C must reach only this script, which knows the order."""
    environment = {**os.environ, **variables}
    parts[name] = subprocess.Popen([sys.executable, *arguments], env=environment, start_new_session=True)


def answered(router: str, missing: set[str]) -> bool:
    """Ask once; each node that answers is taken off those that are ``missing``. True when none is left."""
    ask = [*CONTROL, "request", f"http://{KEY}/", "--via", router, "--fail", "--timeout", "2"]
    answer = subprocess.run([sys.executable, *ask], capture_output=True, text=True).stdout
    missing -= {greeting for greeting in missing if answer.startswith(greeting)}
    return not missing


def wait_until(parts: Parts, condition: Callable[[], bool], otherwise: str) -> None:
    """Wait while all parts run; leave with a word about what did not come."""
    deadline = time.monotonic() + READY_WITHIN
    while not condition():
        ended = [name for name, part in parts.items() if part.poll() is not None]
        if ended or time.monotonic() > deadline:
            why = f"{' and '.join(ended)} ended" if ended else f"{READY_WITHIN:g} s are over"
            raise SystemExit(f"quickstart: {otherwise}, and {why}: see above")
        time.sleep(0.1)


def explain(router: str, server: str) -> None:
    command = Path(sys.executable).with_name("uwsgirouterctl")
    shown = command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command
    print(
        f"""
The router listens on {router}; nodes announce themselves to {server}.
Two nodes serve {KEY}. Try, in another terminal:

    {shown} request http://{KEY}/ --via {router}

Ctrl-C stops everything.""",
        flush=True,
    )


def watch(parts: Parts) -> int:
    """Until a part ends by itself, which none should."""
    while True:
        for name, part in parts.items():
            if part.poll() is not None:
                print(f"quickstart: {name} ended with {part.returncode}", file=sys.stderr)
                return 1
        time.sleep(0.2)


def stop(number: int, frame: object) -> None:
    for other in STOP_SIGNALS:
        signal.signal(other, signal.SIG_IGN)  # a second Ctrl-C must not cut the stopping short
    raise Stop


def end(parts: Parts) -> None:
    """Stop announcers, nodes, router. What does not go in time is killed, with all that it started."""
    for name in sorted(parts, key=lambda name: (name == "router", not name.startswith("announcer"))):
        part = parts[name]
        if part.poll() is None:
            part.terminate()
        try:
            part.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            print(f"quickstart: {name} does not stop, killing it", file=sys.stderr)
            os.killpg(part.pid, signal.SIGKILL)
            part.wait()


if __name__ == "__main__":
    sys.exit(main())

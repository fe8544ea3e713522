"""The router and its nodes, each in a process of its own; what the router says of itself, and how it is told things.

The router listens at a port and at a unix socket. Two nodes of this package, one at a unix socket, and a real uWSGI
serve one key, the two also another one, and a last one is only there to fail. All announce themselves. Gone when it is
left.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import psutil

from scripts.bench.processes import BenchError, Daemon, accepts, free_address, free_udp_address, tree_pss
from scripts.bench.programs import PROJECT, find_uwsgi
from scripts.soak.visits import FAULTY, PLAIN, STREAM

WORKERS = 2
LOG_LINES = 40
APP = Path(__file__).with_name("app.py")

_STATS = re.compile(r"stats: (\d+) nodes, \d+ pools, (-?\d+) sessions, (-?\d+) in flight")


class NodeProcess:
    """A node: started again at its own address after it was killed or told to leave."""

    def __init__(self, name: str, keys: tuple[str, ...], address: str, argv: list[str], log: Path) -> None:
        self.name = name
        self.keys = frozenset(keys)
        self.address = address
        self._argv = argv
        self._log = log
        self.daemon = Daemon(name, argv, log, PROJECT)

    def start(self) -> None:
        """Until it listens."""
        self.daemon = Daemon(self.name, self._argv, self._log, PROJECT)
        self.daemon.start()
        self.daemon.wait_until(lambda: accepts(self.address), "listener")

    @property
    def runs(self) -> bool:
        """It has not ended."""
        return bool(self.daemon.tree())

    def kill(self) -> None:
        """At once, with its children, and without a farewell."""
        family = self.daemon.tree()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family[1:], 5)
        self.daemon.stop()

    def stop(self, number: int, within: float) -> None:
        """By a signal; BenchError if it does not go."""
        family = self.daemon.tree()
        if family:
            family[0].send_signal(number)
            _, alive = psutil.wait_procs(family, within)
            if alive:
                raise BenchError(f"{self.name} does not end:\n{self.daemon.log_end()}")
        self.daemon.stop()


class Site:
    """``with Site() as site``."""

    def __init__(self) -> None:
        self._exit = ExitStack()
        self.directory = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="uwsgirouter-soak-")))
        self.bodies = self.directory / "bodies"
        self.temporary = self.directory / "tmp"
        self.bodies.mkdir()
        self.temporary.mkdir()
        self.listen = (free_address(), str(self.directory / "router.sock"))
        self.server = free_udp_address()
        self.control = str(self.directory / "control.sock")
        self.config = self.directory / "router.conf"
        self.configure()
        argv = [sys.executable, "-m", "uwsgirouter", "-c", str(self.config)]
        self.router = Daemon("router", argv, self.directory / "router.log", PROJECT, {"TMPDIR": str(self.temporary)})
        self.one = self._own("one", free_address(), PLAIN, STREAM)
        self.two = self._own("two", str(self.directory / "two.sock"), PLAIN, STREAM)
        self.faulty = self._own("faulty", free_address(), FAULTY)
        self.uwsgi = self._uwsgi()
        self.nodes = [self.one, self.two, self.faulty, self.uwsgi]

    def _own(self, name: str, address: str, *keys: str) -> NodeProcess:
        argv = [sys.executable, "-m", "scripts.soak.node", address, self.server, *keys]
        return NodeProcess(name, keys, address, argv, self.directory / f"{name}.log")

    def _uwsgi(self) -> NodeProcess:
        program, address = find_uwsgi(), free_address()
        argv = [
            program.binary, *program.python, "--master", "--need-app", "--disable-logging", "--processes", "2",
            "--threads", "6", "--socket-timeout", "60", "--wsgi-file", str(APP), "--socket", address,
            "--set", f"address={address}",
            "--subscribe-freq", "2", "--subscribe2", f"server={self.server},key={PLAIN},addr={address}",
        ]  # fmt: skip
        return NodeProcess("uwsgi", (PLAIN,), address, argv, self.directory / "uwsgi.log")

    def __enter__(self) -> Site:
        try:
            self._start()
        except BaseException:
            self._exit.close()
            raise
        return self

    def _start(self) -> None:
        self._exit.callback(self.router.stop)
        self.router.start()
        self.router.wait_until(lambda: all(map(accepts, self.listen)) and os.path.exists(self.control), "listener")
        for node in self.nodes:
            self._exit.callback(node.kill)
            node.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    # -- what it is told ----------------------------------------------------------------------------------------------

    def configure(self, *lines: str) -> None:
        """Write the configuration, with some lines more."""
        fixed = [
            "[uwsgirouter]",
            *(f"fastrouter = {address}" for address in self.listen),
            f"fastrouter-subscription-server = {self.server}",
            f"fastrouter-processes = {WORKERS}",
            f"fastrouter-post-buffering-dir = {self.bodies}",
            f"control-socket = {self.control}",
            "subscription-tolerance = 6",
            "fastrouter-timeout = 60",
        ]
        new = self.config.with_suffix(".new")
        new.write_text("\n".join([*fixed, *lines, ""]))
        new.replace(self.config)

    def reload(self, said: str = "] reloaded in ") -> None:
        """HUP, until the master says what became of it. BenchError if it does not."""
        mark = self.log_size()
        self.master.send_signal(signal.SIGHUP)
        self.router.wait_until(lambda: said in self.log(mark), f"line {said!r}", 40)

    def ask(self, **request: object) -> tuple[list[dict[str, object]], bool]:
        """One question to the control socket: the nodes in its answer, and whether every worker knows them all.

        BenchError when it is refused, OSError when nobody answers.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(20)
            peer.connect(self.control)
            peer.sendall(json.dumps(request).encode() + b"\n")
            with peer.makefile("rb") as lines:
                return _answer(lines)

    def stop(self, found: Callable[[str], None], within: float) -> None:
        """TERM: the router ends with its last word, and leaves no process and no socket; else that is ``found``."""
        family, mark = self.router.tree(), "goodbye to uwsgirouter."
        self.master.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, within)
        if alive:
            found(f"{within:.0f} s after TERM there still are {[title(process) for process in alive]}")
        if os.path.exists(self.control):
            found(f"{self.control} is left")
        if mark not in self.log():
            found("the router did not take leave")

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def master(self) -> psutil.Process:
        """BenchError when it has ended."""
        tree = self.router.tree()
        if not tree:
            raise BenchError("the router has ended")
        return tree[0]

    def children(self) -> list[psutil.Process]:
        """All processes of the router but the master, dead ones that nobody has asked for too."""
        found: list[psutil.Process] = self.master.children(recursive=True)
        return found

    def workers(self) -> list[psutil.Process]:
        """Those that accept: not the ones that drain, nor those of other kinds."""
        return [child for child in self.children() if title(child).startswith("uwsgirouter: worker") and
                "draining" not in title(child)]  # fmt: skip

    def log(self, mark: int = 0) -> str:
        """What the router wrote since its log had the size ``mark``."""
        with self.router.log.open("rb") as file:
            file.seek(mark)
            return file.read().decode(errors="replace")

    def log_size(self) -> int:
        """Bytes of its log."""
        return self.router.log.stat().st_size

    def log_end(self) -> str:
        """Its last lines, but for the counters."""
        lines = [line for line in self.log().splitlines() if "] stats: " not in line]
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES:])

    def stats(self) -> tuple[int, int]:
        """Sessions and requests in flight, as the master counts them now."""
        mark = self.log_size()
        self.master.send_signal(signal.SIGUSR1)
        self.router.wait_until(lambda: bool(_STATS.search(self.log(mark))), "stats line")
        _, sessions, in_flight = _STATS.findall(self.log(mark))[-1]
        return int(sessions), int(in_flight)

    def pss(self) -> int:
        """Bytes of memory of the router's processes that accept, and its master."""
        return tree_pss([self.master, *self.workers()])

    def files(self) -> list[str]:
        """Temporary files, also those without a name that a process has open."""
        named = [str(path) for place in (self.bodies, self.temporary) for path in place.iterdir()]
        return named + [target for process in (self.master, *self.children()) for target in _deleted(process)]


def wait_until(predicate: Callable[[], bool], within: float) -> bool:
    """Whether it became true."""
    deadline = time.monotonic() + within
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def title(process: psutil.Process) -> str:
    """What ps shows of it; empty when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _answer(lines: Iterator[bytes]) -> tuple[list[dict[str, object]], bool]:
    nodes = []
    for line in lines:
        said = json.loads(line)
        if "node" in said:
            nodes.append(said["node"])
        elif "ok" in said:
            return nodes, bool(said["settled"])
        else:
            raise BenchError(f"the control socket says: {said}")
    raise BenchError("the control socket's answer is cut")


def _deleted(process: psutil.Process) -> Iterator[str]:
    try:
        for name in os.listdir(f"/proc/{process.pid}/fd"):
            target = os.readlink(f"/proc/{process.pid}/fd/{name}")
            if target.endswith(" (deleted)") and target.startswith("/") and "/memfd:" not in target:
                yield f"{target} of process {process.pid}"
    except OSError:
        return  # the process, or the descriptor, is gone

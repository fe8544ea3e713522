"""The process itself: its users, its log, its place in the background."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.master.watching import Daemon, run_to_end, wait_for_serving, workers
from tests.servers import Router, Servers, announce, answer, fetch, local, wait_until
from tests.servers.process import alive_in_session
from tests.servers.programs import ROUTER_COMMAND, environment
from tests.worker.patched import patched_router

ROOT = os.geteuid() == 0
USER = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
"""Without root a process can only become what it is."""
GROUP = grp.getgrgid(USER.pw_gid)


def identity(pid: int) -> tuple[set[int], set[int], list[int]]:
    """The user, group and further groups of a process (real, effective and saved ones)."""
    process = psutil.Process(pid)
    status = Path(f"/proc/{pid}/status").read_text()
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    return set(process.uids()), set(process.gids()), [int(group) for group in groups.split()[1:]]


NOBODY = ({USER.pw_uid}, {USER.pw_gid}, [] if ROOT else sorted(os.getgroups()))


def test_uid_and_gid_of_all_processes(started: Servers) -> None:
    lines = [f"uid = {USER.pw_name}", f"gid = {GROUP.gr_name}", f"pidfile = {started.path('user.pid')}"]
    router, node = start(started, *lines)
    for pid in (router.pid, *wait_for_serving(router, 1)):
        assert identity(pid) == NOBODY
    router.hup()
    router.wait_for_log("] reloaded in ")
    assert fetch(router.address).body == b"served"
    assert node is not None


def test_uid_and_gid_of_the_workers_alone(started: Servers) -> None:
    lines = [f"fastrouter-uid = {USER.pw_uid}", f"fastrouter-gid = {USER.pw_gid}", "fastrouter-processes = 2"]
    router, _ = start(started, *lines)
    own = ({os.geteuid()}, {os.getegid()})
    assert identity(router.pid)[:2] == own
    for pid in wait_for_serving(router, 2):
        assert identity(pid) == NOBODY
    assert fetch(router.address).body == b"served"


LATE = """
import os, sys
class Late:
    def find_spec(self, name, path=None, target=None):
        os.write(2, f"late import of {name}\\n".encode())
drop = uwsgirouter.master.process.drop_privileges
def dropped(user, group):
    drop(user, group)
    sys.meta_path.insert(0, Late())
uwsgirouter.master.process.drop_privileges = dropped
"""


def test_nothing_is_imported_once_the_rights_are_gone(started: Servers) -> None:
    """The user that the router becomes may not be able to read Python's own files."""
    node, server, address = started.node(answer(b"served")), started.path("late"), local()
    config = f"[uwsgirouter]\nfastrouter = {address}\nfastrouter-subscription-server = {server}\n"
    router = patched_router(started, LATE, config=config)
    for _ in range(2):
        announce(server, "a.example", node.address)
        wait_until(lambda: fetch(address).status == 200, 5, "it is served")
        announce(server, "bad.example", "bad:address")
        announce(server, b"\xff\x00.example", local())
        for key in (b"nobody.example", b"\xff\x00.example", b""):
            fetch(address, key)
        router.signal(signal.SIGUSR1)
        router.rewrite(config + "fastrouter-to = localhost:3031\n")
        router.hup()
        router.wait_for_log("] reloaded in ")
    router.rewrite(config + "fastrouter-timeout = soon\n")
    router.hup()
    router.wait_for_log("the old configuration stays in use")
    assert router.stop() == 0
    assert "late import" not in router.log()


def start(started: Servers, *lines: str) -> tuple[Router, object]:
    """A router with one static node."""
    node = started.node(answer(b"served"))
    config = ["[uwsgirouter]", f"fastrouter = {local()}", f"fastrouter-to = {node.address}", *lines, ""]
    return started.router(config="\n".join(config)), node


@contextmanager
def in_background(started: Servers, *args: str) -> Iterator[int]:
    """A router that goes to the background; the pid of its master, which is stopped at the end."""
    pidfile = started.path("background.pid")
    launcher = Daemon(started, "--pidfile", pidfile, "--vacuum", *args)
    assert launcher.wait(10) == 0
    wait_until(lambda: os.path.exists(pidfile) and Path(pidfile).read_text().endswith("\n"), 5, "the pidfile")
    pid = int(Path(pidfile).read_text())
    try:
        yield pid
    finally:
        session = os.getsid(pid)
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive_in_session(session), 10, "nothing is left of it")


def test_in_the_background(started: Servers) -> None:
    log, node = started.path("background.log"), started.node(answer(b"served"))
    address = local()
    with in_background(started, "--daemonize", log, "--fastrouter", address, "--fastrouter-to", node.address) as pid:
        assert fetch(address).body == b"served"
        assert pid != os.getsid(pid), "it can never get a terminal"
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        for descriptor in (1, 2):
            assert os.readlink(f"/proc/{pid}/fd/{descriptor}") == log
    text = Path(log).read_text()
    assert "goodbye to uwsgirouter." in text
    assert "Traceback" not in text


def test_a_log_that_was_renamed_is_opened_again_by_all(started: Servers) -> None:
    """USR1: master and workers write to the new file; so do the workers of later reloads."""
    log = started.path("rotated.log")
    dead = local()
    config = ["[uwsgirouter]", f"fastrouter = {local()}", "fastrouter-processes = 2", f"logto = {log}"]
    config += [f"fastrouter-to = {dead}", "fastrouter-gracetime = 0", ""]
    router = started.router(config="\n".join(config))
    first = wait_for_serving(router, 2)
    assert router.log() == ""
    for number in range(2):
        os.rename(log, f"{log}.{number}")
        assert fetch(router.address).status == 502
        old = Path(f"{log}.{number}")
        wait_until(lambda: "502 connect-failed" in old.read_text(), 5, "the old file is still written")  # noqa: B023
        before = old.read_text().count("SIGTERM: draining")
        router.signal(signal.SIGUSR1)
        wait_until(lambda: os.path.exists(log) and "log reopened" in Path(log).read_text(), 5, "the new file")
        for pid in workers(router):
            wait_until(lambda: os.readlink(f"/proc/{pid}/fd/2") == log, 5, "the worker's log")  # noqa: B023
            os.kill(pid, signal.SIGTERM)  # it says so
        wait_until(lambda: Path(log).read_text().count("SIGTERM: draining") == 2, 5, "the workers write to it")
        wait_for_serving(router, 2)
        assert "] stats: " in Path(log).read_text()
        assert old.read_text().count("SIGTERM: draining") == before
    router.hup()
    wait_until(lambda: "] reloaded in " in Path(log).read_text(), 5, "the reload")
    assert set(wait_for_serving(router, 2)).isdisjoint(first)


def test_a_reload_moves_the_log(started: Servers) -> None:
    """All processes write to the new one; a log that is taken away, or cannot be opened, stays."""
    lines = f"[uwsgirouter]\nfastrouter = {local()}\n"
    one, two = started.directory / "moved-1.log", started.directory / "moved-2.log"
    router = started.router(config=f"{lines}logto = {one}\n")
    for text, log, said in (
        (f"logto = {two}\n", two, "log reopened"),
        ("", two, "logto was taken away: that needs a restart, the old log stays"),
        (f"logto = {one}\n", one, "log reopened"),
        ("logto = /nowhere/at/all\n", one, "cannot open the log /nowhere/at/all"),
    ):
        router.rewrite(lines + text)
        router.hup()
        wait_until(lambda: log.exists() and said in log.read_text(), 10, said)  # noqa: B023
        wait_until(lambda: "is done" in log.read_text(), 10, "the old workers write there, too")  # noqa: B023


def test_a_log_that_cannot_be_opened_again_stays(started: Servers) -> None:
    directory = Path(started.path("logs"))
    directory.mkdir()
    router, _ = start(started, f"logto = {directory}/router.log")
    moved = directory.rename(started.path("logs.moved"))
    router.signal(signal.SIGUSR1)
    wait_until(lambda: "the old log stays" in (moved / "router.log").read_text(), 5, "it is said in the old log")
    assert fetch(router.address).body == b"served"


def test_a_log_of_the_user_that_the_router_becomes(started: Servers) -> None:
    directory = Path(started.path("owned"))
    directory.mkdir()
    os.chown(directory, USER.pw_uid, USER.pw_gid)
    log = directory / "router.log"
    router, _ = start(started, f"logto = {log}", f"uid = {USER.pw_name}", f"gid = {GROUP.gr_name}")
    log.rename(directory / "router.log.1")
    router.signal(signal.SIGUSR1)
    wait_until(lambda: log.exists() and "log reopened" in log.read_text(), 5, "the new file")
    assert log.stat().st_uid == USER.pw_uid


def test_nobody_reads_the_log(started: Servers) -> None:
    """A full pipe at descriptor 2: lines are lost and counted, requests are not; the master goes on as well."""
    node, server, address = started.node(answer(b"served")), started.path("deaf"), local()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    arguments = ["--fastrouter", address, "--fastrouter-subscription-server", server, "--fastrouter-processes", "2"]
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    process = subprocess.Popen(
        [*ROUTER_COMMAND, *arguments], stderr=writer, env={**os.environ, **environment(None)}, start_new_session=True
    )
    try:
        wait_until(lambda: os.path.exists(server), 10, "it is bound")
        for number in range(50):
            announce(server, f"k{number}.example", node.address)
        announce(server, "a.example", node.address)
        wait_until(lambda: {fetch(address).status for _ in range(4)} == {200}, 5, "both workers know the node")
        for _ in range(50):
            assert fetch(address, "nobody.example").status == 503
        assert fetch(address).body == b"served"
        os.set_blocking(reader, False)
        while len(os.read(reader, 1 << 20)) == 1 << 20:
            pass
        process.send_signal(signal.SIGUSR1)
        text = wait_for_bytes(reader, b"log lines dropped: ")
        assert int(text.partition(b"log lines dropped: ")[2].split()[0]) > 50
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        for left in alive_in_session(process.pid):
            left.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


def wait_for_bytes(reader: int, wanted: bytes) -> bytes:
    """Read a pipe until a whole line with these bytes was seen."""
    found = bytearray()

    def more() -> bool:
        try:
            found.extend(os.read(reader, 1 << 16))
        except BlockingIOError:
            pass
        return wanted in found and b"\n" in found.partition(wanted)[2]

    wait_until(more, 5, f"{wanted!r} in the log")
    return bytes(found)


def test_a_directory_to_work_in(started: Servers) -> None:
    directory = Path(started.path("work"))
    directory.mkdir()
    router = started.router("--fastrouter", local(), "--chdir", str(directory), "--pidfile", "relative.pid")
    wait_until((directory / "relative.pid").exists, 5, "the pidfile in the directory")
    for pid in (router.pid, *wait_for_serving(router, 1)):
        assert os.readlink(f"/proc/{pid}/cwd") == str(directory)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("chdir", "/nowhere/at/all", "chdir /nowhere/at/all: No such file or directory"),
        ("logto", "/nowhere/log", "cannot open the log /nowhere/log: No such file or directory"),
        ("pidfile", "/nowhere/pid", "pidfile /nowhere/pid: No such file or directory"),
        ("daemonize", "/nowhere/log", "cannot open the log /nowhere/log: No such file or directory"),
    ],
)
def test_what_start_up_cannot_have(started: Servers, option: str, value: str, reason: str) -> None:
    code, log = run_to_end(started, "--fastrouter", local(), f"--{option}", value)
    assert code == 1
    assert reason in log


def test_the_time_of_a_stop_without_anything_to_do_is_short(started: Servers) -> None:
    router, _ = start(started)
    wait_for_serving(router, 1)
    begin = time.monotonic()
    assert router.stop() == 0
    assert time.monotonic() - begin < 1

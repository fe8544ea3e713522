"""Starting, reading and stopping a tree of processes; what /proc says."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from scripts.bench.processes import (
    BenchError,
    CpuReading,
    Daemon,
    accepts,
    connect,
    free_address,
    machine_busy,
    parse_pss,
    split_address,
    tree_pss,
)
from scripts.bench.site import lost_datagrams, parse_drops
from tests.servers import free_port


def test_other_processes_in_the_tree_spoil_a_reading() -> None:
    before = CpuReading(1.0, frozenset({1, 2}))
    assert CpuReading(1.5, frozenset({1, 2})).since(before) == 0.5
    with pytest.raises(BenchError, match="came or went"):
        CpuReading(1.5, frozenset({1, 3})).since(before)


PARENT = """\
import os, signal, sys, time
if os.fork() == 0:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end = time.process_time() + 0.2
    while time.process_time() < end: pass
    open(sys.argv[1], "w").close()
while True: time.sleep(60)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Daemon]:
    """A process with a child that burns 0.2 s of CPU, writes a file and then ignores SIGINT."""
    daemon = Daemon("parent", [sys.executable, "-c", PARENT, str(tmp_path / "done")], tmp_path / "log", tmp_path)
    daemon.start()
    try:
        daemon.wait_until((tmp_path / "done").exists, "file")
        yield daemon
    finally:
        daemon.stop()


def test_cpu_is_that_of_the_whole_tree_and_stop_leaves_nothing(parent: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bench.processes.STOP_DEADLINE", 0.5)
    reading = parent.cpu()
    assert len(reading.pids) == 2
    assert 0.2 <= reading.seconds < 5
    parent.stop()
    parent.stop()
    assert not [pid for pid in reading.pids if psutil.pid_exists(pid) and not is_zombie(pid)]
    with pytest.raises(BenchError, match="has ended"):
        parent.cpu()


def is_zombie(pid: int) -> bool:
    """An orphan's parent is whatever runs as pid 1 here; it may take its time to collect the status."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_program_that_ends_is_reported_with_its_log(tmp_path: Path) -> None:
    daemon = Daemon("liar", [sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log", tmp_path)
    daemon.start()
    try:
        with pytest.raises(BenchError, match=r"liar ended with status 1:(.|\n)*no such thing"):
            daemon.wait_until(lambda: False, "anything")
    finally:
        daemon.stop()


def test_the_machine_is_at_least_as_busy_as_this_test() -> None:
    before = machine_busy()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert machine_busy() - before >= 0.1 - 3 / os.sysconf("SC_CLK_TCK")


def test_free_addresses_are_below_the_range_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    host, port = split_address(free_address())
    assert host == "127.0.0.1"
    assert port < first or first <= 2048


def test_what_a_dead_root_leaves_behind_is_stopped_too(parent: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bench.processes.STOP_DEADLINE", 0.5)
    root, child = parent.tree()
    root.kill()
    parent.stop()
    assert not psutil.pid_exists(root.pid)
    assert is_zombie(child.pid)


ROLLUP = """\
55d0-7ffe ---p 00000000 00:00 0    [rollup]
Rss:               10344 kB
Pss:                4321 kB
Pss_Dirty:           100 kB
"""


def test_memory_is_the_proportional_share() -> None:
    assert parse_pss(ROLLUP) == 4321 * 1024
    with pytest.raises(BenchError, match="no Pss"):
        parse_pss("Rss: 1 kB\n")
    assert 1_000_000 < tree_pss([psutil.Process()]) < psutil.Process().memory_info().rss * 1.1


def test_memory_of_a_dead_process_is_an_error(parent: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bench.processes.STOP_DEADLINE", 0.5)
    tree = parent.tree()
    parent.stop()
    with pytest.raises(BenchError, match="cannot be read"):
        tree_pss(tree)


DROPS = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  107: 0100007F:0FA0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11 2 0 3
  108: 0100007F:0FA0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0 4
  109: 0100007F:0FA1 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 13 2 0 9
"""


def test_dropped_datagrams_are_those_of_the_port() -> None:
    assert parse_drops(DROPS, 4000) == 7
    with pytest.raises(BenchError, match="nobody has UDP port 4002"):
        parse_drops(DROPS, 4002)


def test_dropped_datagrams_are_counted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        assert lost_datagrams(address) == 0
        for _ in range(50):
            sender.sendto(b"x" * 1000, receiver.getsockname())
        assert 0 < lost_datagrams(address) < 50


def test_unix_sockets_and_ports_are_connected_to(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    assert not accepts(path)
    with socket.socket(socket.AF_UNIX) as listener, socket.create_server(("127.0.0.1", 0)) as other:
        listener.bind(path)
        listener.listen()
        assert accepts(path)
        assert accepts(f"127.0.0.1:{other.getsockname()[1]}")
        with connect(path, 1) as peer:
            assert peer.family == socket.AF_UNIX
    assert not accepts(path)
    assert not accepts(f"127.0.0.1:{free_port()}")


def test_a_pid_that_somebody_else_has_by_now_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a long run the number of a process that ended may be a thread's, for which the kernel has other errors."""
    daemon = Daemon("sleeper", ["sleep", "60"], tmp_path / "log", tmp_path)
    daemon.start()
    ended = psutil.Process()
    monkeypatch.setattr(ended, "is_running", lambda: False)
    daemon._seen.add(ended)
    waited: list[psutil.Process] = []
    wait = psutil.wait_procs

    def watched(processes: list[psutil.Process], timeout: float) -> object:
        waited.extend(processes)
        return wait(processes, timeout=timeout)

    monkeypatch.setattr(psutil, "wait_procs", watched)
    (process,) = daemon.tree()
    daemon.stop()
    assert waited == [process] and not process.is_running()

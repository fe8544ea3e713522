"""The pure parts of the benchmark: reading wrk, arithmetic, turns, verdicts, configuration; and stopping a tree."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest

from scripts.bench import __main__ as command
from scripts.bench import app, nginx, report
from scripts.bench.measures import parse_wrk, ratios, spread
from scripts.bench.processes import BenchError, CpuReading, Daemon, free_address, machine_busy, split_address
from scripts.bench.rounds import Figures, Work, body_work, disturbed, order, small_work
from scripts.bench.site import FASTROUTER, OURS, Lane, Placement, cores_of

GOOD = """\
Running 4s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.14ms    1.02ms  21.67ms   90.55%
    Req/Sec     7.79k   412.20     8.41k    85.00%
  31012 requests in 4.00s, 5.06MB read
Requests/sec:   7745.21
Transfer/sec:      1.26MB
"""

BAD = """\
Running 1m test @ http://127.0.0.1:8080/
  120 requests in 1.50m, 10.00KB read
  Socket errors: connect 3, read 0, write 0, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec:      1.33
"""


def test_wrk_totals_without_failures() -> None:
    result = parse_wrk(GOOD)
    assert (result.requests, result.seconds, result.failures) == (31012, 4.0, {})


def test_wrk_failures_are_counted_by_kind() -> None:
    result = parse_wrk(BAD)
    assert result.requests == 120
    assert result.seconds == 90.0
    assert result.failures == {"connect": 3, "timeout": 2, "status": 7}


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", GOOD[:200]])
def test_wrk_without_totals_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="no totals"):
        parse_wrk(text)


def test_the_ratio_is_taken_round_by_round() -> None:
    # Both twice as dear in the second round: no difference between the routers.
    assert ratios([10.0, 20.0, 12.0], [20.0, 40.0, 20.0]) == [0.5, 0.5, 0.6]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_spread_is_robust_against_one_bad_round() -> None:
    figures = spread([1.0, 1.02, 0.98, 7.0, 1.01])
    assert (figures.median, figures.least, figures.greatest) == (1.01, 0.98, 7.0)
    assert figures.width == pytest.approx(6.02 / 1.01)


def test_turns_alternate_and_swap_their_order() -> None:
    first, second = (Lane(name, "", cast(Daemon, None)) for name in "AB")
    assert "".join(lane.name for lane in order([first, second], 4)) == "ABBAABBA"
    assert [lane.name for lane in order([first], 3)] == ["A", "A", "A"]


def figures(base: list[float], other: list[float], name: str = OURS) -> Figures:
    return Figures(cost={FASTROUTER: base, name: other}, neighbours=[0.0] * len(base))


@pytest.mark.parametrize(
    ("work", "cost", "passed"),
    [
        (small_work(4), [105.0, 105.0, 160.0], True),
        (small_work(4), [105.2, 105.2, 90.0], False),
        (body_work("download", 1, 1), [35.0, 34.0, 99.0], True),
        (body_work("upload", 1, 1), [36.0, 36.0, 10.0], False),
    ],
)
def test_targets(work: Work, cost: list[float], passed: bool) -> None:
    row = report.row(work, figures([100.0] * 3, cost), [(FASTROUTER, FASTROUTER), (OURS, OURS)])
    assert row.passed is passed
    assert report.table([row]).endswith("pass" if passed else "MISSED")


def test_no_verdict_without_both_routers() -> None:
    work = small_work(1)
    again = report.row(work, figures([1.0], [1.0], "again"), [(FASTROUTER, FASTROUTER), ("again", FASTROUTER)])
    assert again.ratio is not None
    assert (again.target, again.passed) == (None, None)
    alone = report.row(work, Figures(cost={OURS: [3.0]}), [(OURS, OURS)])
    assert (alone.ratio, alone.passed) == (None, None)
    assert "3.0" in report.table([alone])


def test_busy_neighbours_are_named() -> None:
    loads = {"small": Figures(neighbours=[0.0, 0.01]), "upload": Figures(neighbours=[0.3, 0.0])}
    assert disturbed(loads, 0.05) == ["upload"]


def test_other_processes_in_the_tree_spoil_a_reading() -> None:
    before = CpuReading(1.0, frozenset({1, 2}))
    assert CpuReading(1.5, frozenset({1, 2})).since(before) == 0.5
    with pytest.raises(BenchError, match="came or went"):
        CpuReading(1.5, frozenset({1, 3})).since(before)


def test_placements() -> None:
    assert cores_of(Placement.TOGETHER, (0, 1, 2)) == ({2}, {2})
    assert cores_of(Placement.APART, (0, 1, 2)) == ({2}, {0, 1})
    assert cores_of(Placement.FREE, (0, 1, 2)) == ({0, 1, 2}, {0, 1, 2})
    with pytest.raises(BenchError, match="two cores"):
        cores_of(Placement.APART, (0,))


def test_arguments_fill_in_the_lengths() -> None:
    quick = command.arguments_from(["--quick", "--rounds", "7"])
    assert (quick.rounds, quick.seconds) == (7, command.QUICK["seconds"])
    normal = command.arguments_from(["--loads", "upload", "small"])
    assert normal.rounds == command.NORMAL["rounds"]
    assert [work.key for work in command.works(normal)] == ["small", "upload"]
    assert command.lanes(normal) == [(FASTROUTER, FASTROUTER), (OURS, OURS)]
    assert command.lanes(command.arguments_from(["--only", "ours"])) == [(OURS, OURS)]


@pytest.mark.parametrize("argv", [["--rounds", "0"], ["--seconds", "x"], ["--only", "ours", "--noise-floor"]])
def test_bad_arguments_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.arguments_from(argv)
    assert "error:" in capsys.readouterr().err


def test_nginx_has_a_server_per_router(tmp_path: Path) -> None:
    text = nginx.configuration(tmp_path, {"127.0.0.1:1001": "127.0.0.1:2001", "127.0.0.1:1002": "127.0.0.1:2002"}, "8k")
    assert text.count("{") == text.count("}")
    for number in "12":
        server = text[text.index(f"listen 127.0.0.1:100{number};") :]
        assert server[: server.index("}")].endswith(f"uwsgi_pass 127.0.0.1:200{number}; ")
    assert "uwsgi_buffering off;" in text
    assert "uwsgi_request_buffering off;" in text


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (3 << 20) + 5])
def test_the_application_sends_the_length_it_says(size: int) -> None:
    answers: list[tuple[str, list[tuple[str, str]]]] = []
    body = app.application(
        {"PATH_INFO": f"/bytes/{size}", "REQUEST_METHOD": "GET"},
        lambda status, headers: answers.append((status, headers)),
    )
    assert sum(map(len, body)) == size
    assert answers == [("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(size))])]


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

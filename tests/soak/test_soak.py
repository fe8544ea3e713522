"""The soak's short form: two minutes of `make soak`, with fewer visits and troubles closer together."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers import wait_until

SHORT = ["--minutes", "2", "--rate", "5", "--slow", "3", "--pause", "0.5", "--between-rests", "50"]
DONE = """
    a bad configuration, a node left, a node was killed, a worker was drained, a worker was killed,
    an operator drained a node, another configuration, bad datagrams, reload, uWSGI was stopped
"""
VISITS = "download, upload, slow reader, slow sender, stream, leaves in the answer, node cuts, one worker alone"


@pytest.mark.timeout(600)
def test_two_minutes(project: Path) -> None:
    """It runs beside the other tests, so it takes longer where they starve it; it waits, mostly."""
    argv = [sys.executable, "-m", "scripts.soak", *SHORT]
    with subprocess.Popen(argv, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as soak:
        try:
            report, _ = soak.communicate(timeout=550)
        except BaseException:
            soak.terminate()
            raise
    assert soak.returncode == 0, report
    for kinds in (DONE, VISITS):
        for kind in kinds.split(","):
            assert f"  {kind.strip()}\n" in report, report


def test_it_can_be_stopped(project: Path) -> None:
    argv = [sys.executable, "-m", "scripts.soak", "--minutes", "5"]
    with subprocess.Popen(argv, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as soak:
        started = wait_until(lambda: psutil.Process(soak.pid).children(recursive=True), 60, "it has begun")
        soak.send_signal(signal.SIGTERM)
        report, _ = soak.communicate(timeout=120)
    assert soak.returncode == 130, report
    assert not [process for process in started if process.is_running()], report

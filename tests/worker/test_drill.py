"""An operator's drill: faults are planted, and `uwsgirouterctl status` and the log name the cause of each."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import Client, Router, Servers, answer, fetch, get, hang, local, post, wait_until
from tests.worker.patched import patched_router
from tests.worker.traced import settle
from uwsgirouter.control.channel import Channel
from uwsgirouter.control.complaints import complaints
from uwsgirouter.control.status import ask, lines

MAPPER = """
NODES = {nodes!r}


def find(key):
    while key == b"stuck.example":
        pass  # a mistake in somebody's mapper
    return NODES.get(key.decode())
"""
FULL = "import uwsgirouter.worker.body as module; module._open = lambda _: open('/dev/full', 'r+b', buffering=0)"
"""The kernel's own ENOSPC, by a device that is always full."""


def control(router: Router, *arguments: str) -> str:
    """What an operator reads."""
    command = [sys.executable, "-m", "uwsgirouter.control", *arguments, "-c", str(router.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(router: Router, *patterns: str) -> None:
    """The status says all of that, each pattern in one line; failures arrive there within a moment.

    Asked for in this process: a worker that is stuck is so for some seconds, in which a command might not even start.
    """
    path = str(router.config_file.parent / "drill.sock")

    def said() -> bool:
        with Channel(path) as channel:
            status = ask(channel)
        now = time.time()
        found = list(lines(status, now, complaints(status, now)))
        return all(any(re.search(pattern, line) for line in found) for pattern in patterns)

    wait_until(said, 30.0, f"a status with {patterns}")


@pytest.fixture(scope="module")
def drilled(started: Servers) -> Router:
    dead, healthy, hanging = local(), started.node(answer(b"well")), started.node(hang)
    nodes = {"dead.example": dead, "hanging.example": hanging.address, "well.example": healthy.address}
    script = Path(started.path("mapper.py"))
    script.write_text(MAPPER.format(nodes=nodes))
    config = f"""\
[uwsgi]
fastrouter = {local()}
fastrouter-use-code-string = 0:{script}:find
fastrouter-first-byte-timeout = 1
fastrouter-post-buffering = 10
fastrouter-harakiri = 8
control-socket = {started.path("drill.sock")}
"""
    router = patched_router(started, FULL, config=config)
    assert fetch(router.address, "well.example").body == b"well"
    return router


def test_a_node_that_is_dead(drilled: Router) -> None:
    assert fetch(drilled.address, "dead.example").status == 502
    told(
        drilled,
        r"502 connect-failed: 1 in the last minute",
        r"TROUBLE: 1 of \d+ requests.*: connect-failed; .*key dead\.example, node 127\S+ \(Connection refused\)",
    )
    drilled.wait_for_log("connect-failed key dead.example node 127")


def test_a_node_that_hangs(drilled: Router) -> None:
    assert fetch(drilled.address, "hanging.example").status == 504
    told(drilled, r"504 first-byte-timeout: 1 in the last minute", r"last .* key hanging\.example, node 127")
    drilled.wait_for_log("first-byte-timeout key hanging.example node 127")


def test_a_key_that_nobody_serves(drilled: Router) -> None:
    assert fetch(drilled.address, "unknown.example").status == 503
    told(drilled, r"503 no-node: 1 in the last minute.*No application server", r"last .* key unknown\.example,")
    drilled.wait_for_log("no-node key unknown.example")


def test_a_disk_that_is_full(drilled: Router) -> None:
    body = b"x" * 2_000_000
    with Client(drilled.address) as client:
        client.send_packet(post("well.example", len(body)), body[:-1])
        assert client.reply().status == 507
    told(drilled, r"507 storage: 1 in the last minute", r"key well\.example.* \(No space left on device\)")
    drilled.wait_for_log("storage key well.example")


def test_a_worker_that_is_stuck_in_a_mapper(drilled: Router) -> None:
    """The log says in which function, and in which line of it."""
    with Client(drilled.address) as client:
        client.send_packet(get("stuck.example"))
        told(
            drilled,
            r"TROUBLE: worker 1 .* is stuck for \d+ s",
            r"ago +worker 1 \(pid \d+\) does not move; this is where it is",
        )
        drilled.wait_for_log(f'File "{drilled.config_file.parent}/mapper.py", line', 20.0)
        assert re.search(r'mapper.py", line \d in find', drilled.log())
        client.read_all(60.0)
    told(drilled, r"HARAKIRI ON GATEWAY uwsgirouter 1 .* gave no sign of life", r"worker 1 .*: serving")
    assert fetch(drilled.address, "well.example").body == b"well"


def test_a_trace_shows_the_way_of_a_request(drilled: Router) -> None:
    command = [sys.executable, "-m", "uwsgirouter.control", "trace", "dead.example", "-c", str(drilled.config_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracing:
        assert tracing.stderr is not None and tracing.stdout is not None
        assert "waiting for a request" in tracing.stderr.readline()
        settle(str(drilled.config_file.parent / "drill.sock"))
        fetch(drilled.address, "well.example")
        fetch(drilled.address, "dead.example")
        said = tracing.stdout.read()
        assert tracing.wait(20) == 0
    assert "key dead.example worker 1" in said and "well.example" not in said
    assert re.search(r"ms  dial 127\S+\n.*no connection to 127\S+: Connection refused\n", said)
    assert "status 502" in said and "failed: connect-failed" in said


def test_events_tell_of_processes(drilled: Router) -> None:
    said = control(drilled, "events", "--last", "1000", "--no-follow")
    assert "spawned uwsgirouter master process" in said
    assert "HARAKIRI" in said


def test_monitoring_sees_it(drilled: Router) -> None:
    fetch(drilled.address, "dead.example")
    told(drilled, r"requests of the last minute failed: connect-failed")
    command = [sys.executable, "-m", "uwsgirouter.control", "status", "--check", "-c", str(drilled.config_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "requests of the last minute failed: connect-failed" in done.stdout
    assert control(drilled, "status").startswith("TROUBLE: ")
